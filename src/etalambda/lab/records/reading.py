"""Reading a run's record: whole, or while it is being written."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from etalambda.lab.records import files
from etalambda.lab.records.files import RecordError, Table


@dataclass(frozen=True)
class RunData:
    """What a run folder holds.

    ``config`` as it was asked, ``env`` where it ran, ``tables`` name -> column -> array (the main
    table is ``metrics``; strings are objects), ``finished`` whether all of it is there, ``kind``
    which experiment it is.

    >>> from tempfile import TemporaryDirectory
    >>> from etalambda.lab.records import open_run
    >>> with TemporaryDirectory() as folder:
    ...     with open_run(folder, {"lr": 0.1}, kind="mine") as run:
    ...         run.add("epoch=0", metrics={"loss": [0.9]})
    ...     found = read(folder)
    >>> found.kind, found.config, found.finished, found.tables
    ('mine', {'lr': 0.1}, False, {'metrics': {'loss': array([0.9])}})
    """

    config: dict[str, Any]
    env: dict[str, Any]
    tables: dict[str, Table]
    finished: bool
    kind: str


def read(folder: str | Path) -> RunData:
    """Everything recorded in a run folder, finished or not, also while it is being written.

    A part that is cut off or still being written is left out.

    Raises:
        RecordError: If the folder holds no run.

    >>> from tempfile import TemporaryDirectory
    >>> from etalambda.lab.records import open_run
    >>> with TemporaryDirectory() as folder:
    ...     with open_run(folder, {"lr": 0.1}, kind="mine") as run:
    ...         run.add("epoch=0", metrics={"loss": [0.9]})
    ...         print(read(folder).tables["metrics"]["loss"])  # while it is being written
    [0.9]
    """
    folder = Path(folder)
    if not (folder / "config.toml").is_file():
        raise RecordError(f"{folder} holds no run: config.toml is missing")
    head = files.read_toml(folder / "config.toml")
    env, found = _contents(folder)
    finished = bool(env.get("finished"))
    return RunData(head.get("config", {}), env, found, finished, str(head.get("kind", "")))


def _contents(folder: Path) -> tuple[dict[str, Any], dict[str, Table]]:
    """env and tables; read again if the run finished, and so moved its parts, meanwhile."""
    env = files.read_json(folder / "env.json")
    if env.get("finished"):
        return env, {path.stem: files.read_parquet([path]) for path in tables_in(folder)}
    try:
        found = merged_tables(folder, whole_parts(folder))
    except RecordError:
        if not files.read_json(folder / "env.json").get("finished"):
            raise
        return _contents(folder)
    if files.read_json(folder / "env.json").get("finished"):
        return _contents(folder)
    return env, found


def whole_parts(folder: Path) -> set[str]:
    """The names of the parts of an unfinished run that are wholly written."""
    parts = (path for path in (folder / "parts").glob("*") if not path.name.startswith("."))
    return {part.name for part in parts if all(map(files.looks_whole, tables_in(part)))}


def tables_in(folder: Path) -> list[Path]:
    """The Parquet files of a folder, without those that are being written."""
    return sorted(p for p in folder.glob("*.parquet") if not p.name.startswith("."))


def merged_tables(folder: Path, parts: set[str]) -> dict[str, Table]:
    """Every table over these parts, in the order of their names."""
    by_name: dict[str, list[Path]] = {}
    for part in sorted(parts, key=_natural):
        for path in tables_in(folder / "parts" / part):
            by_name.setdefault(path.stem, []).append(path)
    return {name: files.read_parquet(paths) for name, paths in by_name.items()}


def _natural(name: str) -> list[tuple[bool, Any]]:
    """seed=10 after seed=9."""
    return [(c.isdigit(), int(c) if c.isdigit() else c) for c in re.split(r"([0-9]+)", name)]
