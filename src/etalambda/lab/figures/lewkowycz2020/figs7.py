"""Figure S7 of Lewkowycz & Gur-Ari 2020: a narrow network, where the laws do not hold.

A network that cannot fit its training set has a best λ above 0, and below that λ the steps to the
peak no longer grow as 1/λ.

Departures from the paper: digits with a fifth of the labels wrong and a width of 8, not CIFAR-10
and a width of 64.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from etalambda.lab.configs import log_grid
from etalambda.lab.experiments.parts import Tables
from etalambda.lab.figures.lewkowycz2020._peaks import by_seed, decays_at, draw_panels, middle
from etalambda.lab.figures.lewkowycz2020._sweep import Sweep, measure
from etalambda.lab.figures.style import figure, house_style
from etalambda.lab.reproduce import Figure, above, within
from etalambda.lab.statistics import Interval, mean_interval, paired_difference, slope


def estimate(tables: Tables) -> Mapping[str, Interval]:
    """The peak at the best λ over that without decay, and the slope of t* below the best λ."""
    runs = tables["runs"]
    lr = middle(runs)
    decays = decays_at(runs, lr)
    table = np.stack([by_seed(runs, "peak", lr=lr, weight_decay=decay) for decay in decays])
    chosen = (table.sum(1, keepdims=True) - table).argmax(0)  # on the other seeds
    none = by_seed(runs, "peak", lr=lr, weight_decay=0.0)
    below = decays <= decays[int(table.mean(1).argmax())]
    times = [by_seed(runs, "t_star", lr=lr, weight_decay=decay) for decay in decays[below]]
    with np.errstate(divide="ignore"):
        logs = np.log(np.array(times))
    return {
        "best": paired_difference(table[chosen, np.arange(table.shape[1])], none),
        "flat": mean_interval([slope(np.log(decays[below]), one).value for one in logs.T]),
    }


@house_style
def draw(tables: Tables) -> Any:
    """The panels of Figure 2."""
    made, axes = figure(13.0, 3.9, columns=3)
    draw_panels(axes, tables["runs"])
    return made


FIGURE = Figure(
    name="lewkowycz2020-figs7",
    shows="Figure S7",
    claim="A network that is not overparameterized is best at a λ above 0, and below it the steps "
    "to the peak stop growing.",
    criteria={
        "best": above("peak accuracy at the tuned λ minus no decay", 0.002),
        "flat": within("log-log slope of t* on λ, up to the best λ", -0.3, 0.3),
    },
    recipes={
        "smoke": Sweep(
            minutes=0.05,
            seeds=3,
            lrs=(0.1,),
            weight_decays=log_grid(0.01, 0.1, 3),
            rate=0.001,
            spend=0.2,
            fixed=60,
            width=8,
            label_noise=0.2,
            points=25,
            departures=("digits with wrong labels, width 8, 200 steps at most",),
        ),
        "cpu": Sweep(
            minutes=2.0,
            seeds=5,
            lrs=(0.1,),
            weight_decays=log_grid(0.001, 0.1, 7),
            rate=1e-4,
            spend=2.0,
            fixed=500,
            width=8,
            label_noise=0.2,
            departures=(
                "600 digits with a fifth of the labels wrong, width 8, batches of 50, in place of "
                "CIFAR-10, width 64, batches of 512",
            ),
        ),
    },
    measure=measure,
    estimate=estimate,
    draw=draw,
)
