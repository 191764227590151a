"""Readers of the formats in which image sets are published. A wrong file is named, with what was
expected; nothing here unpickles.

All return images as uint8 ``(n, channels, height, width)`` and labels as int64 ``(n,)``.
"""

from __future__ import annotations

import gzip
import io
import struct
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from etalambda._common import need


class DataError(ValueError):
    """A data file is missing, truncated, or not what its name says."""


class IncompleteError(DataError):
    """Some files of a set are there, and others of it are not."""


class Images(NamedTuple):
    """Images, uint8 ``(n, c, h, w)``, and labels, int64 ``(n,)``.

    >>> found = Images(np.zeros((2, 3, 32, 32), np.uint8), np.array([7, 1]))
    >>> images, labels = found
    >>> images[labels == 7].shape
    (1, 3, 32, 32)
    """

    images: np.ndarray
    labels: np.ndarray


_IDX_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def read_idx(path: str | Path) -> np.ndarray:
    """One IDX array, as MNIST's files hold them, gzipped or not.

    The header is two zero bytes, a type, the number of dimensions, then each as a big-endian
    32-bit count.

    Raises:
        DataError: If the file is missing, is no IDX file, or ends early.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder, "t10k-labels-idx1-ubyte")
    ...     _ = path.write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 3, 7, 2, 1]))  # one axis of 3 bytes
    ...     read_idx(path)
    array([7, 2, 1], dtype=uint8)
    """
    raw = file_bytes(Path(path))
    if len(raw) < 4 or raw[:2] != b"\0\0" or raw[2] not in _IDX_TYPES:
        raise DataError(f"{path} is no IDX file: it must start with 00 00, a type and a rank")
    rank = raw[3]
    if len(raw) < 4 + 4 * rank:
        raise DataError(f"{path} ends inside its header of {rank} dimensions")
    shape = struct.unpack(f">{rank}I", raw[4 : 4 + 4 * rank])
    dtype = np.dtype(_IDX_TYPES[raw[2]])
    _check_length(path, len(raw) - 4 - 4 * rank, int(np.prod(shape)) * dtype.itemsize)
    return np.frombuffer(raw, dtype, offset=4 + 4 * rank).reshape(shape)


def read_idx_pair(images: str | Path, labels: str | Path) -> Images:
    """MNIST's or Fashion-MNIST's two files of one split.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     images, labels = Path(folder, "images"), Path(folder, "labels")
    ...     _ = images.write_bytes(bytes([0, 0, 8, 3, *[0, 0, 0, 2] * 3, *range(8)]))  # two of 2x2
    ...     _ = labels.write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 2, 7, 1]))
    ...     read_idx_pair(images, labels).images.shape
    (2, 1, 2, 2)
    """
    x, y = read_idx(images), read_idx(labels)
    if x.ndim != 3 or y.ndim != 1 or len(x) != len(y):
        raise DataError(
            f"{images} and {labels} do not belong together: shapes {x.shape} and {y.shape}, "
            "expected (n, height, width) and (n,)"
        )
    return Images(np.ascontiguousarray(x[:, None]).astype(np.uint8), y.astype(np.int64))


def read_cifar_binary(paths: Sequence[str | Path], *, label_bytes: int = 1) -> Images:
    """CIFAR's binary batches: rows of labels and 3072 bytes of red, green and blue planes.

    Args:
        paths: The batches, in order.
        label_bytes: 1 for CIFAR-10; 2 for CIFAR-100 (coarse, then fine; fine is kept).

    Raises:
        DataError: If a file is not a whole number of rows.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     path = Path(folder, "data_batch_1.bin")
        ...     _ = path.write_bytes(bytes([7, *[255] * 1024, *[0] * 2048]) * 2)  # two red trucks
        ...     found = read_cifar_binary([path])
        >>> found.labels, found.images[0, :, 0, 0]
        (array([7, 7]), array([255,   0,   0], dtype=uint8))
    """
    raw = {str(path): file_bytes(Path(path)) for path in paths}
    return cifar_images(raw, label_bytes=label_bytes)


def cifar_images(batches: Mapping[str, bytes], *, label_bytes: int = 1) -> Images:
    """Like `read_cifar_binary`, from bytes by the name of the file they came from."""
    row, parts = label_bytes + 3072, []
    for name, raw in batches.items():
        if not raw or len(raw) % row:
            raise DataError(
                f"{name} has {len(raw)} bytes, not a multiple of {row}: truncated, or not CIFAR's "
                f"binary form with {label_bytes} label byte(s)"
            )
        parts.append(np.frombuffer(raw, np.uint8).reshape(-1, row))
    rows = np.concatenate(parts)
    images = rows[:, label_bytes:].reshape(-1, 3, 32, 32)
    return Images(np.ascontiguousarray(images), rows[:, label_bytes - 1].astype(np.int64))


def read_keras_npz(path: str | Path) -> tuple[Images, Images]:
    """Train and test of a Keras ``.npz``: ``x_train``, ``y_train``, ``x_test``, ``y_test``.

    Raises:
        DataError: If the file is missing, damaged, holds objects, or lacks an array.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     x, y = np.zeros((2, 32, 32, 3), np.uint8), np.array([[7], [1]])
    ...     np.savez(f"{folder}/cifar10.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    ...     train, test = read_keras_npz(f"{folder}/cifar10.npz")
    >>> train.images.shape, test.labels
    ((2, 3, 32, 32), array([7, 1]))
    """
    try:
        with np.load(io.BytesIO(file_bytes(Path(path))), allow_pickle=False) as found:
            missing = {"x_train", "y_train", "x_test", "y_test"} - set(found.files)
            if missing:
                raise DataError(f"{path} lacks {sorted(missing)}; it holds {sorted(found.files)}")
            arrays = {name: found[name] for name in found.files}
    except (zipfile.BadZipFile, EOFError, OSError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path} is damaged or no .npz file: {error}") from error
    return tuple(  # type: ignore[return-value]
        _checked(path, arrays[f"x_{split}"], arrays[f"y_{split}"]) for split in ("train", "test")
    )


def read_image_parquet(path: str | Path) -> Images:
    """A Hugging Face image table: encoded images in a struct column, integers in ``label``.

    The image column is ``img`` or ``image``, a struct with ``bytes``; the labels ``label`` or
    ``fine_label``. All images must have one size.

    Raises:
        DataError: If the file or a column is missing, an image cannot be decoded, or sizes differ.

    >>> import duckdb
    >>> from PIL import Image
    >>> from tempfile import TemporaryDirectory
    >>> png = io.BytesIO()
    >>> Image.new("RGB", (32, 32), "red").save(png, "png")
    >>> with TemporaryDirectory() as folder, duckdb.connect() as db:
    ...     path = f"{folder}/train.parquet"
    ...     table = "select {'bytes': ?::blob} as img, 7 as label"
    ...     _ = db.execute(f"copy ({table}) to '{path}' (format parquet)", [png.getvalue()])
    ...     found = read_image_parquet(path)
    >>> found.images[0, :, 0, 0], found.labels
    (array([255,   0,   0], dtype=uint8), array([7]))
    """
    duckdb, image = need("duckdb", "lab"), need("PIL.Image", "lab")
    if not Path(path).is_file():
        raise DataError(f"{path} is not there")
    with duckdb.connect() as db:
        try:
            named = db.execute("describe select * from read_parquet(?)", [str(path)]).fetchall()
        except duckdb.Error as error:
            raise DataError(f"{path} is damaged or no Parquet file: {error}") from error
        names = sorted(row[0] for row in named)
        picture = next((n for n in ("img", "image") if n in names), None)
        label = next((n for n in ("label", "fine_label") if n in names), None)
        if picture is None or label is None:
            raise DataError(f"{path} needs columns img (or image) and label; it has {names}")
        query = f"select {picture}.bytes, {label} from read_parquet(?)"
        rows = db.execute(query, [str(path)])
        pictures, labels = [], []
        while batch := rows.fetchmany(1000):
            for encoded, number in batch:
                pictures.append(decoded(image, io.BytesIO(encoded), f"{path}, row {len(pictures)}"))
                labels.append(number)
    if len({p.shape for p in pictures}) != 1:
        sizes = sorted({p.shape for p in pictures})[:3]
        raise DataError(f"{path} must hold images of one size, found {sizes}")
    stacked = np.stack(pictures).transpose(0, 3, 1, 2)
    return Images(np.ascontiguousarray(stacked), np.asarray(labels, np.int64))


def decoded(image: Any, source: Any, where: str) -> np.ndarray:
    """A picture as uint8 ``(height, width, 3)`` by Pillow's ``image`` module, from path or file."""
    try:
        with image.open(source) as opened:
            return np.asarray(opened.convert("RGB"))
    except Exception as error:  # Pillow raises whatever its decoders raise
        raise DataError(f"{where}: the image cannot be read: {error}") from error


def _checked(path: str | Path, x: np.ndarray, y: np.ndarray) -> Images:
    y = y.reshape(-1)
    if x.dtype != np.uint8 or x.ndim not in (3, 4) or len(x) != len(y):
        raise DataError(
            f"{path}: images are {x.dtype} {x.shape}, labels {y.shape}; expected uint8 "
            "(n, h, w) or (n, h, w, c) and (n,)"
        )
    x = x[:, None] if x.ndim == 3 else x.transpose(0, 3, 1, 2)
    return Images(np.ascontiguousarray(x), y.astype(np.int64))


def file_bytes(path: Path) -> bytes:
    """The file's bytes, unpacked if it is gzipped.

    Raises:
        DataError: If it is missing or damaged.
    """
    try:
        raw = path.read_bytes()
        return gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw
    except FileNotFoundError as error:
        raise DataError(f"{path} is not there") from error
    except (EOFError, gzip.BadGzipFile, OSError) as error:
        raise DataError(f"{path} cannot be read: {error}") from error


def _check_length(path: str | Path, found: int, expected: int) -> None:
    if found != expected:
        state = "truncated" if found < expected else "too long"
        raise DataError(f"{path} is {state}: {found} bytes of data, its header says {expected}")
