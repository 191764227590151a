"""The lr x weight_decay map, and error against λ and against K for several training lengths."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from etalambda._common import need
from etalambda.lab.figures.grid import MapGrid, edges, iso_lines, outline, positions
from etalambda.lab.figures.style import (
    FAINT,
    INK,
    MUTED,
    figure,
    house_style,
    palette,
    plain_log_ticks,
    shades,
)

COLOURS = "cividis_r"
POINTS_SHOWN = 12.0  # errors further than this above the best share the darkest colour


def colour_limits(grids: Iterable[MapGrid]) -> tuple[float, float]:
    """The one scale of several grids, in percent: the best cell of all, to `POINTS_SHOWN` above.

    Grids in which every cell diverged have no part in it.
    """
    values = [100 * g.val for g in grids if np.isfinite(g.val).any()]
    if not values:
        return 0.0, 100.0
    low = min(float(np.nanmin(v)) for v in values)
    return low, min(low + POINTS_SHOWN, max(float(np.nanmax(v)) for v in values))


@house_style
def lr_lambda_map(grid: MapGrid, title: str = "validation error %") -> Any:
    """Mean validation error; the best cell, its basin, lines of equal lr · λ, diverged hatched."""
    made, (axis,) = figure(7.2, 5.2)
    grid.best  # noqa: B018 - says what to do where every cell diverged
    mesh = _draw(axis, grid, colour_limits([grid]))
    made.colorbar(mesh, ax=axis, label=title, extend="max", shrink=0.85)
    axis.set_title(f"{title}, mean of {grid.seeds} seeds", pad=20)
    return made


@house_style
def arm_maps(grids: dict[str, MapGrid], title: str = "validation error %") -> Any:
    """One map an arm, all on one colour scale, each with the share of cells in its own basin."""
    columns = min(3, len(grids))
    rows = -(-len(grids) // columns)
    made = need("matplotlib.figure", "lab").Figure(
        (4.6 * columns + 0.8, 4.0 * rows), layout="constrained"
    )
    axes = made.subplots(rows, columns, squeeze=False).ravel()
    limits, mesh = colour_limits(grids.values()), None
    for axis, (name, grid) in zip(axes, grids.items()):
        mesh = _draw(axis, grid, limits)
        share = f"{100 * grid.basin().mean():.0f} % of cells" if grid.any else "all diverged"
        axis.set_title(f"{name}\nbasin: {share}, n = {grid.seeds}", pad=20)
    for axis in axes[len(grids) :]:
        axis.set_axis_off()
    made.colorbar(mesh, ax=list(axes), label=title, extend="max", shrink=0.8)
    return made


def _draw(axis: Any, grid: MapGrid, limits: tuple[float, float]) -> Any:
    """One grid into an axis."""
    px, py = positions(grid.weight_decays), positions(grid.lrs)
    x, y = edges(px), edges(py)
    colours = dict(cmap=COLOURS, edgecolors="none", vmin=limits[0], vmax=limits[1])
    mesh = axis.pcolormesh(x, y, 100 * grid.val, **colours)
    for i, j in np.argwhere(grid.diverged):
        axis.fill_between([x[j], x[j + 1]], y[i], y[i + 1], fc="none", ec=FAINT, hatch="////", lw=0)
    if grid.any:
        _overlay(axis, grid, x, y)
        row, column = grid.best
        axis.plot(px[column], py[row], "*", color="white", mec=INK, ms=15)
    every = [2 if len(places) > 6 else 1 for places in (px, py)]
    axis.set_xticks(px[:: every[0]], [f"{v:.2g}" for v in grid.weight_decays[:: every[0]]])
    axis.set_yticks(py[:: every[1]], [f"{v:.2g}" for v in grid.lrs[:: every[1]]])
    axis.set(xlabel="weight_decay", ylabel="lr", xlim=x[[0, -1]], ylim=y[[0, -1]])
    axis.grid(False)
    return mesh


def _overlay(axis: Any, grid: MapGrid, x: np.ndarray, y: np.ndarray) -> None:
    for xs, ys in outline(grid.basin(), x, y):
        axis.plot(xs, ys, color="white", lw=3.2, solid_capstyle="round")
        axis.plot(xs, ys, color=INK, lw=1.6, solid_capstyle="round")
    for level, xs, ys in iso_lines(x, y):
        axis.plot(xs, ys, "--", color=INK, lw=0.9, alpha=0.55)
        if ys[0] > y[-1] - 1e-9:  # the line leaves through the top: its name stands above it
            place = dict(ha="center", va="bottom", fontsize=9, color=MUTED)
            axis.text(xs[0], y[-1], f"1e{level:.0f}", **place)
    axis.text(x[0], y[-1], "lr · λ = ", ha="right", va="bottom", fontsize=9, color=MUTED)


@house_style
def length_panels(lengths: dict[str, np.ndarray], lr: float) -> list[Any]:
    """Validation error at one lr against λ and against K, a line a training length."""
    ours = np.isclose(lengths["lr"], lr) & ~lengths["diverged"].astype(bool)
    table = {key: column[ours] for key, column in lengths.items()}
    return [
        _against(table, "weight_decay", "weight_decay λ", f"Against λ, at lr {lr:.3g}"),
        _against(table, "K", "decay budget K = Σ lr · λ", f"Against K, at lr {lr:.3g}"),
    ]


def _against(table: dict[str, np.ndarray], x: str, label: str, title: str) -> Any:
    made, (axis,) = figure(5.4, 3.8)
    epochs = np.unique(table["epochs"])
    for colour, length in zip(shades(len(epochs)), epochs):
        ours = (table["epochs"] == length) & (table["weight_decay"] > 0)
        decays = np.unique(table["weight_decay"][ours])
        cells = [ours & (table["weight_decay"] == decay) for decay in decays]
        places = [table[x][cell].mean() for cell in cells]
        errors = [100 * table["val_error"][cell] for cell in cells]
        middle = np.array([e.mean() for e in errors])
        spread = np.array([e.std(ddof=1) if len(e) > 1 else 0.0 for e in errors])
        axis.plot(places, middle, "o-", ms=4, color=colour, label=f"{length:.0f} epochs")
        low = np.maximum(middle - spread, middle / 2)
        axis.fill_between(places, low, middle + spread, color=colour, alpha=0.18, lw=0)
    axis.set(xscale="log", yscale="log")
    plain_log_ticks(axis.xaxis)
    plain_log_ticks(axis.yaxis, (1, 1.5, 2, 3, 5, 7))
    axis.set(xlabel=label, ylabel="validation error %", title=title)
    axis.legend()
    return made


@house_style
def label_panel(grids: dict[str, MapGrid]) -> Any:
    """Test error against λ, one line a kind of labels, each at its own best lr."""
    made, (axis,) = figure(6.2, 4.0)
    for (name, grid), (colour, dash) in zip(grids.items(), palette(list(grids)).values()):
        row, _ = grid.best
        ours = np.isfinite(grid.test[row]) & (grid.weight_decays > 0)
        decays, error = grid.weight_decays[ours], 100 * grid.test[row][ours]
        spread = np.nan_to_num(100 * grid.test_sd[row][ours])
        label = f"{name}, lr {grid.lrs[row]:.2g}"
        axis.plot(decays, error, dash, marker="o", ms=4, color=colour, label=label)
        low = np.maximum(error - spread, error / 2)
        axis.fill_between(decays, low, error + spread, color=colour, alpha=0.18, lw=0)
    axis.set(xscale="log", yscale="log")
    plain_log_ticks(axis.xaxis)
    plain_log_ticks(axis.yaxis, (1, 1.5, 2, 3, 5, 7))
    axis.set(xlabel="weight_decay λ", ylabel="test error %", title="The same map with other labels")
    axis.legend()
    return made
