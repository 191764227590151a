"""Figure 21 of Xie et al. 2022: λ sweeps of vanilla SGD, SGD, SGDW and SGDS, with BatchNorm.

Departures from the paper: digits and small networks; the optimum is chosen on validation images of
other seeds than those that report.
"""

from __future__ import annotations

from functools import partial

from etalambda.lab.configs import log_grid
from etalambda.lab.figures.xie2022 import _pictures
from etalambda.lab.figures.xie2022._maps import CNN, NOISE, Maps, judged, measure
from etalambda.lab.figures.xie2022.fig19 import ARMS, claims
from etalambda.lab.reproduce import Figure

RECIPES = {
    "smoke": Maps(
        minutes=0.1, arms=ARMS, models=("cnn",), lrs=(0.05,), decays=(1e-4, 1e-2), epochs=1,
        choosing=1, seeds=3, departures=(NOISE, CNN, "one epoch, two λ"),
    ),
    "cpu": Maps(
        minutes=5,
        arms=ARMS,
        models=("cnn",),
        lrs=(0.05,),
        decays=log_grid(1e-5, 0.1, 9),
        epochs=30,
        choosing=16,
        seeds=24,
        departures=(NOISE, CNN, "30 epochs, lr 0.05, and 0.5 for vanilla SGD"),
    ),
}  # fmt: skip

FIGURE = Figure(
    "xie2022-fig21",
    shows="Figure 21",
    claim="With BatchNorm too, SGDS and SGDW at their optima are better than SGD and vanilla SGD.",
    recipes=RECIPES,
    measure=measure,
    draw=partial(_pictures.sweeps, models=("cnn",), arms=ARMS),
    **judged(claims("cnn")),
)
