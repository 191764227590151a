"""The table of contents of a sharded checkpoint, read before torch reads it.

torch's distributed checkpoint (DCP) keeps its table as a pickle and unpickles it, and a pickle runs
what it names. Here only the names that DCP itself writes are let through; the tensors beside the
table are read with ``weights_only`` by DCP.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch

NAME = ".metadata"
_METADATA = "torch.distributed.checkpoint.metadata"
# Whole names, as torch 2.11 to 2.14 write them: a prefix would let through what a module imports.
KNOWN = {
    ("collections", "OrderedDict"),
    ("pathlib", "PosixPath"),
    ("pathlib", "WindowsPath"),
    ("torch", "Size"),
    ("torch.distributed.checkpoint.filesystem", "_StorageInfo"),
    ("torch.serialization", "_get_layout"),
    (_METADATA, "BytesStorageMetadata"),
    (_METADATA, "ChunkStorageMetadata"),
    (_METADATA, "Metadata"),
    (_METADATA, "MetadataIndex"),
    (_METADATA, "StorageMeta"),
    (_METADATA, "TensorProperties"),
    (_METADATA, "TensorStorageMetadata"),
    (_METADATA, "_MEM_FORMAT_ENCODING"),
}


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        dtype = module == "torch" and isinstance(getattr(torch, name, None), torch.dtype)
        if dtype or (module, name) in KNOWN:
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"it names {module}.{name}, which no checkpoint needs")


def check(folder: Path) -> None:
    """Read the table of a checkpoint's folder as DCP will, but for names it has no need of.

    Raises:
        Exception: If a name is not known, or whatever a damaged pickle raises.
    """
    with open(folder / NAME, "rb") as file:
        _Reader(file).load()
