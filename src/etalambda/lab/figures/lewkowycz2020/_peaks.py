"""What a sweep over lr and λ says: how t* falls with ηλ, how high the peak is, and both drawn.

The runs of one network at a time; the lr of fixed budgets is the one that λ = 0 was trained at.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from etalambda.lab.figures.style import OKABE_ITO, plain_log_ticks, shades
from etalambda.lab.reproduce import Criterion, above, within
from etalambda.lab.statistics import Interval, mean_interval, paired_difference, slope

CRITERIA: dict[str, Criterion] = {
    "slope": within("log-log slope of t* on ηλ", -1.2, -0.8),
    "collapse": within("equal ηλ, largest lr against smallest: log ratio of t*", -0.7, 0.7),
    "flat": above("peak accuracy, smallest λ minus ten times it", -0.01),
    "too small": above("fixed budget: accuracy at the tuned λ minus the smallest", 0.002),
    "too large": above("fixed budget: accuracy at the tuned λ minus the largest", 0.002),
}


def by_seed(runs: Mapping[str, np.ndarray], column: str, **equal: float) -> np.ndarray:
    """One number a seed, in order, of the runs with these values; NaN where there is none."""
    ours = np.ones(len(runs["seed"]), dtype=bool)
    for name, value in equal.items():
        ours &= np.isclose(runs[name], value, rtol=1e-6, atol=0)
    found = np.full(int(runs["seed"].max()) + 1, np.nan)
    found[runs["seed"][ours].astype(int)] = runs[column][ours]
    return found


def decays_at(runs: Mapping[str, np.ndarray], lr: float) -> np.ndarray:
    """The λ above 0 of an lr, increasing."""
    ours = np.isclose(runs["lr"], lr) & (runs["weight_decay"] > 0)
    return np.unique(runs["weight_decay"][ours])


def middle(runs: Mapping[str, np.ndarray]) -> float:
    """The lr of fixed budgets: the one that λ = 0 was trained at."""
    return float(runs["lr"][runs["weight_decay"] == 0][0])


def slope_of(runs: Mapping[str, np.ndarray], seed: int) -> float:
    """Slope of log t* on log ηλ over all runs of a seed that trained."""
    good = (runs["seed"] == seed) & (runs["weight_decay"] > 0) & (runs["t_star"] > 0)
    rate = runs["lr"][good] * runs["weight_decay"][good]
    return slope(np.log(rate), np.log(runs["t_star"][good])).value


def judged(runs: Mapping[str, np.ndarray]) -> dict[str, Interval]:
    """The five numbers of `CRITERIA`."""
    seeds = np.unique(runs["seed"])
    lr = middle(runs)
    decays = decays_at(runs, lr)
    tenth = decays[np.abs(np.log(decays / decays[0] / 10)).argmin()]
    smallest, tuned = (by_seed(runs, "within", lr=lr, weight_decay=decays[0]), _tuned(runs, lr))
    peaks = [by_seed(runs, "peak", lr=lr, weight_decay=d) for d in (decays[0], tenth)]
    largest = by_seed(runs, "within", lr=lr, weight_decay=decays[-1])
    return {
        "slope": mean_interval([slope_of(runs, seed) for seed in seeds]),
        "collapse": _collapse(runs),
        "flat": paired_difference(*peaks),
        "too small": paired_difference(tuned, smallest),
        "too large": paired_difference(tuned, largest),
    }


def _tuned(runs: Mapping[str, np.ndarray], lr: float) -> np.ndarray:
    """Accuracy within the fixed budget at the λ that is best on the mean of the other seeds."""
    decays = decays_at(runs, lr)
    table = np.stack([by_seed(runs, "within", lr=lr, weight_decay=d) for d in decays])
    others = (table.sum(1, keepdims=True) - table) / (table.shape[1] - 1)
    return table[others.argmax(0), np.arange(table.shape[1])]


def _collapse(runs: Mapping[str, np.ndarray]) -> Interval:
    """Mean over ηλ of log t*(largest lr) - log t*(smallest lr), by seed."""
    ends = float(runs["lr"].min()), float(runs["lr"].max())
    ratios = []
    for decay in decays_at(runs, ends[1]):
        there = [by_seed(runs, "t_star", lr=lr, weight_decay=decay * ends[1] / lr) for lr in ends]
        with np.errstate(divide="ignore", invalid="ignore"):
            ratios.append(np.log(there[1] / there[0]))
    table = np.where(np.isfinite(ratios), ratios, np.nan)
    counts = np.isfinite(table).sum(0)
    return mean_interval(np.where(counts, np.nansum(table, 0) / np.maximum(counts, 1), np.nan))


def draw_panels(axes: Sequence[Any], runs: Mapping[str, np.ndarray]) -> None:
    """Time to the peak, the peak, and the best within a fixed budget; means over seeds."""
    lrs = np.unique(runs["lr"])
    none = runs["weight_decay"] == 0
    for lr, colour in zip(lrs, shades(len(lrs))):
        decays = decays_at(runs, lr)
        times = [_typical(by_seed(runs, "t_star", lr=lr, weight_decay=d)) for d in decays]
        axes[0].plot(lr * decays, times, "o-", ms=4, color=colour, label=f"lr {lr:.3g}")
        peaks = [by_seed(runs, "peak", lr=lr, weight_decay=d).mean() for d in decays]
        axes[1].plot(lr * decays, 100 * np.array(peaks), "o-", ms=4, color=colour)
    good = (runs["t_star"] > 0) & ~none
    if good.any():
        rates = (runs["lr"] * runs["weight_decay"])[good]
        c = np.exp(np.mean(np.log(runs["t_star"][good] * rates)))
        line = np.array([rates.min(), rates.max()])
        axes[0].plot(line, c / line, ":", color="0.4", label=f"{c:.2g} / ηλ")
    axes[1].axhline(100 * runs["peak"][none].mean(), ls=":", color="0.4", label="λ = 0")
    lr = middle(runs)
    decays = decays_at(runs, lr)
    table = np.stack([by_seed(runs, "within", lr=lr, weight_decay=d) for d in decays])
    axes[2].errorbar(
        decays, 100 * table.mean(1), 100 * table.std(1, ddof=1), fmt="o-", ms=4,
        color=OKABE_ITO[1], capsize=2,
    )  # fmt: skip
    axes[2].axhline(100 * runs["within"][none].mean(), ls=":", color="0.4", label="λ = 0")
    axes[0].set(xscale="log", xlabel="lr · λ", title="steps to the peak, t*")
    axes[0].set_yscale("log" if good.any() else "linear")
    if good.any():
        plain_log_ticks(axes[0].yaxis, (1, 3))
    axes[1].set(xscale="log", xlabel="lr · λ", title="best test accuracy %")
    axes[2].set(xscale="log", xlabel="weight_decay λ")
    axes[2].set_title(f"best of a fixed budget, lr {lr:.3g}, %")
    for axis in axes:
        plain_log_ticks(axis.xaxis)
    axes[0].legend(fontsize=8)
    axes[2].legend(fontsize=8)


def _typical(values: np.ndarray) -> float:
    """The geometric mean of those above 0."""
    there = values[values > 0]
    return float(np.exp(np.log(there).mean())) if there.size else float("nan")
