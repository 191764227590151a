"""Arms of a set of runs beside each other: learning curves with bands, and errors seed by seed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from etalambda._common import need
from etalambda.lab.figures.style import INK, figure, house_style, palette, plain_log_ticks

Columns = Mapping[str, np.ndarray]
DECADES = 4  # that a log axis shows at most
PANELS = (
    ("step", "val_error", "validation error %", 100.0, "log"),
    ("K", "val_error", "validation error % against K", 100.0, "log"),
    ("step", "train_loss", "training loss", 1.0, "log"),
    ("step", "norm", "norm of the weights", 1.0, "linear"),
    ("step", "effective_lr", "effective learning rate", 1.0, "log"),
    ("step", "decay_share", "λ, share of its base", 1.0, "linear"),
)


@house_style
def arm_curves(curves: Mapping[str, Columns]) -> Any:
    """Errors, loss and mechanism of every arm's best cell: thin lines are seeds, bands one sd."""
    shown = [panel for panel in PANELS if any(_moves(rows, panel[1]) for rows in curves.values())]
    columns = min(3, len(shown))
    rows = -(-len(shown) // columns)
    size = (4.4 * columns, 3.2 * rows + 0.3)
    made = need("matplotlib.figure", "lab").Figure(size, layout="constrained")
    axes = made.subplots(rows, columns, squeeze=False).ravel()
    for axis, (x, y, title, factor, scale) in zip(axes, shown):
        for name, (colour, dash) in palette(list(curves)).items():
            if _there(curves[name], y):
                _line(axis, curves[name], x, y, factor, colour, dash, name)
        axis.set(title=title, xlabel="K = Σ lr · λ" if x == "K" else "step")
        _scales(axis, x, scale)
    for axis in axes[len(shown) :]:
        axis.set_axis_off()
    handles, labels = axes[0].get_legend_handles_labels()
    made.legend(handles, labels, loc="outside lower center", ncols=min(4, len(labels)))
    return made


def _scales(axis: Any, x: str, y_scale: str) -> None:
    """Ticks that say 1, 2, 5; at most `DECADES` of what falls towards 0; λ and norms from 0."""
    if x == "K":
        axis.set_xscale("log")
        plain_log_ticks(axis.xaxis, (1, 2, 5))
    if y_scale == "linear":
        axis.set_ylim(bottom=0)
        return
    axis.set_yscale("log")
    low, high = axis.get_ylim()
    axis.set_ylim(max(low, high / 10**DECADES), high)
    if high / low < 300:
        plain_log_ticks(axis.yaxis, (1, 2, 5))


def _moves(rows: Columns, name: str) -> bool:
    """Whether there is anything to see: a λ that stays at its base is no panel."""
    return _there(rows, name) and float(np.nanstd(rows[name].astype(float))) > 0


def _there(rows: Columns, name: str) -> bool:
    return name in rows and bool(np.isfinite(rows[name].astype(float)).any())


def _line(
    axis: Any, rows: Columns, x: str, y: str, factor: float, colour: str, dash: str, name: str
) -> None:
    """Mean over seeds at each step with a band of one sd, and every seed as a thin line."""
    values = factor * rows[y].astype(float)
    kept = np.isfinite(values) & ((rows[x].astype(float) > 0) | (x != "K"))
    for run in dict.fromkeys(rows["run"][kept].tolist()):
        ours = kept & (rows["run"] == run)
        axis.plot(rows[x][ours], values[ours], color=colour, lw=0.5, alpha=0.4)
    steps, index = np.unique(rows["step"][kept], return_inverse=True)
    if not len(steps):
        return
    groups = [values[kept][index == i] for i in range(len(steps))]
    places = [float(np.mean(rows[x][kept][index == i])) for i in range(len(steps))]
    mean = np.array([group.mean() for group in groups])
    sd = np.array([group.std(ddof=1) if len(group) > 1 else 0.0 for group in groups])
    axis.plot(places, mean, dash, color=colour, label=name)
    low = np.maximum(mean - sd, mean / 10)
    axis.fill_between(places, low, mean + sd, color=colour, alpha=0.15, lw=0)


@house_style
def arm_errors(best: Mapping[str, Columns]) -> Any:
    """Test error of every arm's best cell: a dot a seed, mean ± one standard deviation."""
    made, (axis,) = figure(7.0, 0.9 + 0.36 * len(best))
    for i, (name, (colour, _)) in enumerate(palette(list(best)).items()):
        errors = 100 * best[name]["test_error"].astype(float)
        axis.plot(errors, np.full(errors.shape, i), "o", ms=5, alpha=0.5, color=colour)
        if errors.size > 1:
            axis.errorbar(errors.mean(), i, xerr=errors.std(ddof=1), color=INK, capsize=3, lw=1.4)
    axis.set_yticks(range(len(best)), list(best))
    axis.set(xlabel="test error %", title="Each arm at its own best cell: seeds, mean ± sd")
    axis.invert_yaxis()
    return made
