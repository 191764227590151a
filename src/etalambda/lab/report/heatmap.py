"""An lr x weight_decay grid as a chart to hover over: colours, basin, lines of equal lr · λ."""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from typing import Any

import numpy as np

from etalambda.lab.figures.grid import MapGrid, edges, iso_lines, outline, positions
from etalambda.lab.figures.map import COLOURS, colour_limits
from etalambda.lab.figures.style import FAINT, INK
from etalambda.lab.numbers import number
from etalambda.lab.report.html import chart
from etalambda.lab.report.tables import percent

Command = Callable[[float, float], str]
HOVER = (
    "lr %{customdata[0]}, weight_decay %{customdata[1]}<br>validation %{customdata[2]} %<br>"
    "test %{customdata[3]} %<br>K = %{customdata[4]}<br><i>click for the command</i><extra></extra>"
)


def errors(grid: MapGrid, row: int, column: int) -> list[str]:
    """Validation and test error of a cell, mean ± sd over seeds, in percent."""
    pairs = ((grid.val, grid.val_sd), (grid.test, grid.test_sd))
    return [f"{percent(mean[row, column])} ± {percent(sd[row, column])}" for mean, sd in pairs]


def heatmap(
    grid: MapGrid,
    name: str,
    command: Command,
    *,
    title: str = "",
    limits: tuple[float, float] | None = None,
    height: int = 470,
) -> str:
    """The chart of a grid.

    Args:
        grid: What to draw.
        name: Unique on the page.
        command: (lr, weight_decay) -> the command that trains that cell alone.
        title: Above it.
        limits: Errors in percent at the ends of the colours; None takes the grid's own.
        height: In pixels.
    """
    px, py = positions(grid.weight_decays), positions(grid.lrs)
    x, y = edges(px), edges(py)
    row, column = grid.best
    star = dict(symbol="star", size=17, color="white", line=dict(color=INK, width=1.5))
    best = dict(x=[px[column]], y=[py[row]], mode="markers", marker=star, **_SILENT)
    data = [_cells(grid, x, y, command, limits or colour_limits([grid]))]
    data += [_hatch(grid, x, y), *_lines(grid, x, y), best]
    layout = dict(
        xaxis=_axis("weight_decay", px, grid.weight_decays, x),
        yaxis=_axis("lr", py, grid.lrs, y),
        margin=dict(l=60, r=10, t=56 if title else 30, b=50),
        annotations=_iso_names(x, y),
    )
    if title:
        layout["title"] = dict(text=escape(title), x=0, xanchor="left", font=dict(size=14))
    return chart(name, data, layout, height=height) + '<p class="picked"></p>'


_SILENT: dict[str, Any] = dict(type="scatter", hoverinfo="skip", showlegend=False)


def _cells(
    grid: MapGrid, x: np.ndarray, y: np.ndarray, command: Command, ends: tuple[float, float]
) -> dict[str, Any]:
    """The heatmap itself; each cell carries its numbers and its command."""
    colours = dict(colorscale=COLOURS.removesuffix("_r").capitalize(), reversescale=True)
    limits = dict(zmin=ends[0], zmax=ends[1])
    shown = [
        [
            [f"{lr:g}", f"{w:g}", *errors(grid, i, j), number(grid.budget[i, j])]
            + [command(float(lr), float(w))]
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
