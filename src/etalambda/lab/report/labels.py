"""Maps of one task with other labels, side by side: how much decay gains, and where it does not."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from etalambda.lab.figures.grid import MapGrid, map_grid
from etalambda.lab.figures.map import label_panel
from etalambda.lab.figures.style import to_svg
from etalambda.lab.records import RunData
from etalambda.lab.report.html import Section, figures, paragraph
from etalambda.lab.report.tables import Table, number, percent


def labels_of(run: RunData) -> str:
    """What the training labels of a run are, in words."""
    noise = run.config.get("label_noise", 0.0)
    return f"{100 * noise:.0f} % wrong labels" if noise else "clean labels"


def grids_by_labels(runs: Iterable[RunData]) -> dict[str, MapGrid]:
    """The maps of the first map's task, network and optimizer, by their labels."""
    maps = [run for run in runs if run.kind == "map" and "metrics" in run.tables]
    same = [run for run in maps if _what(run) == _what(maps[0])]
    return {labels_of(run): map_grid(run.tables["metrics"]) for run in same}


def _what(run: RunData) -> list[object]:
    return [run.config.get(key) for key in ("task", "model", "optimizer", "epochs")]


def table(grids: dict[str, MapGrid]) -> Table:
    """Test error at the best and at the smallest λ, each at the best lr of its own labels."""
    rows = []
    for name, grid in grids.items():
        row, column = grid.best
        gain = grid.test[row, 0] - grid.test[row, column]
        best, least = (_error(grid, row, place) for place in (column, 0))
        decay = number(grid.weight_decays[column])
        rows.append([name, number(grid.lrs[row]), decay, best, least, percent(gain)])
    columns = ("labels", "lr", "best λ", "test error %", "at the smallest λ %", "gain, points")
    seeds = ", ".join(str(grid.seeds) for grid in grids.values())
    return Table("What decay gains", columns, rows, f"mean ± sd over seeds (n = {seeds})")


def _error(grid: MapGrid, row: int, column: int) -> str:
    return f"{percent(grid.test[row, column])} ± {percent(grid.test_sd[row, column])}"


def section(runs: Iterable[RunData]) -> Section | None:
    """The comparison of labels; None when there is only one kind of them."""
    grids = {k: g for k, g in grids_by_labels(runs).items() if np.isfinite(g.val).any()}
    if len(grids) < 2:
        return None
    text = (
        "The same images, network and steps; only the training labels differ. Scraped data has "
        "wrong ones. How much does decay gain with them, and how much without?"
    )
    panel = to_svg(label_panel(grids), "labels", "test error against weight decay, by labels")
    body = paragraph(text) + figures([panel, table(grids).to_html()])
    return Section("labels", "Wrong labels, clean labels", body)
