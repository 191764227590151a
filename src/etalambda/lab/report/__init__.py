"""The report: run folders in, one offline HTML page out. Any subset of runs makes a page."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from etalambda.lab.figures.style import save
from etalambda.lab.records import RecordError, RunData, read
from etalambda.lab.report import claims, clock, compare, labels, map, provenance, theory
from etalambda.lab.report import runs as runs_part
from etalambda.lab.report.html import Section, paragraph
from etalambda.lab.report.page import make_page, write_page
from etalambda.lab.report.tables import NotYet
from etalambda.lab.reproduce import registry
from etalambda.lab.results import Line, Results

__all__ = ["PARTS", "build", "find_runs", "write_pictures", "write_report"]
ENDS = (".svg", ".pdf")

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

    >>> from tempfile import TemporaryDirectory
    >>> from etalambda.lab.records import open_run
    >>> with TemporaryDirectory() as folder:
    ...     for lr in (0.01, 0.1):
    ...         with open_run(f"{folder}/lr={lr}", {"lr": lr}, kind="mine") as run:
    ...             run.add("all", summary={"val_error": [lr], "test_error": [lr]})
    ...             run.finish()
    ...     [(place.name, run.config["lr"]) for place, run in find_runs([Path(folder)]).items()]
    [('lr=0.01', 0.01), ('lr=0.1', 0.1)]
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
    """The page of these runs as text; a run that holds nothing yet says so in its place.

    >>> from tempfile import TemporaryDirectory
    >>> from etalambda.lab.records import open_run
    >>> with TemporaryDirectory() as folder:
    ...     for lr in (0.01, 0.1):
    ...         with open_run(f"{folder}/lr={lr}", {"lr": lr}, kind="mine") as run:
    ...             run.add("all", summary={"val_error": [lr], "test_error": [lr]})
    ...             run.finish()
    ...     page = build(find_runs([Path(folder)]), title="Mine")
    >>> "2 runs that differ in lr" in page, "http://" in page or "https://" in page  # offline
    (True, False)
    """
    order = list(PARTS)
    known = {folder: run for folder, run in runs.items() if run.kind in order}
    drawn = set(registry.names())
    lines = [
        Line(folder, run.kind, run.config, run.env)
        for folder, run in runs.items()
        if run.kind not in order and run.kind not in drawn
    ]
    sets = runs_part.sets_of(lines)
    last_map = ([None] + [run for run in known.values() if run.kind == "map"])[-1]
    sections: list[Section] = []
    for folder, run in sorted(known.items(), key=lambda item: order.index(item[1].kind)):
        sections.append(_section(run, f"{run.kind}{len(sections)}", folder))
        if run is last_map and (beside := labels.section(known.values())):
            sections.append(beside)
    sections += [_set(*item, f"set{i}") for i, item in enumerate(sets.items())]
    sections += [found] if (found := claims.section(runs)) else []
    sections += [theory.section()] if known else []
    sections += [provenance.own_script(), provenance.section(known, sets)]
    return make_page(title, LEAD, sections)


def _set(title: str, results: Results, name: str) -> Section:
    try:
        return runs_part.section(title, results, name)
    except ValueError as error:
        return Section(name, f"{title}: nothing to show", paragraph(str(error)))


def _section(run: RunData, name: str, folder: Path) -> Section:
    try:
        return PARTS[run.kind].section(run, name)
    except (KeyError, NotYet) as missing:  # a table, or a kind of row, of an unfinished run
        what = str(missing).strip("'")
        text = f"{folder} holds no {what} yet; run its command again to go on."
    except ValueError as error:
        text = f"{folder}: {error}"
    return Section(name, f"{run.kind}: nothing to show", paragraph(text))


def write_pictures(runs: Mapping[Path, RunData], folder: Path) -> list[Path]:
    """Every static figure of these runs as SVG and PDF, for papers; the files' paths.

    >>> from tempfile import TemporaryDirectory
    >>> from etalambda.lab.records import open_run
    >>> with TemporaryDirectory() as folder:
    ...     for name in ("sgd", "adamw"):
    ...         config = {"optimizer": name, "lr": 0.1}
    ...         with open_run(f"{folder}/{name}", config, kind="mine") as run:
    ...             run.add("all", summary={"val_error": [0.5], "test_error": [0.6]})
    ...             run.finish()
    ...     made = write_pictures(find_runs([Path(folder)]), Path(folder, "pictures"))
    >>> [path.name for path in made]
    ['Runs-mine-arms.svg', 'Runs-mine-arms.pdf']
    """
    made: dict[str, Any] = {}
    for place, run in runs.items():
        if run.kind in PARTS and run.tables:
            made[f"{place.name}-{run.kind}"] = PARTS[run.kind].picture(run)
    lines = [Line(p, r.kind, r.config, r.env) for p, r in runs.items() if r.kind not in PARTS]
    for title, results in runs_part.sets_of(lines).items():
        slug = re.sub(r"[^A-Za-z0-9._=+-]+", "-", title)
        made |= {f"{slug}-{n}": figure for n, figure in runs_part.pictures(results).items()}
    return [save(figure, folder / f"{n}{end}") for n, figure in made.items() for end in ENDS]


def write_report(runs: Mapping[Path, RunData], path: Path) -> Path:
    """Write the page of these runs to ``path``.

    Raises:
        RecordError: If the disk refuses.

    >>> from tempfile import TemporaryDirectory
    >>> from etalambda.lab.records import open_run
    >>> with TemporaryDirectory() as folder:
    ...     for lr in (0.01, 0.1):
    ...         with open_run(f"{folder}/lr={lr}", {"lr": lr}, kind="mine") as run:
    ...             run.add("all", summary={"val_error": [lr], "test_error": [lr]})
    ...             run.finish()
    ...     path = write_report(find_runs([Path(folder)]), Path(folder, "page.html"))
    ...     path.name, path.stat().st_size > 1000
    ('page.html', True)
    """
    try:
        return write_page(path, build(runs))
    except OSError as error:
        raise RecordError(f"cannot write {path}: {error}; choose another --out") from error
