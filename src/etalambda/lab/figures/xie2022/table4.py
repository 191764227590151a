"""Table 4 of Xie et al. 2022: AdaiS, Adai, SGDS and SGD at their optima.

Figures 22 and 23 are learning curves of the same run.

Departures from the paper: digits and small networks; the optimum is chosen on validation images of
other seeds than those that report.
"""

from __future__ import annotations

from functools import partial

from etalambda.lab.configs import log_grid
from etalambda.lab.figures.xie2022 import _pictures
from etalambda.lab.figures.xie2022._maps import (
    CNN,
    MLP,
    NOISE,
    Maps,
    better,
    judged,
    measure,
)
from etalambda.lab.reproduce import Figure

PAIRS = (("SGDS", "SGD"), ("AdaiS", "Adai"))
ARMS = tuple(arm for pair in PAIRS for arm in pair)
MODELS = ("mlp", "cnn")
RECIPES = {
    "smoke": Maps(
        minutes=0.1, arms=ARMS, models=MODELS, lrs=(0.05,), decays=(1e-4, 1e-2), epochs=1,
        choosing=1, seeds=3, departures=(NOISE, MLP, CNN, "one epoch, two λ"),
    ),
    "cpu": Maps(
        minutes=9,
        arms=ARMS,
        models=MODELS,
        lrs=(0.025, 0.05, 0.1),
        decays=log_grid(1e-4, 0.1, 7),
        epochs=30,
        choosing=12,
        seeds=24,
        departures=(NOISE, MLP, CNN, "30 epochs; lr of Adai and AdaiS times ten"),
    ),
}  # fmt: skip

FIGURE = Figure(
    "xie2022-table4",
    shows="Table 4",
    claim="With momentum, stable weight decay often outperforms L2: SGDS and SGD, AdaiS and Adai.",
    recipes=RECIPES,
    measure=measure,
    draw=partial(_pictures.sweeps, models=MODELS, arms=ARMS),
    **judged(
        {
            name: claim
            for model in MODELS
            for pair in PAIRS
            for name, claim in better(model, *pair).items()
        }
    ),
)
