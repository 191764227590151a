"""Texts to model: the Penn Treebank as Mikolov prepared it, or any UTF-8 file."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from etalambda.lab.data.formats import DataError

END_OF_SENTENCE = "<eos>"


class TextSplits(NamedTuple):
    """Three pieces of text and the files they came from.

    >>> splits = TextSplits("mine", train="to be or not to be", valid="to", test="be", files=())
    >>> tokens(splits, unit="characters").train[:5]
    array([0, 1, 2, 3, 4])
    """

    name: str
    train: str
    valid: str
    test: str
    files: tuple[Path, ...]


class Tokens(NamedTuple):
    """Three pieces as int64 ids into one vocabulary, that of the training piece first.

    >>> found = tokens(TextSplits("mine", "a b a", "b", "c", ()))
    >>> found.vocabulary, [found.vocabulary[i] for i in found.train]
    (['a', 'b', '<eos>', 'c'], ['a', 'b', 'a', '<eos>'])
    """

    train: np.ndarray
    valid: np.ndarray
    test: np.ndarray
    vocabulary: Sequence[str]


def read_ptb(folder: str | Path) -> TextSplits:
    """``ptb.train.txt``, ``ptb.valid.txt`` and ``ptb.test.txt``: one sentence a line, words apart.

    Raises:
        DataError: If a file is missing, empty, or no UTF-8.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     for part in ("train", "valid", "test"):
    ...         _ = Path(folder, f"ptb.{part}.txt").write_text(" black monday \\n")
    ...     words(read_ptb(folder).train)
    ['black', 'monday', '<eos>']
    """
    paths = [Path(folder) / f"ptb.{part}.txt" for part in ("train", "valid", "test")]
    train, valid, test = map(text_of, paths)
    return TextSplits("ptb", train, valid, test, tuple(paths))


def read_text(path: str | Path) -> TextSplits:
    """Any text file: eight tenths to train, one to validate, the last one to test.

    Raises:
        DataError: If the file is missing, empty, or no UTF-8.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     _ = Path(folder, "mine.txt").write_text("0123456789")
    ...     found = read_text(Path(folder, "mine.txt"))
    >>> found.train, found.valid, found.test
    ('01234567', '8', '9')
    """
    text = text_of(Path(path))
    one, two = len(text) * 8 // 10, len(text) * 9 // 10
    return TextSplits("text", text[:one], text[one:two], text[two:], (Path(path),))


def text_of(path: Path) -> str:
    """The file's text.

    Raises:
        DataError: If the file is missing, empty, or no UTF-8.
    """
    try:
        text = path.read_bytes().decode("utf-8")
    except FileNotFoundError as error:
        raise DataError(f"{path} is not there") from error
    except UnicodeDecodeError as error:
        reason = f"{error.reason} at byte {error.start}"
        raise DataError(f"{path} is not UTF-8 text ({reason})") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    if not text.strip():
        raise DataError(f"{path} is empty; expected text")
    return text


def words(text: str) -> list[str]:
    """The words of a text with one sentence a line; a line's end is a word too.

    >>> words("no it was n't\\nblack monday\\n")
    ['no', 'it', 'was', "n't", '<eos>', 'black', 'monday', '<eos>']
    """
    return [word for line in text.splitlines() for word in (*line.split(), END_OF_SENTENCE)]


def tokens(splits: TextSplits, unit: str = "words") -> Tokens:
    """The splits as numbers.

    Args:
        splits: Of `read_ptb` or `read_text`.
        unit: ``words`` or ``characters``.

    Raises:
        ValueError: For another unit.

    Example:
        >>> tokens(TextSplits("text", "a b a", "b", "c", ())).train.tolist()
        [0, 1, 0, 2]
    """
    if unit not in ("words", "characters"):
        raise ValueError(f"unit must be 'words' or 'characters', got {unit!r}")
    cut = words if unit == "words" else list
    pieces = [cut(text) for text in (splits.train, splits.valid, splits.test)]
    vocabulary = list(dict.fromkeys(token for piece in pieces for token in piece))
    index = {token: i for i, token in enumerate(vocabulary)}
    train, valid, test = (_ids(piece, index) for piece in pieces)
    return Tokens(train, valid, test, vocabulary)


def _ids(piece: Iterable[str], index: dict[str, int]) -> np.ndarray:
    return np.fromiter((index[token] for token in piece), np.int64)
