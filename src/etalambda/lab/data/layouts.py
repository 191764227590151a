"""The forms in which each data set is published, and what of them lies in a folder."""

from __future__ import annotations

import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from etalambda._common import need
from etalambda.lab.data.formats import (
    DataError,
    Images,
    cifar_images,
    decoded,
    read_cifar_binary,
    read_idx_pair,
    read_image_parquet,
    read_keras_npz,
)
from etalambda.lab.data.text import TextSplits, read_ptb, read_text


@dataclass(frozen=True)
class Known:
    """What is known of a set: its shape, its published sizes and where others keep it."""

    summary: str
    shape: tuple[int, int, int] = (0, 0, 0)
    classes: int = 0
    sizes: tuple[int, int] = (0, 0)
    folders: tuple[str, ...] = ()
    cifar: tuple[str, tuple[str, ...], str, int] | None = None


_IDX = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")
_MNIST = dict(shape=(1, 28, 28), classes=10, sizes=(60_000, 10_000))
_CIFAR = dict(shape=(3, 32, 32), sizes=(50_000, 10_000))
_BATCHES = tuple(f"data_batch_{i}.bin" for i in range(1, 6))
SETS: dict[str, Known] = {
    "mnist": Known("28x28 digits, 10 classes", folders=("mnist", "MNIST/raw", "MNIST"), **_MNIST),
    "fashion-mnist": Known(
        "28x28 clothes, 10 classes",
        folders=("fashion-mnist", "fashion_mnist", "FashionMNIST/raw", "FashionMNIST"),
        **_MNIST,
    ),
    "cifar10": Known(
        "32x32 colour pictures, 10 classes",
        classes=10,
        folders=("cifar10", "cifar-10-batches-bin", "plain_text"),
        cifar=("cifar-10-binary.tar.gz", _BATCHES, "test_batch.bin", 1),
        **_CIFAR,
    ),
    "cifar100": Known(
        "32x32 colour pictures, 100 classes",
        classes=100,
        folders=("cifar100", "cifar-100-binary"),
        cifar=("cifar-100-binary.tar.gz", ("train.bin",), "test.bin", 2),
        **_CIFAR,
    ),
    "ptb": Known("Penn Treebank words", folders=("ptb", "simple-examples/data")),
    "tinyshakespeare": Known("1.1 MB of plays, by characters", folders=("tinyshakespeare",)),
    "text": Known("any one UTF-8 text file, by characters"),
    "folder": Known("train/CLASS/*.png and test/CLASS/*.png, all of one size"),
}


@dataclass(frozen=True)
class Layout:
    """A form in which the set may lie there: its files, those that are missing, its reader."""

    form: str
    files: tuple[Path, ...]
    read: Callable[[], tuple[Images, Images] | TextSplits]
    missing: tuple[str, ...] = ()


def layouts(name: str, root: Path) -> Iterator[Layout]:
    """Every form that is at least begun in the folder, the original publication first."""
    if name == "text":
        yield from _text(root)
    elif name == "folder":
        yield from _class_folders(root)
    else:
        known = SETS[name]
        places = [root / part for part in known.folders] + [root]
        for place in (place for place in places if place.is_dir()):
            if name == "ptb":
                yield from _ptb(place)
            elif name == "tinyshakespeare":
                names = ("tinyshakespeare.txt", *(["input.txt"] if place != root else []))
                yield from _text_file(_there(*(place / n for n in names)))
            elif known.cifar is None:
                yield from _idx(name, place)
            else:
                yield from _cifar(place, *known.cifar)
            if known.shape[0]:
                yield from _npz_and_parquet(name, place, own=place != root)


def _begun(form: str, wanted: dict[str, Path | None], read: Callable) -> Iterator[Layout]:
    """The layout, if at least one of its files is there."""
    files = tuple(path for path in wanted.values() if path is not None)
    if files:
        missing = tuple(name for name, path in wanted.items() if path is None)
        yield Layout(form, files, read, missing)


def _there(*paths: Path) -> Path | None:
    return next((path for path in paths if path.is_file()), None)


def _idx(name: str, place: Path) -> Iterator[Layout]:
    if ("fashion" in str(place).lower()) != (name == "fashion-mnist"):
        return  # both sets have the same file names: the folder's name tells them apart
    forms = ("{}-ubyte", "{}-ubyte.gz", "{}.ubyte", "{}.ubyte.gz")
    wanted = {
        f"{part}-ubyte": _there(
            *(place / form.format(part) for form in forms),
            *(place / f"{part.replace('-idx', '.idx')}-ubyte{end}" for end in ("", ".gz")),
        )
        for part in _IDX
    }
    x, y, test_x, test_y = wanted.values()

    def read() -> tuple[Images, Images]:
        return read_idx_pair(x, y), read_idx_pair(test_x, test_y)  # type: ignore[arg-type]

    yield from _begun("IDX files", wanted, read)


def _cifar(
    place: Path, archive: str, train: tuple[str, ...], test: str, label_bytes: int
) -> Iterator[Layout]:
    if label_bytes == 2 and "100" not in place.name:
        wanted = {}  # train.bin may be anything: only a folder of CIFAR-100's name is trusted
    else:
        wanted = {part: _there(place / part) for part in (*train, test)}

    def batches() -> tuple[Images, Images]:
        parts = [place / part for part in train], [place / test]
        first, last = (read_cifar_binary(files, label_bytes=label_bytes) for files in parts)
        return first, last

    yield from _begun("CIFAR's binary batches", wanted, batches)
    packed = place / archive

    def members() -> tuple[Images, Images]:
        raw = _members(packed, (*train, test))
        last = {test: raw.pop(test)}
        return cifar_images(raw, label_bytes=label_bytes), cifar_images(
            last, label_bytes=label_bytes
        )

    yield from _begun("CIFAR's binary archive", {archive: _there(packed)}, members)


def _members(archive: Path, names: tuple[str, ...]) -> dict[str, bytes]:
    """The named files of a tar archive, read in place: nothing is written, no path is followed."""
    found: dict[str, bytes] = {}
    try:
        with tarfile.open(archive, "r:*") as tar:
            for member in tar:
                name = Path(member.name).name
                if member.isfile() and name in names and (file := tar.extractfile(member)):
                    found[name] = file.read()
    except (tarfile.TarError, EOFError, OSError) as error:
        raise DataError(f"{archive} is damaged or no .tar.gz file: {error}") from error
    if missing := [name for name in names if name not in found]:
        raise DataError(f"{archive} lacks {', '.join(missing)}; it is truncated or another archive")
    return {name: found[name] for name in names}


def _npz_and_parquet(name: str, place: Path, own: bool) -> Iterator[Layout]:
    """Keras's archive and Hugging Face's tables; a shared folder's files must name the set."""
    plain = name.replace("-", "")
    names = (f"{name}.npz", f"{name.replace('-', '_')}.npz", f"{plain}.npz")
    if path := _there(*(place / n for n in names)):
        yield Layout("a Keras archive", (path,), lambda: read_keras_npz(path))
    tables: dict[str, list[Path]] = {"train": [], "test": []}
    for path in sorted(place.glob("*.parquet")):
        said = path.name.lower().replace("-", "").replace("_", "")
        ours = own or (plain in said and not (plain == "cifar10" and "cifar100" in said))
        for part, paths in tables.items():
            if ours and part in said:
                paths.append(path)
    wanted = {f"a table whose name holds {part!r}": (p or [None])[0] for part, p in tables.items()}

    def read() -> tuple[Images, Images]:
        return _joined(tables["train"]), _joined(tables["test"])

    for layout in _begun("Parquet tables", wanted, read):
        yield Layout(layout.form, (*tables["train"], *tables["test"]), read, layout.missing)


def _joined(paths: list[Path]) -> Images:
    parts = [read_image_parquet(path) for path in paths]
    return Images(*(np.concatenate(columns) for columns in zip(*parts)))


def _ptb(place: Path) -> Iterator[Layout]:
    names = [f"ptb.{part}.txt" for part in ("train", "valid", "test")]
    yield from _begun("text files", {n: _there(place / n) for n in names}, lambda: read_ptb(place))


def _text(root: Path) -> Iterator[Layout]:
    files = [root] if root.is_file() else sorted(root.glob("*.txt"))
    if len(files) > 1:
        listed = ", ".join(path.name for path in files[:5])
        raise DataError(f"{root} holds {len(files)} text files ({listed}); pass the one to read")
    yield from _text_file(files[0] if files else None)


def _text_file(path: Path | None) -> Iterator[Layout]:
    if path is not None:
        yield Layout("a text file", (path,), lambda: read_text(path))


_PICTURES = {".png", ".jpg", ".jpeg", ".bmp", ".ppm", ".webp"}


def _class_folders(root: Path) -> Iterator[Layout]:
    test = next((p for p in ("test", "val", "valid") if (root / p).is_dir()), None)
    parts = {"train": root / "train" if (root / "train").is_dir() else None}
    parts["test"] = root / test if test else None
    if not any(parts.values()):
        return
    missing = tuple(f"the folder {name}" for name, place in parts.items() if place is None)
    files = {
        name: [p for p in sorted(place.glob("*/*")) if p.suffix.lower() in _PICTURES]
        for name, place in parts.items()
        if place is not None
    }

    def read() -> tuple[Images, Images]:
        classes = sorted({path.parent.name for path in files["train"]})
        return _pictures(root / "train", files["train"], classes), _pictures(
            parts["test"] or root, files["test"], classes
        )

    pictures = tuple(path for paths in files.values() for path in paths)
    yield Layout("class folders", pictures or (root,), read, missing)


def _pictures(place: Path, files: list[Path], classes: list[str]) -> Images:
    image = need("PIL.Image", "lab")
    strange = sorted({path.parent.name for path in files} - set(classes))
    if not files or strange:
        what = f"classes that train has not: {strange}" if strange else "no pictures"
        raise DataError(f"{place} holds {what}; expected {place}/CLASS/*.png or .jpg")
    arrays = [decoded(image, path, str(path)) for path in files]
    if other := next((i for i, a in enumerate(arrays) if a.shape != arrays[0].shape), None):
        raise DataError(
            f"{files[other]} is {arrays[other].shape[:2]}, {files[0]} {arrays[0].shape[:2]}; "
            "resize all pictures to one size first"
        )
    labels = np.array([classes.index(path.parent.name) for path in files], np.int64)
    return Images(np.ascontiguousarray(np.stack(arrays).transpose(0, 3, 1, 2)), labels)
