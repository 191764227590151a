"""Figure 19 of Xie et al. 2022: λ sweeps of vanilla SGD, SGD, SGDW and SGDS without BatchNorm.

λ is in each optimizer's own numbers but for SGDW's, shown times 0.1 as the paper predicts it.

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
    Judged,
    Maps,
    better,
    decays_apart,
    judged,
    measure,
)
from etalambda.lab.reproduce import Figure

ARMS = ("SGDS", "SGDW", "SGD", "vanilla SGD")
RECIPES = {
    "smoke": Maps(
        minutes=0.1, arms=ARMS, models=("mlp",), lrs=(0.05,), decays=(1e-4, 1e-2), epochs=1,
        choosing=1, seeds=3, departures=(NOISE, MLP, "one epoch, two λ"),
    ),
    "cpu": Maps(
        minutes=1,
        arms=ARMS,
        models=("mlp",),
        lrs=(0.05,),
        decays=log_grid(1e-5, 0.1, 9),
        epochs=30,
        choosing=16,
        seeds=24,
        departures=(NOISE, MLP, "30 epochs, lr 0.05, and 0.5 for vanilla SGD"),
    ),
}  # fmt: skip


def claims(model: str) -> Judged:
    """What the paper says of these sweeps, for one model."""
    return {
        **better(model, "SGDS", "vanilla SGD"),
        **better(model, "SGDS", "SGD"),
        **better(model, "SGDW", "SGD"),
        **decays_apart(model, "SGDS", "SGD", -0.5, 0.5),
        **decays_apart(model, "SGDW", "SGD", 0.5, 1.5),
    }


FIGURE = Figure(
    "xie2022-fig19",
    shows="Figure 19",
    claim="SGDS and SGDW at their optima are better than SGD and vanilla SGD; SGDS keeps SGD's "
    "best weight decay, SGDW needs ten times as much.",
    recipes=RECIPES,
    measure=measure,
    draw=partial(_pictures.sweeps, models=("mlp",), arms=ARMS),
    **judged(claims("mlp")),
)
