"""Figure S6 of Lewkowycz & Gur-Ari 2020: the course of loss and accuracy at a few λ.

The runs are those of Figure 2a-c. After its minimum the training loss without the L2 term rises, at
a time that is proportional to 1/(ηλ) as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from etalambda.lab.experiments.parts import Tables
from etalambda.lab.figures.lewkowycz2020._sweep import TRAINED, measure
from etalambda.lab.figures.lewkowycz2020.fig2 import RECIPES
from etalambda.lab.figures.style import figure, house_style, shades
from etalambda.lab.reproduce import Figure, above, within
from etalambda.lab.reproduce.pairs import rows
from etalambda.lab.statistics import Interval, mean_interval, slope


def estimate(tables: Tables) -> Mapping[str, Interval]:
    """When the loss is lowest, against ηλ, and how far it rises from there."""
    runs = tables["runs"]
    good = (runs["weight_decay"] > 0) & (runs["peak"] >= TRAINED) & (runs["turned"] > 0)
    slopes, rises = [], []
    for seed in np.unique(runs["seed"]):
        ours = good & (runs["seed"] == seed)
        rate = runs["lr"][ours] * runs["weight_decay"][ours]
        slopes.append(slope(np.log(rate), np.log(runs["turned"][ours])).value)
        found = np.log(runs["loss"][ours] / runs["lowest"][ours])
        rises.append(np.median(found) if found.size else np.nan)
    return {"slope": mean_interval(slopes), "rises": mean_interval(rises)}


@house_style
def draw(tables: Tables) -> Any:
    """Training loss, training and test accuracy against steps, means over seeds."""
    made, axes = figure(13.0, 3.9, columns=3)
    curves = tables["curves"]
    decays = np.unique(curves["weight_decay"])
    for decay, colour in zip(decays, shades(len(decays))):
        ours = rows(curves, weight_decay=decay)
        for axis, column, percent in zip(axes, ("loss", "train", "test"), (1, 100, 100)):
            axis.plot(ours["step"], percent * ours[column], color=colour, label=f"λ {decay:.2g}")
    titles = ("training loss without L2", "training accuracy %", "test accuracy %")
    for axis, title in zip(axes, titles):
        axis.set(xscale="symlog", xlabel="step", title=title)
    axes[0].set_yscale("log")
    axes[0].legend(fontsize=8)
    return made


FIGURE = Figure(
    name="lewkowycz2020-figs6",
    shows="Figure S6",
    claim="Under L2 the training loss has a minimum at a time proportional to 1/(ηλ) and rises "
    "after it.",
    criteria={
        "slope": within("log-log slope of the lowest loss's step on ηλ", -1.2, -0.8),
        "rises": above("log of the last loss over the lowest, median of runs", 0.1),
    },
    recipes=RECIPES,
    measure=measure,
    estimate=estimate,
    draw=draw,
    measured_by="lewkowycz2020-fig2",
)
