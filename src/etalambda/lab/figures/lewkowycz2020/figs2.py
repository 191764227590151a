"""Figure S2 of Lewkowycz & Gur-Ari 2020: with momentum too, t* goes as 1/λ at a fixed lr.

The runs are those of Figure 4. λ below 1/T, T epochs being the length of a run, are drawn but not
judged: their runs end before 2/(ηλ) steps, where the paper's go on until they have converged.

Departures from the paper: as in `etalambda.lab.figures.lewkowycz2020.fig4`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from etalambda.lab.experiments.parts import Tables
from etalambda.lab.figures.lewkowycz2020._budgets import measure, runs_of
from etalambda.lab.figures.lewkowycz2020.fig4 import RECIPES
from etalambda.lab.figures.style import OKABE_ITO, figure, house_style, plain_log_ticks
from etalambda.lab.reproduce import Figure, above, within
from etalambda.lab.statistics import Interval, mean_interval, paired_difference, slope


def peaks(tables: Tables) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """λ above 0, and of each and every seed t* in epochs and the best accuracy, (λ, seeds)."""
    runs = runs_of(tables["curves"])
    decays = sorted({decay for decay, _ in runs if decay > 0})
    seeds = sorted({seed for _, seed in runs})
    table = [[runs[decay, seed] for seed in seeds] for decay in decays]
    times = np.array([[run["t_star"][0] for run in row] for row in table])
    best = np.array([[run["best"].max() for run in row] for row in table])
    return np.array(decays), times, best


def converged(tables: Tables, decays: np.ndarray) -> np.ndarray:
    """Which λ are at least 1/T; half a percent below it counts, grids being rounded."""
    return decays * tables["curves"]["epoch"].max() >= 0.995


def estimate(tables: Tables) -> Mapping[str, Interval]:
    """Slope of log t* on log λ, and the best accuracy at the smallest λ against ten times it."""
    decays, times, best = peaks(tables)
    ours = converged(tables, decays)
    logs, smallest = np.log(decays[ours]), int(ours.argmax())
    tenfold = int(np.abs(np.log(decays / decays[smallest] / 10)).argmin())
    with np.errstate(divide="ignore"):
        slopes = [slope(logs, np.log(one)).value for one in times[ours].T]
    return {
        "slope": mean_interval(slopes),
        "flat": paired_difference(best[smallest], best[tenfold]),
    }


@house_style
def draw(tables: Tables) -> Any:
    """Epochs to the peak and the best accuracy against λ, every seed, and their means."""
    made, axes = figure(9.5, 3.9, columns=2)
    decays, times, best = peaks(tables)
    ours = converged(tables, decays)
    for axis, table in zip(axes, (times, 100 * best)):
        axis.plot(decays, table, ".", ms=4, color="0.6")
    positive = np.where(times > 0, times, np.nan)
    typical = np.exp(np.nanmean(np.log(positive), 1))
    axes[0].plot(decays, typical, "o-", ms=5, color=OKABE_ITO[0])
    axes[1].plot(decays, 100 * best.mean(1), "o-", ms=5, color=OKABE_ITO[0], label="mean of seeds")
    c = np.exp(np.nanmean(np.log(typical[ours] * decays[ours])))
    axes[0].plot(decays[ours], c / decays[ours], ":", color="0.3", label=f"{c:.2g} / λ")
    end = float(tables["curves"]["epoch"].max())
    axes[0].axhline(end, ls="--", lw=0.8, color="0.5", label="end of the runs")
    axes[0].set(xscale="log", yscale="log", xlabel="weight_decay λ", title="epochs to the peak, t*")
    axes[0].set_ylim(top=8 * end)  # room for the legend
    axes[1].set(xscale="log", xlabel="weight_decay λ", title="best test accuracy %")
    for axis in axes:
        axis.axvspan(decays[0], decays[int(ours.argmax())] * 0.87, color="0.93", lw=0, zorder=0)
        plain_log_ticks(axis.xaxis)
        axis.legend(fontsize=8)
    return made


FIGURE = Figure(
    name="lewkowycz2020-figs2",
    shows="Figure S2",
    claim="With momentum and a fixed lr too, the epochs to the best test accuracy are proportional "
    "to 1/λ, and the best does not fall with λ.",
    criteria={
        "slope": within("log-log slope of t* on λ", -1.2, -0.8),
        "flat": above("peak accuracy, smallest λ minus ten times it", -0.01),
    },
    recipes=RECIPES,
    measure=measure,
    estimate=estimate,
    draw=draw,
    measured_by="lewkowycz2020-fig4",
)
