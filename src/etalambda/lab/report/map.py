"""The map's part of the page: an lr x weight_decay grid to hover over, and what fixes the error."""

from __future__ import annotations

from typing import Any

import numpy as np

from etalambda.lab.commands.words import words_of
from etalambda.lab.figures.grid import MapGrid, edges, iso_lines, map_grid, outline, positions
from etalambda.lab.figures.map import COLOURS, POINTS_SHOWN, length_panels, lr_lambda_map
from etalambda.lab.figures.style import FAINT, INK, by_group, to_svg
from etalambda.lab.records import RunData
from etalambda.lab.report.html import Section, chart, figures, paragraph
from etalambda.lab.report.labels import labels_of
from etalambda.lab.report.tables import Table, number, percent

HOVER = (
    "lr %{customdata[0]}, weight_decay %{customdata[1]}<br>validation %{customdata[2]} %<br>"
    "test %{customdata[3]} %<br>K = %{customdata[4]}<br><i>click for the command</i><extra></extra>"
)
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
    return [name, number(lr), number(decay), budget, *_errors(grid, row, column)]


def _errors(grid: MapGrid, row: int, column: int) -> list[str]:
    pairs = ((grid.val, grid.val_sd), (grid.test, grid.test_sd))
    return [f"{percent(mean[row, column])} ± {percent(sd[row, column])}" for mean, sd in pairs]


def findings(run: RunData) -> list[str]:
    """The best cell, the basin's size and the border alarm."""
    grid = map_grid(run.tables["metrics"])
    row, column = grid.best
    share = grid.basin().mean()
    said = [
        f"Best cell: lr {number(grid.lrs[row])}, weight_decay {number(grid.weight_decays[column])}"
        f", test error {_errors(grid, row, column)[1]} % against {_errors(grid, row, 0)[1]} % at "
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
    body = [paragraph(intro), _heatmap(run, grid, f"{name}-heat"), table(run).to_html()]
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


def _heatmap(run: RunData, grid: MapGrid, name: str) -> str:
    px, py = positions(grid.weight_decays), positions(grid.lrs)
    x, y = edges(px), edges(py)
    row, column = grid.best
    star = dict(symbol="star", size=17, color="white", line=dict(color=INK, width=1.5))
    best = dict(x=[px[column]], y=[py[row]], mode="markers", marker=star, **_SILENT)
    data = [_cells(run, grid, x, y), _hatch(grid, x, y), *_lines(grid, x, y), best]
    layout = dict(
        xaxis=_axis("weight_decay", px, grid.weight_decays, x),
        yaxis=_axis("lr", py, grid.lrs, y),
        margin=dict(l=60, r=10, t=30, b=50),
        annotations=_iso_names(x, y),
    )
    return chart(name, data, layout, height=470) + '<p class="picked"></p>'


_SILENT: dict[str, Any] = dict(type="scatter", hoverinfo="skip", showlegend=False)


def _cells(run: RunData, grid: MapGrid, x: np.ndarray, y: np.ndarray) -> dict[str, Any]:
    """The heatmap itself; each cell carries its numbers and its command."""
    low = 100 * grid.val[grid.best]
    colours = dict(colorscale=COLOURS.removesuffix("_r").capitalize(), reversescale=True)
    limits = dict(zmin=low, zmax=min(low + POINTS_SHOWN, 100 * np.nanmax(grid.val)))
    shown = [
        [
            [f"{lr:g}", f"{w:g}", *_errors(grid, i, j), number(grid.budget[i, j])]
            + [words_of(run.kind, run.config | {"lrs": [lr], "weight_decays": [w]})]
            for j, w in enumerate(grid.weight_decays)
        ]
        for i, lr in enumerate(grid.lrs)
    ]
    bar = dict(title=dict(text="error %"), thickness=12, outlinewidth=0)
    return dict(
        type="heatmap", x=x, y=y, z=100 * grid.val, customdata=shown, hovertemplate=HOVER
    ) | dict(colorbar=bar, hoverongaps=False, **colours, **limits)


def _hatch(grid: MapGrid, x: np.ndarray, y: np.ndarray) -> dict[str, Any]:
    xs: list[Any] = []
    ys: list[Any] = []
    for i, j in np.argwhere(grid.diverged):
        xs += [x[j], x[j + 1], x[j + 1], x[j], x[j], None]
        ys += [y[i], y[i], y[i + 1], y[i + 1], y[i], None]
    pattern = dict(shape="/", fgcolor=FAINT, bgcolor="rgba(0,0,0,0)", size=7)
    line = dict(width=0)
    return dict(x=xs, y=ys, fill="toself", fillpattern=pattern, mode="lines", line=line, **_SILENT)


def _lines(grid: MapGrid, x: np.ndarray, y: np.ndarray) -> list[dict[str, Any]]:
    """The lines of equal lr · λ, then the basin's outline: light below, dark above."""

    def trace(pairs: list[tuple], **line: Any) -> dict[str, Any]:
        xs = [value for a, _ in pairs for value in (*a, None)]
        ys = [value for _, b in pairs for value in (*b, None)]
        return dict(x=xs, y=ys, mode="lines", line=line, **_SILENT)

    around = outline(grid.basin(), x, y)
    equal = [(xs, ys) for _, xs, ys in iso_lines(x, y)]
    return [
        trace(equal, color="rgba(31,41,51,.55)", width=1, dash="dash"),
        trace(around, color="white", width=4),
        trace(around, color=INK, width=2),
    ]


def _iso_names(x: np.ndarray, y: np.ndarray) -> list[dict[str, Any]]:
    top = [(xs[0], f"1e{level:.0f}") for level, xs, ys in iso_lines(x, y) if ys[0] > y[-1] - 1e-9]
    names = [dict(x=place, text=text) for place, text in top]
    names.append(dict(x=x[0], text="lr·λ ", xanchor="right"))
    return [name | dict(y=y[-1], showarrow=False, yanchor="bottom") for name in names]


def _axis(title: str, places: np.ndarray, values: np.ndarray, ends: np.ndarray) -> dict[str, Any]:
    every = 2 if len(values) > 6 else 1
    ticks = dict(tickvals=places[::every], ticktext=[f"{v:.2g}" for v in values[::every]])
    shown = dict(range=ends[[0, -1]], showgrid=False, zeroline=False, fixedrange=True)
    return dict(title=dict(text=title), **ticks, **shown)
