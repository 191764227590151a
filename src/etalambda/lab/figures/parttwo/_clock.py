"""What the decay clock is judged by: K at generalization within a condition, and between two.

The clock holds within a condition if the largest plan's K is at most `SPREAD` times the smallest;
two conditions share it if the ratio of their medians over all runs lies in `RATIO`. Intervals are
95 % percentiles of a bootstrap over seeds (the same for all plans); a maximum over a minimum is
biased upwards, so it can only make the clock look worse.

A run that does not arrive is not dropped: its K is above what it had spent. The lower end of an
interval takes it to arrive at once, the upper end never, so it cannot decide in favour of a claim;
the value printed is the lower bound.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from etalambda.lab.experiments.parts import Tables
from etalambda.lab.figures.parttwo._clock_runs import PLANS, TOGETHER, Condition, clock_job
from etalambda.lab.figures.style import INK, OKABE_ITO, figure, house_style
from etalambda.lab.reproduce import Bench, Criterion, Jobs, Recipe, within
from etalambda.lab.reproduce.cells import rows_where
from etalambda.lab.statistics import Interval

SPREAD = 1.35
RATIO = (0.75, 1.33)
BOOTSTRAPS = 1000

Conditions = Mapping[str, Condition]
"""Name -> condition, the base first."""


@dataclass(frozen=True, kw_only=True)
class Clocks(Recipe):
    """Seeds a plan, and the share of each condition's steps that is run."""

    seeds: int
    share: float = 1.0


def measure(conditions: Conditions, recipe: Clocks, bench: Bench) -> list[Jobs]:
    """One part a condition and group of plans."""
    seeds = range(recipe.seeds)
    return [
        {
            f"{name}.{group}".replace(" ", "-").replace("%-", ""): clock_job(
                name, condition, plans, seeds, max(4, round(recipe.share * condition.steps)),
                bench.device,
            )
            for name, condition in conditions.items()
            for group, plans in enumerate(TOGETHER)
        }
    ]  # fmt: skip


def criteria(conditions: Conditions) -> dict[str, Criterion]:
    """A spread a condition, and a ratio for all but the base."""
    spreads = {
        f"within {name}": within(f"largest K of a plan over the smallest, {name}", 1, SPREAD)
        for name in conditions
    }
    return spreads | {
        f"{name} and base": within(f"median K over the base's, {name}", *RATIO)
        for name in conditions
        if name != "base"
    }


def bounds(arrivals: Mapping[str, np.ndarray], name: str) -> tuple[np.ndarray, np.ndarray]:
    """K at arrival of a condition from below and above, (plans, seeds): equal for who arrived."""
    low, high = [], []
    for plan in PLANS:
        ours = rows_where(arrivals, condition=name, plan=plan)
        order = np.argsort(ours["seed"])
        low.append(ours["K"][order])
        high.append(np.where(ours["arrived"].astype(bool)[order], low[-1], np.inf))
    return np.stack(low), np.stack(high)


def spread(low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The largest plan's median K over the smallest's, from below and above.

    Args:
        low, high: Bounds of K, (..., plans, seeds).

    >>> spent = np.array([[1.0, 1.0], [2.0, 2.0]])
    >>> low, high = spread(spent, np.array([[1.0, 1.0], [2.0, np.inf]]))
    >>> float(low), float(high)
    (2.0, inf)
    """
    less, more = middle(low), middle(high)
    return np.maximum(1.0, less.max(-1) / more.min(-1)), more.max(-1) / less.min(-1)


def ratio(
    low: np.ndarray, high: np.ndarray, base_low: np.ndarray, base_high: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The median K over all runs over that of the base, from below and above."""
    every = (x.reshape(*x.shape[:-2], -1) for x in (low, high, base_low, base_high))
    less, more, base_less, base_more = map(middle, every)
    return less / base_more, more / base_less


def middle(values: np.ndarray) -> np.ndarray:
    """The median of the last axis, of an even number the upper one: no infinity is interpolated."""
    return np.sort(values, axis=-1)[..., values.shape[-1] // 2]


def resampled(of: Callable[..., tuple[np.ndarray, np.ndarray]], *parts: np.ndarray) -> Interval:
    """A pair of bounds made from (plans, seeds) parts, with the ends of a bootstrap over seeds."""
    seeds = parts[0].shape[1]
    chosen = np.random.RandomState(0).randint(seeds, size=(BOOTSTRAPS, seeds))
    lows, highs = of(*(part[:, chosen].swapaxes(0, 1) for part in parts))
    low = np.percentile(lows, 2.5, method="lower")
    high = np.percentile(highs, 97.5, method="higher")
    return Interval(float(of(*parts)[0]), float(low), float(high), seeds)


def estimate(conditions: Conditions, tables: Tables) -> Mapping[str, Interval]:
    """The spread in every condition, and the ratio of all but the base to the base."""
    every = {name: bounds(tables["arrivals"], name) for name in conditions}
    found = {f"within {name}": resampled(spread, *both) for name, both in every.items()}
    return found | {
        f"{name} and base": resampled(ratio, *both, *every["base"])
        for name, both in every.items()
        if name != "base"
    }


@house_style
def draw(conditions: Conditions, tables: Tables, height: float = 6.0) -> Any:
    """K of every run in its plan's colour, a row a condition; beside it the two criteria."""
    arrivals, found = tables["arrivals"], estimate(conditions, tables)
    ratios = dict(width_ratios=(2.2, 1, 1))
    fig, (runs, *margins) = figure(11.0, height, 3, sharey=True, gridspec_kw=ratios)
    labels = [_runs(runs, name, row, arrivals) for row, name in enumerate(conditions)]
    goals = sorted({f"{100 * c.there:.0f}" for c in conditions.values()}, reverse=True)
    goal = " or ".join(goals)
    runs.set_xlabel(f"K at {goal} % test accuracy (▷ spent without arriving)")
    shown = (
        ("largest K of a plan / smallest", "within {}", (0.9, 10), (1, SPREAD)),
        ("median K / base's", "{} and base", (0.2, 20), RATIO),
    )
    for axis, (text, key, ends, margin) in zip(margins, shown):
        axis.set(xlabel=text, xscale="log", xlim=ends)
        axis.axvspan(*margin, color="0.9", zorder=0)
        for row, name in enumerate(conditions):
            if key.format(name) in found:
                _interval(axis, found[key.format(name)], row)
    runs.set_xscale("log")
    for axis in (runs, *margins):
        low, high = axis.get_xlim()
        ticks = [t for t in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50) if low <= t <= high]
        axis.set_xticks(ticks, [f"{t:g}" for t in ticks])
        axis.minorticks_off()
    runs.set_yticks(range(len(conditions)), labels, fontsize=9)
    runs.invert_yaxis()
    fig.legend(loc="outside upper center", ncols=len(PLANS), fontsize=9)
    return fig


def _runs(axis: Any, name: str, row: int, arrivals: Mapping[str, np.ndarray]) -> str:
    """A condition's runs, each plan a little lower than the one before; the row's label."""
    low, high = bounds(arrivals, name)
    for i, (plan, color) in enumerate(zip(PLANS, OKABE_ITO)):
        there, place = np.isfinite(high[i]), row + (i - 2.5) * 0.13
        label = plan if row == 0 else None
        axis.plot(low[i], np.where(there, place, np.nan), "o", ms=3.5, color=color, label=label)
        axis.plot(low[i], np.where(there, np.nan, place), ">", ms=4, mfc="none", color=color)
    late = int(np.isinf(high).sum())
    return f"{name}\n{late} of {high.size} not there" if late else name


def _interval(axis: Any, found: Interval, row: int) -> None:
    """A bar from low to high within the axis; dotted if it has no upper end."""
    left, right = axis.get_xlim()
    start, end = max(found.low, left), min(found.high, right)
    axis.plot([start, end], [row, row], "-" if np.isfinite(found.high) else ":", color=INK)
    axis.plot(found.value, row, "o", ms=5, color=INK)
