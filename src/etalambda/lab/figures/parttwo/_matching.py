"""What E5 says: the rise of the gradient norm and the held-out loss by arm, and the picture."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from etalambda.lab.experiments.parts import Tables
from etalambda.lab.figures.parttwo._scope import ARMS, NO_DECAY, best_budget
from etalambda.lab.figures.style import INK, figure, house_style, palette, plain_log_ticks
from etalambda.lab.reproduce import Criterion, above, below
from etalambda.lab.reproduce.cells import by_seed, rows_where
from etalambda.lab.statistics import Interval, mean_interval, paired_difference

RISES = {"invariant": "where it matches", "none": "where it does not", "gains": "by mistake"}
"""Arm -> what its rise is called."""


def criteria(shapes: Iterable[str]) -> dict[str, Criterion]:
    """At most 1.1 where decay matches, at least 1.5 where it does not, and less, paired by seed;
    and a better loss."""
    found: dict[str, Criterion] = {}
    for shape in shapes:
        for arm, name in RISES.items():
            says = f"gradient norm at the end / mid-training, matched: {arm}; {shape}"
            bound = below(says, 1.1) if arm == "invariant" else above(says, 1.5)
            found[f"rise {name}, {shape}"] = bound
        says = f"the same, matched on invariant minus on none; {shape}"
        found[f"rise lower, {shape}"] = below(says, 0.0)
        says = f"loss, matched on invariant minus on none, each at its best K; {shape}"
        found[f"loss, {shape}"] = below(says, 0.0)
    return found


def rises(cells: Mapping[str, np.ndarray], shape: str, arm: str) -> np.ndarray:
    """The rise of the gradient norm at the common K, by seed."""
    at = {} if arm == NO_DECAY else dict(common=True)
    rows = rows_where(cells, shape=shape, arm=arm, **at)
    return by_seed(rows, "rise")


def lost(tables: Tables, shape: str, arm: str, column: str = "test") -> np.ndarray:
    """Held-out loss of an arm at its best K, by seed."""
    K = 0.0 if arm == NO_DECAY else best_budget(tables["grid"], shape, arm)
    rows = rows_where(tables["cells"], shape=shape, arm=arm, budget=K)
    return by_seed(rows, column)


def estimate(tables: Tables) -> Mapping[str, Interval]:
    """Every criterion's interval."""
    cells, found = tables["cells"], {}
    for shape in dict.fromkeys(cells["shape"]):
        for arm, name in RISES.items():
            found[f"rise {name}, {shape}"] = mean_interval(rises(cells, shape, arm))
        pair = [rises(cells, shape, arm) for arm in ("invariant", "none")]
        found[f"rise lower, {shape}"] = paired_difference(*pair)
        pair = [lost(tables, shape, arm) for arm in ("invariant", "none")]
        found[f"loss, {shape}"] = paired_difference(*pair)
    return found


def compact(tables: Tables) -> Tables:
    """The curves as means over seeds, at the common K and without decay."""
    curves = tables["curves"]
    kept = rows_where(curves, common=True), rows_where(curves, arm=NO_DECAY)
    rows = {name: np.concatenate([part[name] for part in kept]) for name in curves}
    keys = list(zip(rows["shape"], rows["arm"], rows["step"]))
    order = {key: i for i, key in enumerate(dict.fromkeys(keys))}
    place = np.array([order[key] for key in keys])
    means = np.bincount(place, rows["gradient_norm"]) / np.bincount(place)
    first = np.unique(place, return_index=True)[1]
    names = ("shape", "arm", "common", "step")
    return tables | {"curves": {n: rows[n][first] for n in names} | {"gradient_norm": means}}


@house_style
def draw(tables: Tables) -> Any:
    """Gradient norms along the run; below them the rise, K, and the loss of every arm."""
    cells, colors = tables["cells"], palette([*ARMS, NO_DECAY])
    shapes = list(dict.fromkeys(cells["shape"]))
    curves = compact(tables)["curves"] if "seed" in tables["curves"] else tables["curves"]
    if len(shapes) == 1:
        fig, axes = figure(16.0, 4.6, 4)
    else:
        fig, axes = figure(14.0, 8.4, len(shapes), 2)
    for axis, shape in zip(axes, shapes):
        for arm, (color, _) in colors.items():
            rows = rows_where(curves, shape=shape, arm=arm)
            axis.plot(rows["step"], rows["gradient_norm"], color=color, label=arm, lw=1.1)
        axis.set(xlabel="step", title=f"lr: {shape}")
    axes[0].set_ylabel("gradient norm, invariant matrices")
    axes[0].legend(title="decay follows the lr on")
    rising, grid, loss = axes[len(shapes) : len(shapes) + 3]
    for place, shape in enumerate(shapes):
        found = {arm: mean_interval(rises(cells, shape, arm)) for arm in colors}
        _bars(rising, place, found, colors)
        none = lost(tables, shape, "none")
        others = [arm for arm in colors if arm != "none"]
        gaps = {arm: paired_difference(lost(tables, shape, arm), none) for arm in others}
        _bars(loss, place, gaps, colors)
    for axis in (rising, loss):
        axis.set_xticks(range(len(shapes)), shapes)
    n = len(np.unique(cells["seed"]))
    for level in (1.1, 1.5):
        rising.axhline(level, color=INK, lw=0.8, ls=":")
    rising.set_title(f"norm at the end / mid-training, n = {n}")
    loss.axhline(0, color=INK, lw=0.8)
    loss.set_title(f"loss minus that of “none”, n = {n}")
    _budgets(grid, tables["grid"], shapes[0], colors)
    return fig


def _bars(
    axis: Any,
    place: float,
    found: Mapping[str, Interval],
    colors: Mapping[str, tuple[str, str]],
) -> None:
    """Points with their intervals, side by side."""
    for index, (arm, each) in enumerate(found.items()):
        x = place + 0.13 * (index - (len(found) - 1) / 2)
        look: dict[str, Any] = dict(fmt="o", ms=4, capsize=2, color=colors[arm][0])
        axis.errorbar([x], [each.value], each.whiskers, **look)


def _budgets(
    axis: Any,
    grid: Mapping[str, np.ndarray],
    shape: str,
    colors: Mapping[str, tuple[str, str]],
) -> None:
    """Held-out loss against K, on the seeds that choose."""
    for arm in ARMS:
        rows = rows_where(grid, shape=shape, arm=arm)
        budgets = np.unique(rows["budget"])
        means = [rows_where(rows, budget=K)["val"].mean() for K in budgets]
        axis.plot(budgets, means, "o-", ms=4, color=colors[arm][0])
    axis.set(xscale="log", yscale="log", title=f"loss that chooses K, lr: {shape}")
    axis.set_xlabel("K of every decayed class")
    plain_log_ticks(axis.yaxis, (1, 2, 4, 5, 6, 8))
    axis.set_xticks(budgets, [f"{K:g}" for K in budgets])
    axis.minorticks_off()
