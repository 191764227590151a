"""Evidence: what a run measured, kept small, with its command, commit and machine.

    docs/evidence/<figure>/<scale>.json              recipe, verdict, command, commit, machine
    docs/evidence/<figure>/<scale>.<table>.parquet   the tables that the verdict is made from
    docs/evidence/<figure>/<scale>.png               the figure

Figures that read one measurement keep its tables once, with the figure that measures.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from etalambda.lab.experiments.parts import Tables
from etalambda.lab.records import RecordError, files, read
from etalambda.lab.reproduce.figure import SCALES, Figure
from etalambda.lab.reproduce.registry import find
from etalambda.lab.reproduce.running import Outcome, concluded
from etalambda.lab.statistics import Interval

LIMIT = 300_000  # bytes a figure


@dataclass(frozen=True)
class Kept:
    """One scale of one figure as it is kept: what its JSON file says."""

    path: Path
    said: dict[str, Any]

    @property
    def figure(self) -> str:
        return self.said["figure"]

    @property
    def scale(self) -> str:
        return self.said["scale"]

    def tables(self) -> Tables:
        """The tables that were kept."""
        return _tables(self.path.parent.parent / self.said["run"], self.scale)


def keep(made: Outcome, home: Path) -> Path:
    """Write the evidence of a finished figure below ``home``; the folder it is in.

    Numbers are kept as float32 where the findings are the same to 4 digits, else as measured.

    Raises:
        RecordError: If it is larger than `LIMIT`; nothing is left then.
    """
    figure, scale = made.figure, made.scale
    folder, run = home / figure.name, home / figure.run_name
    for place in (folder, run):
        place.mkdir(parents=True, exist_ok=True)
    compact = figure.compact(made.tables)
    narrow = {name: _narrow(table) for name, table in compact.items()}
    tables = narrow if _alike(figure, narrow, made.tables) else compact
    written = [run / f"{scale}.{name}.parquet" for name in tables]
    for path, table in zip(written, tables.values()):
        files.write_parquet(path, table, codec="zstd")
    made = concluded(figure, scale, made.folder, _tables(run, scale))
    picture = folder / f"{scale}.png"
    made.picture.savefig(picture, dpi=80, metadata={"Software": None})
    size = sum(path.stat().st_size for path in {*written, picture})
    if size > LIMIT:
        for path in [*written, picture]:
            path.unlink()
        raise RecordError(
            f"the evidence of {figure.name} has {size} bytes, above {LIMIT}; "
            "give its figure a `compact` that keeps less"
        )
    text = json.dumps(_said(made), indent=1, ensure_ascii=False)
    files.write_text(folder / f"{scale}.json", text + "\n")
    return folder


def _alike(figure: Figure, narrow: Tables, full: Tables) -> bool:
    """Whether both give the same findings: outcomes equal, ends equal to 4 digits.

    Of an end near 0 those are digits of the interval's width.
    """
    ours, theirs = (figure.judge(tables).findings for tables in (narrow, full))
    return all(a.outcome == b.outcome and _near(a.found, b.found) for a, b in zip(ours, theirs))


def _near(ours: Interval, theirs: Interval) -> bool:
    width = float(np.nan_to_num(theirs.high - theirs.low, posinf=0.0))
    return np.allclose(ours[:3], theirs[:3], rtol=1e-4, atol=1e-4 * width, equal_nan=True)


def found(home: Path) -> Iterator[Kept]:
    """All evidence below ``home``, by figure and scale."""
    for path in sorted(home.glob("*/*.json")):
        said = files.read_json(path)
        if path.stem in SCALES and said.get("figure") == path.parent.name:
            yield Kept(path, said)


def rejudged(kept: Kept) -> list[dict[str, Any]]:
    """The findings that today's code makes of the kept tables."""
    return _findings(find(kept.figure), kept.tables())


def _said(made: Outcome) -> dict[str, Any]:
    figure, recipe = made.figure, made.figure.recipe(made.scale)
    env = read(made.folder).env
    sessions = env.get("sessions", [])
    return {
        "figure": figure.name,
        "run": figure.run_name,
        "scale": made.scale,
        "shows": figure.shows,
        "claim": figure.claim,
        "verdict": made.verdict.outcome,
        "findings": _findings(figure, made.tables),
        "recipe": recipe.config(),
        "departures": list(recipe.departures),
        "command": f"etalambda reproduce {figure.run_name} --scale {made.scale}",
        "seconds": round(sum(session.get("seconds", 0.0) for session in sessions), 1),
        "machine": {key: env.get(key) for key in ("platform", "cpus", "accelerator", "python")},
        "packages": env.get("packages", {}),
        "commit": env.get("commit", ""),
        "finished": env.get("finished", ""),
    }


def _findings(figure: Figure, tables: Tables) -> list[dict[str, Any]]:
    rows = []
    for finding in figure.judge(tables).findings:
        numbers = {k: _plain(v) for k, v in finding.found._asdict().items()}
        numbers["n"] = finding.found.n
        about = {"name": finding.name, "asks": finding.criterion.says}
        margin = {"margin": finding.criterion.bounds, "outcome": finding.outcome}
        rows.append(about | numbers | margin)
    return rows


def _plain(value: float) -> float | int | None:
    """A number as JSON has it, to 6 digits; None for NaN."""
    return float(f"{value:.6g}") if math.isfinite(value) else None


def _tables(folder: Path, scale: str) -> Tables:
    paths = sorted(folder.glob(f"{scale}.*.parquet"))
    return {path.name.split(".")[1]: files.read_parquet([path]) for path in paths}


def _narrow(table: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Numbers in 32 bits where they fit."""
    return {name: _narrowed(column) for name, column in table.items()}


def _narrowed(column: np.ndarray) -> np.ndarray:
    if column.dtype.kind == "f":
        return column.astype(np.float32)
    if column.dtype.kind == "i" and column.size and np.abs(column).max() < 2**31:
        return column.astype(np.int32)
    return column
