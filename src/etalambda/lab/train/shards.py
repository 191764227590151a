"""Checkpoints of sharded weights: torch's distributed checkpoint (DCP), a folder a step.

Every rank writes its own shards under a temporary name; when all are there the first rank renames
the folder and removes the older one, so the newest folder is always whole. It loads on any number
of ranks, on one process too.
"""

from __future__ import annotations

import os
import shutil
import warnings
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from etalambda.lab.train.training import Training

HEAD = "head.pt"


def newest(folder: Path) -> Path | None:
    """The newest whole checkpoint of a folder; None if there is none."""
    return max(folder.glob("step-*"), default=None)


def save(run: Training, head: dict[str, Any], folder: Path) -> None:
    """Write the shards of all ranks and, beside them, ``head``; every rank must call it."""
    import torch.distributed.checkpoint as dcp

    name = f"step-{run.step:09d}"
    temporary = folder / f".{name}"
    if run.ranks.first:
        shutil.rmtree(temporary, ignore_errors=True)  # of a killed try
        temporary.mkdir(parents=True)
    run.ranks.barrier()
    dcp.save(_state(run), checkpoint_id=temporary)
    if run.ranks.first:
        torch.save(head, temporary / HEAD)
        older = list(folder.glob("step-*"))
        os.replace(temporary, folder / name)
        for path in older:
            shutil.rmtree(path, ignore_errors=True)
    run.ranks.barrier()


def load(run: Training, path: Path) -> None:
    """Fill weights and optimizers, whatever the number of ranks that wrote them."""
    import torch.distributed.checkpoint as dcp
    from torch.distributed.checkpoint.state_dict import set_state_dict

    state = _state(run)
    with warnings.catch_warnings():  # DCP warns that a single process is one
        warnings.filterwarnings("ignore", message="torch.distributed is disabled")
        dcp.load(state, checkpoint_id=path, no_dist=not dist.is_initialized())
    set_state_dict(
        run.model,
        run.optimizers,
        model_state_dict=state["model"],
        optim_state_dict=state["optimizers"],
    )


def _state(run: Training) -> dict[str, Any]:
    from torch.distributed.checkpoint.state_dict import get_state_dict

    model, optimizers = get_state_dict(run.model, run.optimizers)
    return dict(model=model, optimizers=optimizers)
