"""Files of a record: TOML and JSON for people, Parquet by DuckDB, all written by rename.

DuckDB takes a dict of numpy arrays as a table and writes Parquet without pandas or pyarrow.
"""

from __future__ import annotations

import json
import os
import threading
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from etalambda._common import need

Table = dict[str, np.ndarray]
_LOCAL = threading.local()


class RecordError(ValueError):
    """A record cannot be written or read; the message says what is kept and what to do."""


def write_text(path: Path, text: str) -> None:
    """Write a whole file or leave the old one: a temporary name, then a rename.

    Raises:
        RecordError: If the disk refuses, with what is kept and the remedy.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.unlink(missing_ok=True)
        with open(temporary, "x", encoding="utf-8") as file:  # never through a link
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise refused(path, error) from error


def refused(path: Path, error: Exception) -> RecordError:
    """The error for a disk that is full, read-only or gone."""
    reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
    return RecordError(
        f"cannot write {path}: {reason}; all parts recorded before are kept. "
        "Free space or mend the folder's rights, then run the same command again to go on"
    )


def to_toml(config: Mapping[str, Any]) -> str:
    """A flat config as TOML lines.

    Raises:
        TypeError: If a value is neither string, number, bool nor a sequence of them.

    >>> print(to_toml({"lr": 0.1, "lengths": (10, 40), "model": "mlp"}), end="")
    lr = 0.1
    lengths = [10, 40]
    model = "mlp"
    """
    return "".join(f"{_toml_key(key)} = {_toml(key, value)}\n" for key, value in config.items())


def _toml_key(key: str) -> str:
    bare = key.isascii() and key.replace("_", "").replace("-", "").isalnum()
    return key if bare else _toml_string(key)


def _toml_string(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007F")


def _toml(key: str, value: Any) -> str:
    if isinstance(value, str):
        return _toml_string(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(_toml(key, entry) for entry in value)}]"
    raise TypeError(
        f"config[{key!r}] is {value!r}; a record holds strings, numbers, bools and lists of them"
    )


def read_toml(path: Path) -> dict[str, Any]:
    """The file as a dict.

    Raises:
        RecordError: If it is missing, cut off or no TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RecordError(f"{path} is not readable as TOML: {error}") from error


def read_json(path: Path) -> dict[str, Any]:
    """The file as a dict; empty if it is missing or damaged: it holds nothing measured."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def as_table(name: str, columns: Mapping[str, Any]) -> Table:
    """Columns as one-dimensional numpy arrays of one length; strings become objects.

    Raises:
        ValueError: If a column has two dimensions or another length than the first.
    """
    table = {key: np.atleast_1d(np.asarray(column)) for key, column in columns.items()}
    lengths = {key: column.shape for key, column in table.items()}
    if not table or any(len(shape) != 1 for shape in lengths.values()):
        raise ValueError(f"table {name!r} needs one-dimensional columns, got shapes {lengths}")
    if len(set(lengths.values())) > 1:
        raise ValueError(f"the columns of table {name!r} differ in length: {lengths}")
    return {k: c.astype(object) if c.dtype.kind == "U" else c for k, c in table.items()}


def write_parquet(path: Path, table: Table, codec: str = "snappy") -> None:
    """Write one table; not atomic by itself, the caller renames.

    Raises:
        RecordError: If the disk refuses.
    """
    duckdb = need("duckdb", "lab")
    with _database() as connection:
        try:
            connection.register("recorded", table)
            connection.execute(
                f"copy recorded to '{_quoted(path)}' (format parquet, codec {codec})"
            )
            connection.unregister("recorded")
        except (duckdb.IOException, OSError) as error:
            raise refused(path, error) from error


@contextmanager
def _database() -> Iterator[Any]:
    """This thread's DuckDB, opened once: opening costs ten times as much as a small table.

    After an error it is thrown away: a KeyboardInterrupt in its midst may have broken it.
    """
    if getattr(_LOCAL, "pid", None) != os.getpid():
        _LOCAL.connection = need("duckdb", "lab").connect(config={"threads": 1})
        _LOCAL.pid = os.getpid()
    try:
        yield _LOCAL.connection
    except BaseException:
        _LOCAL.pid = None
        raise


def read_parquet(paths: Iterable[Path], *, named: bool = False) -> Table:
    """All files as one table, in the order given; what is missing in a file is NaN or None.

    ``named`` adds the column ``filename``.

    Raises:
        RecordError: If a file is damaged.
    """
    duckdb = need("duckdb", "lab")
    names = [_no_glob(path) for path in paths]
    # Without the last option a folder named seed=3 would overwrite the column seed.
    options = "union_by_name = true, hive_partitioning = false" + ", filename = true" * named
    query = f"select * from read_parquet(?, {options})"
    with _database() as connection:
        try:
            columns = connection.execute(query, [names]).fetchnumpy()
        except duckdb.Error as error:
            raise RecordError(f"cannot read {names[0]}: {str(error).splitlines()[0]}") from error
    return {name: _unmasked(column) for name, column in columns.items()}


def looks_whole(path: Path) -> bool:
    """Whether a Parquet file has both its ends: a cut-off file lacks the last four bytes."""
    try:
        with open(path, "rb") as file:
            head = file.read(4)
            file.seek(-4, os.SEEK_END)
            return head == file.read(4) == b"PAR1"
    except OSError:
        return False


def _unmasked(column: Any) -> np.ndarray:
    """DuckDB stores NaN as NULL and hands back masked arrays: make them NaN again."""
    if not isinstance(column, np.ma.MaskedArray):
        return column
    if column.dtype.kind == "O":
        return column.filled(None)
    return np.where(column.mask, np.nan, column.data.astype(np.float64))


def _quoted(path: Path) -> str:
    return str(path).replace("'", "''")


def _no_glob(path: Path) -> str:
    """A path that DuckDB takes literally: its readers understand ``*``, ``?`` and ``[``."""
    return "".join(f"[{char}]" if char in "*?[" else char for char in str(path))
