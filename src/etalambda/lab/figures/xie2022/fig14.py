"""Figure 14 of Xie et al. 2022: test error against λ for AdamS, AdamW and Adam, with BatchNorm.

Departures from the paper: digits and small networks; the optimum is chosen on validation images of
other seeds than those that report.
"""

from __future__ import annotations

from functools import partial

from etalambda.lab.configs import log_grid
from etalambda.lab.figures.xie2022 import _pictures
from etalambda.lab.figures.xie2022._maps import CNN, NOISE, Maps, judged, measure
from etalambda.lab.figures.xie2022.fig7 import ARMS, claims
from etalambda.lab.reproduce import Figure

RECIPES = {
    "smoke": Maps(
        minutes=0.1, arms=ARMS, models=("cnn",), lrs=(3e-3,), decays=(1e-4, 1e-2), epochs=1,
        choosing=1, seeds=3, departures=(NOISE, CNN, "one epoch, two λ"),
    ),
    "cpu": Maps(
        minutes=4,
        arms=ARMS,
        models=("cnn",),
        lrs=(3e-3,),
        decays=log_grid(1e-5, 0.1, 9),
        epochs=30,
        choosing=16,
        seeds=24,
        departures=(NOISE, CNN, "30 epochs, lr 0.003"),
    ),
}  # fmt: skip

FIGURE = Figure(
    "xie2022-fig14",
    shows="Figure 14",
    claim="The optimal test performance of AdamS is significantly better than that of AdamW and "
    "Adam.",
    recipes=RECIPES,
    measure=measure,
    draw=partial(_pictures.sweeps, models=("cnn",), arms=ARMS),
    **judged(claims("cnn")),
)
