"""Figure 2a-c of Lewkowycz & Gur-Ari 2020: a fully connected network, swept over lr and λ.

(a) steps to the peak against ηλ; (b) the peak; (c) the best within a fixed number of steps.

Departures from the paper: at cpu scale digits and width 64 in batches of 50, not 512 MNIST pictures
and width 2048 in one batch; the gpu scale has the paper's network and pictures, three lrs of
seventeen and ηλ from 3e-4 to 0.3.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from etalambda.lab.configs import log_grid
from etalambda.lab.experiments.parts import Tables
from etalambda.lab.figures.lewkowycz2020._peaks import CRITERIA, draw_panels, judged
from etalambda.lab.figures.lewkowycz2020._sweep import Sweep, measure
from etalambda.lab.figures.style import figure, house_style
from etalambda.lab.reproduce import Figure, rates
from etalambda.lab.statistics import Interval


def estimate(tables: Tables) -> Mapping[str, Interval]:
    """Slope, collapse, plateau, and both sides of the optimum of a fixed budget."""
    return judged(tables["runs"])


@house_style
def draw(tables: Tables) -> Any:
    """The paper's three panels."""
    made, axes = figure(13.0, 3.9, columns=3)
    draw_panels(axes, tables["runs"])
    return made


RECIPES = {
    "smoke": Sweep(
        minutes=0.05,
        seeds=3,
        lrs=(0.1, 0.3162),
        weight_decays=log_grid(0.03162, 1.0, 4),
        rate=0.01,
        spend=2.0,
        fixed=60,
        width=16,
        points=25,
        departures=("digits, width 16, ηλ from 0.01 to 0.3, in place of 512 MNIST pictures",),
    ),
    "cpu": Sweep(
        minutes=5.0,
        seeds=5,
        lrs=(0.03162, 0.1, 0.3162),
        weight_decays=log_grid(0.000316, 1.0, 8),
        rate=1e-4,
        spend=2.0,
        fixed=500,
        departures=(
            "600 digits, width 64, batches of 50, in place of 512 MNIST pictures, width 2048, "
            "one batch; ηλ from 1e-4 to 0.3",
        ),
    ),
    "gpu": Sweep(
        minutes=3.0,
        seeds=3,
        lrs=(0.0474, 0.15, 0.474),
        weight_decays=log_grid(0.000667, 0.667, 7),
        rate=3.1e-4,
        spend=2.0,
        fixed=1000,
        width=2048,
        batch_size=512,
        data="mnist",
        looks=10_000,
        departures=("three lrs of seventeen; ηλ from 3e-4 to 0.3; three seeds",),
        reckoned="101 000 network steps of 31 GFLOP, and as much again for 17 000 looks at 10 000 "
        f"pictures, at {rates.FLOAT32}",
    ),
}

FIGURE = Figure(
    name="lewkowycz2020-fig2",
    shows="Figure 2a-c",
    claim="The steps to the best test accuracy are proportional to 1/(ηλ), and the best does not "
    "fall with λ, while a fixed number of steps has an optimal λ.",
    criteria=CRITERIA,
    recipes=RECIPES,
    measure=measure,
    estimate=estimate,
    draw=draw,
)
