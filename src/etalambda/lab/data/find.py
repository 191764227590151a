"""Which files of a folder are which data set: ``load("cifar10", data_dir)``.

The folder is searched in the layouts in which each set is published, by itself and below the names
that other libraries give it (``cifar-10-batches-bin``, ``MNIST/raw``). Nothing is downloaded here:
``etalambda data fetch`` is the one thing that is, and only when asked for.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import NamedTuple

from etalambda._common import unknown
from etalambda.lab.data.formats import DataError, Images, IncompleteError
from etalambda.lab.data.layouts import SETS, Layout, layouts
from etalambda.lab.data.text import TextSplits


class ImageSplits(NamedTuple):
    """Training and test pictures, how many classes there are, and the files they came from.

    >>> import numpy as np
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     x, y = np.zeros((4, 28, 28), np.uint8), np.array([0, 1, 2, 9])
    ...     np.savez(f"{folder}/mnist.npz", x_train=x, y_train=y, x_test=x[:1], y_test=y[:1])
    ...     mnist = load("mnist", folder)
    >>> mnist.train.images.shape, len(mnist.test.labels), mnist.classes, mnist.files[0].name
    ((4, 1, 28, 28), 1, 10, 'mnist.npz')
    """

    name: str
    train: Images
    test: Images
    classes: int
    files: tuple[Path, ...]


def load(name: str, data_dir: str | Path) -> ImageSplits | TextSplits:
    """Read a data set from the files in ``data_dir``.

    Args:
        name: One of `SETS`: mnist, fashion-mnist, cifar10, cifar100, ptb, text, folder.
        data_dir: Where the files are, in any published layout; for ``text`` also the file itself.

    Raises:
        ValueError: For an unknown name.
        DataError: If the files are not there, incomplete, damaged, or of another set; the message
            names the file and what was expected.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     _ = Path(folder, "mine.txt").write_text("to be or not to be; ")
        ...     splits = load("text", folder)
        >>> splits.train, splits.valid, splits.test
        ('to be or not to ', 'be', '; ')
    """
    layout = find(name, data_dir)
    found, known = layout.read(), SETS[name]
    if isinstance(found, TextSplits):
        return found
    train, test = found
    classes = known.classes or int(train.labels.max()) + 1
    for part, images in (("training", train), ("test", test)):
        _check(f"the {part} pictures of {layout.files[0].parent}", images, known.shape, classes)
    return ImageSplits(name, train, test, classes, layout.files)


def find(name: str, data_dir: str | Path) -> Layout:
    """The layout in which the set lies in ``data_dir``.

    Raises:
        ValueError: For an unknown name.
        IncompleteError: If only some of its files are there: the missing ones.
        DataError: If there is none; the message says what was expected.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     _ = Path(folder, "mine.txt").write_text("to be")
    ...     layout = find("text", folder)  # looks, and reads nothing yet
    >>> layout.form, [path.name for path in layout.files]
    ('a text file', ['mine.txt'])
    """
    if name not in SETS:
        raise unknown("data set", name, SETS)
    root = Path(data_dir)
    if not root.exists():
        raise DataError(f"data_dir {root} does not exist; {_remedy(name, root)}")
    begun: list[Layout] = []
    for layout in layouts(name, root):
        if not layout.missing:
            return layout
        begun.append(layout)
    if begun:
        best = min(begun, key=lambda layout: len(layout.missing))
        listed = ", ".join(best.missing)
        raise IncompleteError(f"{root} holds part of {name} as {best.form}, but not {listed}")
    raise DataError(f"{root} holds no {name}; {_remedy(name, root)}")


def fingerprint(files: tuple[Path, ...]) -> str:
    """SHA-256 of the files' bytes in their order: what a record says the data were.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder, "mine.txt")
    ...     _ = path.write_text("to be")
    ...     before = fingerprint((path,))
    ...     _ = path.write_text("to bee")
    ...     before[:12], before == fingerprint((path,))
    ('0af1207eeabd', False)
    """
    digest = hashlib.sha256()
    for path in files:
        with open(path, "rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def _remedy(name: str, root: Path) -> str:
    if name == "text":
        return "pass a .txt file, or a folder with one"
    if name == "folder":
        return "expected train/CLASS/*.png and test/CLASS/*.png (or .jpg) in it"
    return f"expected {name} as it is published, or: etalambda data fetch {name} --data-dir {root}"


def _check(what: str, found: Images, shape: tuple[int, int, int], classes: int) -> None:
    if shape[0] and found.images.shape[1:] != shape:
        raise DataError(f"{what} are {found.images.shape[1:]}, expected {shape}: another set?")
    if len(found.labels) == 0 or found.labels.min() < 0 or found.labels.max() >= classes:
        seen = f"{found.labels.min()} to {found.labels.max()}" if len(found.labels) else "none"
        raise DataError(f"{what} have labels {seen}, expected 0 to {classes - 1}: another set?")
