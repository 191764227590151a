"""The report: run folders in, one offline HTML page out. Any subset of runs makes a page."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import ModuleType

from etalambda.lab.records import RecordError, RunData, read
from etalambda.lab.report import clock, compare, labels, map, provenance, theory
from etalambda.lab.report.html import Section, paragraph
from etalambda.lab.report.page import make_page, write_page
from etalambda.lab.report.tables import NotYet

__all__ = ["PARTS", "build", "find_runs", "write_report"]

# kind of run -> the module that writes its part: tables, findings, picture and section of a run.
# The order here is the page's.
PARTS: dict[str, ModuleType] = {"clock": clock, "map": map, "compare": compare}
LEAD = (
    "Weight decay acts through K, the sum of lr x weight_decay over the steps taken. This page "
    "shows what it did in the runs below, whatever came out."
)


def find_runs(places: Iterable[Path]) -> dict[Path, RunData]:
    """Every run in these folders or below them, by folder; a damaged one is named and left out.

    Raises:
        ValueError: If a place does not exist, or none holds a run.
    """
    places = list(places)
    found: dict[Path, RunData] = {}
    for place in places:
        if not place.exists():
            raise ValueError(f"{place} does not exist; train one first, as in: etalambda clock")
        for config in sorted(place.rglob("config.toml")):
            _read_into(found, config.parent)
    if not found:
        listed = ", ".join(str(place) for place in places)
        raise ValueError(f"no run in {listed}; train one first, as in: etalambda clock")
    return found


def _read_into(found: dict[Path, RunData], folder: Path) -> None:
    try:
        found.setdefault(folder, read(folder))
    except RecordError as error:
        print(f"left out: {error}", file=sys.stderr)


def build(runs: Mapping[Path, RunData], title: str = "What weight decay did") -> str:
    """The page of these runs as text; a run that holds nothing yet says so in its place."""
    order = list(PARTS)
    known = {folder: run for folder, run in runs.items() if run.kind in order}
    last_map = ([None] + [run for run in known.values() if run.kind == "map"])[-1]
    sections: list[Section] = []
    for folder, run in sorted(known.items(), key=lambda item: order.index(item[1].kind)):
        sections.append(_section(run, f"{run.kind}{len(sections)}", folder))
        if run is last_map and (beside := labels.section(known.values())):
            sections.append(beside)
    sections += [theory.section(), provenance.own_script(), provenance.section(known)]
    return make_page(title, LEAD, sections)


def _section(run: RunData, name: str, folder: Path) -> Section:
    try:
        return PARTS[run.kind].section(run, name)
    except (KeyError, NotYet) as missing:  # a table, or a kind of row, of an unfinished run
        what = str(missing).strip("'")
        text = f"{folder} holds no {what} yet; run its command again to go on."
    except ValueError as error:
        text = f"{folder}: {error}"
    return Section(name, f"{run.kind}: nothing to show", paragraph(text))


def write_report(runs: Mapping[Path, RunData], path: Path) -> Path:
    """Write the page of these runs to ``path``.

    Raises:
        RecordError: If the disk refuses.
    """
    try:
        return write_page(path, build(runs))
    except OSError as error:
        raise RecordError(f"cannot write {path}: {error}; choose another --out") from error
