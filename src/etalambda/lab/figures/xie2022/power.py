"""The power p of equation (11), Xie et al. 2022: decay ηλ/v̄^p, p = 0 to 1.

The paper recommends 1/2; 0 is AdamW. Grids are centred alike: 1/√v̄ is taken as 1000.

Departures from the paper: digits and small networks; the optimum is chosen on validation images of
other seeds than those that report.
"""

from __future__ import annotations

from functools import partial

from etalambda.lab.configs import log_grid
from etalambda.lab.figures.xie2022 import _pictures
from etalambda.lab.figures.xie2022._maps import (
    MLP,
    NOISE,
    POWERS,
    Maps,
    better,
    judged,
    measure,
)
from etalambda.lab.reproduce import Figure

ARMS = tuple(POWERS)
BEST = "p = 0.5"

FIGURE = Figure(
    "xie2022-power",
    shows="Equation (11), the power p",
    claim="The power 1/2 of the mean second moment is the one to recommend.",
    recipes={
        "smoke": Maps(
            minutes=0.1, arms=ARMS, models=("mlp",), lrs=(3e-3,), decays=(1e-4, 1e-2), epochs=1,
            choosing=1, seeds=3, departures=(NOISE, MLP, "one epoch, two λ"),
        ),
        "cpu": Maps(
            minutes=1,
            arms=ARMS,
            models=("mlp",),
            lrs=(3e-3,),
            decays=log_grid(1e-4, 0.1, 7),
            epochs=30,
            choosing=16,
            seeds=24,
            departures=(NOISE, MLP, "30 epochs, lr 0.003"),
        ),
    },
    measure=measure,
    draw=partial(_pictures.sweeps, models=("mlp",), arms=ARMS),
    **judged(
        {
            name: claim
            for other in ARMS
            if other != BEST
            for name, claim in better("mlp", BEST, other).items()
        }
    ),
)  # fmt: skip
