"""Figure 20 of Xie et al. 2022: (lr, λ) maps of SGDS and SGD.

Departures from the paper: digits and small networks; the optimum is chosen on validation images of
other seeds than those that report.
"""

from __future__ import annotations

from functools import partial

from etalambda.lab.configs import log_grid
from etalambda.lab.figures.xie2022 import _pictures
from etalambda.lab.figures.xie2022._maps import (
    CNN,
    NOISE,
    Maps,
    better,
    decays_apart,
    judged,
    measure,
    wider,
)
from etalambda.lab.reproduce import Figure

ARMS = ("SGDS", "SGD")

FIGURE = Figure(
    "xie2022-fig20",
    shows="Figure 20",
    claim="SGDS has a slightly deeper basin than SGD, at close learning rates and weight decays.",
    recipes={
        "smoke": Maps(
            minutes=0.1, arms=ARMS, models=("cnn",), lrs=(0.02, 0.1), decays=(1e-4, 1e-2),
            epochs=1, choosing=1, seeds=3, departures=(NOISE, CNN, "one epoch, a 2 x 2 grid"),
        ),
        "cpu": Maps(
            minutes=7,
            arms=ARMS,
            models=("cnn",),
            lrs=(0.0125, 0.025, 0.05, 0.1),
            decays=log_grid(1e-5, 0.1, 9),
            epochs=30,
            choosing=12,
            seeds=24,
            departures=(NOISE, CNN, "30 epochs"),
        ),
    },
    measure=measure,
    draw=partial(_pictures.maps, model="cnn", arms=ARMS),
    **judged(
        better("cnn", "SGDS", "SGD")
        | wider("cnn", "SGDS", "SGD", ARMS)
        | decays_apart("cnn", "SGDS", "SGD", -0.5, 0.5)
    ),
)  # fmt: skip
