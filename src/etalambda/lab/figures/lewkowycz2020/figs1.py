"""Figure S1 of Lewkowycz & Gur-Ari 2020: steps until training accuracy 1 depend on lr, hardly on λ.

The runs are those of Figure 2a-c.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from etalambda.lab.experiments.parts import Tables
from etalambda.lab.figures.lewkowycz2020._peaks import by_seed, decays_at, middle
from etalambda.lab.figures.lewkowycz2020._sweep import measure
from etalambda.lab.figures.lewkowycz2020.fig2 import RECIPES
from etalambda.lab.figures.style import figure, house_style, plain_log_ticks, shades
from etalambda.lab.reproduce import Figure, within
from etalambda.lab.statistics import Interval, mean_interval, slope


def estimate(tables: Tables) -> Mapping[str, Interval]:
    """Slopes of log steps: on lr at the smallest λ of each, and on λ at the middle lr."""
    runs = tables["runs"]
    lrs = np.unique(runs["lr"])
    smallest = np.array([_fitted(runs, lr, decays_at(runs, lr)[0]) for lr in lrs])
    lr = middle(runs)
    decays = decays_at(runs, lr)
    against = np.array([_fitted(runs, lr, decay) for decay in decays])
    return {
        "lr": mean_interval([slope(np.log(lrs), steps).value for steps in smallest.T]),
        "λ": mean_interval([slope(np.log(decays), steps).value for steps in against.T]),
    }


def _fitted(runs: Mapping[str, np.ndarray], lr: float, decay: float) -> np.ndarray:
    """Log of the first step with training accuracy 1, by seed; NaN where it never was."""
    return np.log(by_seed(runs, "fitted", lr=lr, weight_decay=decay))


@house_style
def draw(tables: Tables) -> Any:
    """Steps against lr by λ, and against λ by lr; geometric means of the seeds that fitted."""
    made, axes = figure(9.5, 3.9, columns=2)
    runs = tables["runs"]
    lrs, decays = np.unique(runs["lr"]), np.unique(runs["weight_decay"])
    for decay, colour in zip(decays[decays > 0], shades(len(decays))):
        steps = [_mean(_fitted(runs, lr, decay)) for lr in lrs]
        if np.isfinite(steps).any():
            axes[0].plot(lrs, steps, "o-", ms=4, color=colour, label=f"λ {decay:.2g}")
    for lr, colour in zip(lrs, shades(len(lrs))):
        ours = decays_at(runs, lr)
        steps = [_mean(_fitted(runs, lr, decay)) for decay in ours]
        axes[1].plot(ours, steps, "o-", ms=4, color=colour, label=f"lr {lr:.2g}")
    there = bool(np.isfinite(runs["fitted"]).any())
    for axis, name in zip(axes, ("lr", "weight_decay λ")):
        axis.set(xscale="log", yscale="log" if there else "linear", xlabel=name)
        axis.set_title("steps to training accuracy 1")
        plain_log_ticks(axis.xaxis, (1, 3))
        if there:
            plain_log_ticks(axis.yaxis, (1, 2, 5))
            axis.legend(fontsize=8)
    return made


def _mean(logs: np.ndarray) -> float:
    """The geometric mean, NaN if no seed fitted."""
    there = logs[np.isfinite(logs)]
    return float(np.exp(there.mean())) if there.size else float("nan")


FIGURE = Figure(
    name="lewkowycz2020-figs1",
    shows="Figure S1",
    claim="The steps to training accuracy 1 fall as 1/η and depend little on λ.",
    criteria={
        "lr": within("log-log slope of the steps on lr, smallest λ", -1.2, -0.8),
        "λ": within("log-log slope of the steps on λ, middle lr, where it fits", -0.3, 0.3),
    },
    recipes=RECIPES,
    measure=measure,
    estimate=estimate,
    draw=draw,
    measured_by="lewkowycz2020-fig2",
)
