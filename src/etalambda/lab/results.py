"""Many runs as one table: a row a run, its config and what it came to, while they are still going.

``config.toml`` gives a run's fields, ``summary.parquet`` (one row) its numbers; both can be asked
in SQL: table ``runs``, and ``metrics`` with a column ``run``.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from etalambda._common import need
from etalambda.lab.records import RecordError
from etalambda.lab.records.files import Table, looks_whole, read_json, read_parquet, read_toml

CELLS = "cells"  # the folder of a sweep that holds its cells
OWN = ("run", "kind", "finished", "seconds", "started")


@dataclass(frozen=True)
class Line:
    """One run: where it is, what it was told, where and whether it ran to its end."""

    folder: Path
    kind: str
    config: Mapping[str, Any]
    env: Mapping[str, Any]

    @property
    def finished(self) -> bool:
        """Whether all of it is there."""
        return bool(self.env.get("finished"))

    @property
    def sweep(self) -> Path | None:
        """The sweep's folder, if this is a cell of one."""
        return self.folder.parent.parent if self.folder.parent.name == CELLS else None

    @property
    def seconds(self) -> float:
        """Of all its sessions; its share of them where many were trained together."""
        whole = sum(s.get("seconds", 0.0) for s in self.env.get("sessions", []))
        return whole / max(1, self.env.get("together", 1))

    @property
    def started(self) -> str:
        """When its first session began, UTC."""
        return str((self.env.get("sessions") or [{}])[0].get("started", ""))[:16]


@dataclass(frozen=True)
class Results:
    """Runs and the numbers they came to."""

    lines: tuple[Line, ...]

    @classmethod
    def below(cls, places: Iterable[Path]) -> Results:
        """Every run in these folders or below them; a damaged one is left out.

        Raises:
            ValueError: If a place does not exist.
        """
        lines: dict[Path, Line] = {}
        for place in places:
            if not place.exists():
                raise ValueError(f"{place} does not exist; train one first, as in: etalambda clock")
            for path in sorted(place.rglob("config.toml")):
                try:
                    head = read_toml(path)
                except RecordError:
                    continue
                env = read_json(path.with_name("env.json"))
                folder = path.parent
                lines[folder] = Line(folder, str(head.get("kind", "")), head.get("config", {}), env)
        return cls(tuple(lines.values()))

    def of(self, keep: Iterable[bool]) -> Results:
        """The runs where ``keep`` is true."""
        return Results(tuple(line for line, ours in zip(self.lines, keep) if ours))

    @property
    def varying(self) -> list[str]:
        """The config fields in which the runs differ, in the config's order."""
        names = dict.fromkeys(name for line in self.lines for name in line.config)
        return [n for n in names if len({repr(line.config.get(n)) for line in self.lines}) > 1]

    @property
    def common(self) -> dict[str, Any]:
        """The config fields in which all agree."""
        first = self.lines[0].config if self.lines else {}
        return {name: value for name, value in first.items() if name not in self.varying}

    @cached_property
    def table(self) -> Table:
        """A row a run: `OWN` columns, every config field, every number of its summary.

        A number that is also a field (lr, seed) keeps the field's name and value. What a run does
        not have is NaN, or None.
        """
        rows: list[dict[str, Any]] = []
        numbers = self._summaries()
        for line in self.lines:
            own = dict(
                run=line.folder.name,
                kind=line.kind,
                finished=line.finished,
                seconds=line.seconds,
                started=line.started,
            )
            rows.append(own | numbers.get(line.folder, {}) | dict(line.config))
        names = dict.fromkeys(name for row in rows for name in row)
        return {name: _column([row.get(name) for row in rows]) for name in names}

    def _summaries(self) -> dict[Path, dict[str, Any]]:
        """The summary of every run that has one of one row."""
        paths = {str(p): line.folder for line in self.lines for p in _files(line, "summary")}
        if not paths:
            return {}
        found = read_parquet([Path(p) for p in paths], named=True)
        places = [paths[os.fspath(name)] for name in found.pop("filename")]
        counts = {folder: places.count(folder) for folder in set(places)}
        return {
            folder: {name: _plain(column[i]) for name, column in found.items()}
            for i, folder in enumerate(places)
            if counts[folder] == 1
        }

    def metrics(self) -> Table:
        """The rows of all runs' ``metrics``, with ``run`` and the varying fields beside them.

        A column of the metrics that is also a field (lr, weight_decay) keeps its own values; the
        field's are in ``base_lr``, ``base_weight_decay``.
        """
        paths = {str(p): line for line in self.lines for p in _files(line, "metrics")}
        if not paths:
            return {}
        found = read_parquet([Path(p) for p in paths], named=True)
        owners = [paths[os.fspath(name)] for name in found.pop("filename")]
        for name in self.varying:
            place = f"base_{name}" if name in found else name
            found[place] = _column([line.config.get(name) for line in owners])
        return found | {"run": _column([line.folder.name for line in owners])}

    def query(self, sql: str) -> tuple[list[str], list[tuple[Any, ...]]]:
        """Columns and rows of a query over ``runs`` and ``metrics``.

        Raises:
            ValueError: If DuckDB refuses the query, with its reason.
        """
        duckdb = need("duckdb", "lab")
        with duckdb.connect(config={"threads": 1}) as database:
            database.register("runs", self.table)
            if "metrics" in sql and (rows := self.metrics()):
                database.register("metrics", rows)
            try:
                found = database.execute(sql)
                return [name[0] for name in found.description], found.fetchall()
            except duckdb.Error as error:
                raise ValueError(f"the query was refused: {str(error).splitlines()[0]}") from error


def _files(line: Line, table: str) -> list[Path]:
    """A run's files of one table: the merged one, or the parts so far."""
    if line.finished:
        path = line.folder / f"{table}.parquet"
        return [path] if path.is_file() else []
    parts = sorted((line.folder / "parts").glob(f"[!.]*/{table}.parquet"))
    return [path for path in parts if looks_whole(path)]


def _column(values: list[Any]) -> np.ndarray:
    """One array: numbers as float where some are missing, text, lists and the rest as objects."""
    plain = [", ".join(map(str, v)) if isinstance(v, list | tuple) else v for v in values]
    kinds = {type(v) for v in plain}
    if kinds in ({bool}, {int}, {float}, {int, float}):
        return np.array(plain)
    if kinds - {type(None)} and kinds <= {int, float, type(None)}:
        return np.array([np.nan if v is None else v for v in plain], dtype=float)
    return np.array(plain, dtype=object)


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
