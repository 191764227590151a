"""The map's part of the page: an lr x weight_decay grid to hover over, and what fixes the error."""

from __future__ import annotations

from typing import Any

import numpy as np

from etalambda.lab.commands.words import words_of
from etalambda.lab.figures.grid import MapGrid, map_grid
from etalambda.lab.figures.map import length_panels, lr_lambda_map
from etalambda.lab.figures.style import by_group, to_svg
from etalambda.lab.records import RunData
from etalambda.lab.report.heatmap import errors, heatmap
from etalambda.lab.report.html import Section, figures, paragraph
from etalambda.lab.report.labels import labels_of
from etalambda.lab.report.tables import Table, number

QUANTITIES = {"K": "K", "weight_decay": "λ", "lr": "lr"}


def tables(run: RunData) -> list[Table]:
    """What the terminal and the page show of the run."""
    explained = _explained(run)
    return [table(run), *([explained] if explained else [])]


def picture(run: RunData) -> Any:
    """The run's main figure, for a file."""
    return lr_lambda_map(map_grid(run.tables["metrics"]))


def table(run: RunData) -> Table:
    """The best cell beside the smallest decay at the same lr, and what decay gained."""
    grid = map_grid(run.tables["metrics"])
    row, column = grid.best
    rows = [_cell("best cell", grid, row, column), _cell("least decay, same lr", grid, row, 0)]
    note = (
        f"The best of {grid.val.size} cells, chosen by validation error over {grid.seeds} seeds: "
        "that validation error is biased low by the choice. The test error is not used to choose, "
        "but comes from the same networks; `etalambda compare` reports on fresh seeds."
    )
    columns = ("", "lr", "weight_decay", "K", "validation error %", "test error %")
    return Table(_title(run), columns, rows, note, bold=0)


def _title(run: RunData) -> str:
    parts = (run.config.get("task", ""), run.config.get("model", ""), run.config.get("optimizer"))
    return f"The map: {' '.join(str(part) for part in parts if part)}, {labels_of(run)}"


def _cell(name: str, grid: MapGrid, row: int, column: int) -> list[str]:
    lr, decay = grid.lrs[row], grid.weight_decays[column]
    budget = number(grid.budget[row, column])
    return [name, number(lr), number(decay), budget, *errors(grid, row, column)]


def findings(run: RunData) -> list[str]:
    """The best cell, the basin's size and the border alarm."""
    grid = map_grid(run.tables["metrics"])
    row, column = grid.best
    share = grid.basin().mean()
    said = [
        f"Best cell: lr {number(grid.lrs[row])}, weight_decay {number(grid.weight_decays[column])}"
        f", test error {errors(grid, row, column)[1]} % against {errors(grid, row, 0)[1]} % at "
        f"the smallest decay (n = {grid.seeds}).",
        f"{100 * share:.0f} % of the cells lie within half a point of it; "
        f"{grid.diverged.sum()} of {grid.val.size} cells diverged.",
    ]
    if grid.border():
        said.append(f"ALARM: the best cell is on the border; {' and '.join(grid.border())}.")
    return said


def _explained(run: RunData) -> Table | None:
    """R² of K, λ and lr, each alone, over the lengths and over parts of them."""
    if "fit" not in run.tables or not _has_lengths(run):
        return None
    whole = run.tables["fit"]
    parts = {"all lengths": whole}
    if "fit_parts" in run.tables:
        grouped = by_group(run.tables["fit_parts"], "part")
        parts |= {str(name): rows for (name,), rows in grouped.items()}
    quantities = [str(quantity) for quantity in whole["quantity"]]
    rows = [
        [
            name,
            *(f"{r2:.2f}" if np.isfinite(r2) else "–" for r2 in rows["r2"]),
            str(int(max(rows["n"]))),
        ]
        for name, rows in parts.items()
    ]
    columns = ("networks", *(QUANTITIES.get(q, q) for q in quantities), "n")
    note = (
        "R²: the share of the validation error's variance that a cubic in the log of one quantity "
        "explains by itself. Printed whatever it is. At one lr, lr explains nothing by design."
    )
    return Table("What fixes the error: K, λ or lr?", columns, rows, note)


def section(run: RunData, name: str) -> Section:
    """The map's part of the page."""
    grid = map_grid(run.tables["metrics"])
    intro = (
        "Mean validation error of every pair of lr and weight_decay. Star: the best cell. Line: "
        "the basin within half a point of it. Dashed: equal lr · λ. Hatched: a seed diverged. "
        "Hover for numbers; click a cell for the command that trains it alone."
    )

    def command(lr: float, weight_decay: float) -> str:
        return words_of(run.kind, run.config | {"lrs": [lr], "weight_decays": [weight_decay]})

    body = [paragraph(intro), heatmap(grid, f"{name}-heat", command), table(run).to_html()]
    if _has_lengths(run):
        body.append(_lengths(run, grid, name))
    return Section(name, _title(run), "".join(body), findings(run))


def _has_lengths(run: RunData) -> bool:
    """Whether there are several training lengths to compare."""
    return "lengths" in run.tables and len(np.unique(run.tables["lengths"]["epochs"])) > 1


def _lengths(run: RunData, grid: MapGrid, name: str) -> str:
    lr = grid.lrs[grid.best[0]]
    here = run.tables["lengths"]["lr"]
    lr = float(here[np.argmin(np.abs(np.log(here / lr)))])
    made = length_panels(run.tables["lengths"], lr)
    labels = ("error against weight decay", "error against the budget K")
    panels = [to_svg(m, f"{name}-len{i}", labels[i]) for i, m in enumerate(made)]
    text = (
        "The same networks trained for other lengths. Where the curves lie on each other, that "
        "quantity fixes the error. Bands: one standard deviation over seeds."
    )
    explained = _explained(run)
    return paragraph(text) + figures(panels) + (explained.to_html() if explained else "")
