"""Figure 7 of Xie et al. 2022: test error against λ for AdamS, AdamW and Adam without BatchNorm.

The learning rate is fixed; AdamW's λ is displayed times 0.001.

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
    mean_gap,
    measure,
)
from etalambda.lab.reproduce import Figure, below

ARMS = ("AdamS", "AdamW", "Adam")
RECIPES = {
    "smoke": Maps(
        minutes=0.1, arms=ARMS, models=("mlp",), lrs=(3e-3,), decays=(1e-4, 1e-2), epochs=1,
        choosing=1, seeds=3, departures=(NOISE, MLP, "one epoch, two λ"),
    ),
    "cpu": Maps(
        minutes=1,
        arms=ARMS,
        models=("mlp",),
        lrs=(3e-3,),
        decays=log_grid(1e-5, 0.1, 9),
        epochs=30,
        choosing=16,
        seeds=24,
        departures=(NOISE, MLP, "30 epochs, lr 0.003"),
    ),
}  # fmt: skip


def claims(model: str) -> Judged:
    """What the paper says of these sweeps, for one model."""
    return {
        **better(model, "AdamS", "AdamW"),
        **better(model, "AdamS", "Adam"),
        "under various λ": (
            below("AdamS minus AdamW, mean over the grid of λ, points", 0.0),
            partial(mean_gap, model=model, ours="AdamS", theirs="AdamW"),
        ),
        **decays_apart(model, "AdamW", "AdamS", 2.0, 4.0),
    }


FIGURE = Figure(
    "xie2022-fig7",
    shows="Figure 7",
    claim="AdamS outperforms AdamW and Adam at their optima and under various weight decays, and "
    "AdamW's best weight decay is about 1000 times larger.",
    recipes=RECIPES,
    measure=measure,
    draw=partial(_pictures.sweeps, models=("mlp",), arms=ARMS),
    **judged(claims("mlp")),
)
