"""Figure S5 of Lewkowycz & Gur-Ari 2020: squared error, where lr matters early and not at the peak.

Stopped at training accuracy 1, the test accuracy depends on the lr; trained on for 1/(ηλ) steps it
does not. Departures from the paper: those of Figure 2a-c.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from etalambda.lab.configs import log_grid
from etalambda.lab.experiments.parts import Tables
from etalambda.lab.figures.lewkowycz2020 import fig2
from etalambda.lab.figures.lewkowycz2020._peaks import by_seed, decays_at
from etalambda.lab.figures.lewkowycz2020._sweep import measure
from etalambda.lab.figures.style import OKABE_ITO, figure, house_style, plain_log_ticks, shades
from etalambda.lab.reproduce import Figure, above, within
from etalambda.lab.reproduce.pairs import rows
from etalambda.lab.statistics import Interval, mean_interval


def estimate(tables: Tables) -> Mapping[str, Interval]:
    """Largest minus smallest lr, peak and at training accuracy 1; and how far the loss turns."""
    runs = tables["runs"]
    lrs = np.unique(runs["lr"])
    small = {lr: float(decays_at(runs, lr)[0]) for lr in (lrs[0], lrs[-1])}
    ends = {
        column: [by_seed(runs, column, lr=lr, weight_decay=d) for lr, d in small.items()]
        for column in ("peak", "at_fit")
    }
    turned = (runs["weight_decay"] > 0) & (runs["peak"] >= 0.5)
    rise = np.log(runs["loss"] / runs["lowest"])
    by = [rise[turned & (runs["seed"] == seed)] for seed in np.unique(runs["seed"])]
    each = [np.median(one) if one.size else np.nan for one in by]
    return {
        "peak": mean_interval(ends["peak"][1] - ends["peak"][0]),
        "early": mean_interval(np.abs(ends["at_fit"][1] - ends["at_fit"][0])),
        "turns": mean_interval(each),
    }


@house_style
def draw(tables: Tables) -> Any:
    """Accuracy at the peak and at training accuracy 1 against lr; the loss against steps."""
    made, axes = figure(9.5, 3.9, columns=2)
    runs, curves = tables["runs"], tables["curves"]
    lrs = np.unique(runs["lr"])
    for (column, name), colour in zip(NAMES.items(), OKABE_ITO):
        found = [by_seed(runs, column, lr=lr, weight_decay=decays_at(runs, lr)[0]) for lr in lrs]
        means = [100 * one[np.isfinite(one)].mean() if np.isfinite(one).any() else np.nan
                 for one in found]  # fmt: skip
        axes[0].plot(lrs, means, "o-", color=colour, label=name)
    decays = np.unique(curves["weight_decay"])
    for decay, colour in zip(decays, shades(len(decays))):
        ours = rows(curves, weight_decay=decay)
        axes[1].plot(ours["step"], ours["loss"], color=colour, label=f"λ {decay:.2g}")
    axes[0].set(xscale="log", xlabel="lr", title="test accuracy %, smallest λ")
    plain_log_ticks(axes[0].xaxis, (1, 3))
    axes[1].set(xscale="symlog", yscale="log", xlabel="step", title="training loss, middle lr")
    for axis in axes:
        axis.legend(fontsize=8)
    return made


NAMES = {"peak": "at the peak", "at_fit": "at training accuracy 1"}

FIGURE = Figure(
    name="lewkowycz2020-figs5",
    shows="Figure S5",
    claim="With squared error the lr matters when training stops at accuracy 1, and no longer "
    "under L2 at the peak; the training loss has a minimum and rises after it.",
    criteria={
        "peak": within("peak accuracy, largest minus smallest lr", -0.01, 0.01),
        "early": above("at training accuracy 1: size of the same difference", 0.01),
        "turns": above("log of the last loss over the lowest, median of λ", 0.1),
    },
    recipes={
        "smoke": replace(
            fig2.RECIPES["smoke"],
            loss="mse",
            spend=1.0,
            lrs=(0.01, 0.03162),
            weight_decays=log_grid(0.3162, 3.162, 3),
            departures=("digits, width 16, ηλ from 0.01 to 0.1, in place of 512 MNIST pictures",),
        ),
        "cpu": replace(
            fig2.RECIPES["cpu"],
            loss="mse",
            spend=1.0,
            lrs=(0.00316, 0.01, 0.03162),
            departures=("600 digits, width 64, batches of 50; lr 0.003 to 0.03, larger diverge",),
        ),
    },
    measure=measure,
    estimate=estimate,
    draw=draw,
)
