"""The papers' claims beside what runs of them found: margin, number, interval, verdict."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from etalambda.lab.numbers import number
from etalambda.lab.records import RunData
from etalambda.lab.report.html import Section, details, paragraph
from etalambda.lab.report.tables import Table
from etalambda.lab.reproduce import find, names

COLUMNS = ("figure, scale", "paper says", "tolerance", "ours", "95 % interval", "n", "verdict")


def section(runs: Mapping[Path, RunData]) -> Section | None:
    """A row a criterion of every figure that one of the runs measures; None without any."""
    rows: list[list[str]] = []
    departures: list[list[str]] = []
    for name in names() if runs else ():
        figure = find(name)
        for run in runs.values():
            if run.kind == figure.run_name and (scale := _scale(figure, run)):
                rows += _rows(figure, scale, run)
                told = figure.recipe(scale).departures
                departures += [[f"{name}, {scale}", line] for line in told]
    if not rows:
        return None
    table = Table("Paper, ours, tolerance", COLUMNS, rows, "The tolerance was set before the run.")
    body = [paragraph("What the papers say, and what these runs found."), table.to_html()]
    if departures:
        listed = Table("", ("figure, scale", "departure from the paper's recipe"), departures)
        body.append(details("Departures from the papers' recipes", listed.to_html()))
    counts = [row[-1] for row in rows]
    said = ", ".join(f"{counts.count(v)} {v}" for v in dict.fromkeys(counts))
    return Section(
        "claims", "Paper against ours", "".join(body), [f"Of {len(rows)} claims: {said}."]
    )


def _scale(figure: Any, run: RunData) -> str:
    """At which scale the run measured the figure; empty if at none of this version's."""
    for scale, recipe in figure.recipes.items():
        told = {k: list(v) if isinstance(v, tuple) else v for k, v in recipe.config().items()}
        if told == run.config:
            return scale
    return ""


def _rows(figure: Any, scale: str, run: RunData) -> list[list[str]]:
    label = f"{figure.name}, {scale}"
    if not run.finished:
        return [[label, figure.claim, "–", "–", "–", "–", "unfinished"]]
    rows = []
    for finding in figure.judge(run.tables).findings:
        found = finding.found
        ends = f"{number(found.low)} to {number(found.high)}" if found.low != found.high else "–"
        told = [finding.criterion.says, finding.criterion.bounds, number(found.value), ends]
        rows.append([label, *told, str(found.n), finding.outcome])
    return rows
