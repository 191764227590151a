"""Figure 9 of Xie et al. 2022: Rule 2 for Adam, AdamW and AdamS, with BatchNorm.

Figures 3 (Adam, with Rule 1) and 16 (without BatchNorm) read the same run.

Departures from the paper: digits and small networks; batches of 20 and 300 in place of 128 and
16384; the small batch's λ is tuned here, where the paper takes 0.0001.
"""

from __future__ import annotations

from functools import partial

from etalambda.lab.configs import log_grid
from etalambda.lab.figures.xie2022._batches import Batches, claims, draw, measure
from etalambda.lab.figures.xie2022._maps import CNN, MLP, NOISE, judged
from etalambda.lab.reproduce import Figure

ARMS = ("Adam", "AdamW", "AdamS")
SIZES = "batches of 20 and 300 in place of 128 and 16384"
RECIPES = {
    "smoke": Batches(
        minutes=0.1, arms=ARMS, models=("cnn", "mlp"), batch_size=60, k=5, lr=3e-3,
        decays=(1e-4, 1e-2), epochs=1, choosing=1, seeds=3,
        departures=(NOISE, CNN, MLP, "batches of 60 and 300, one epoch"),
    ),
    "cpu": Batches(
        minutes=15,
        arms=ARMS,
        models=("cnn", "mlp"),
        batch_size=20,
        k=15,
        lr=3e-3,
        decays=log_grid(1e-5, 0.1, 9),
        epochs=60,
        choosing=12,
        seeds=24,
        departures=(NOISE, CNN, MLP, SIZES, "60 epochs, lr 0.003"),
    ),
}  # fmt: skip

FIGURE = Figure(
    "xie2022-fig9",
    shows="Figure 9",
    claim="For Adam, AdamW and AdamS, multiplying weight decay by k serves a batch k times larger.",
    recipes=RECIPES,
    measure=measure,
    draw=partial(draw, pairs=[("cnn", arm) for arm in ARMS]),
    **judged({name: claim for arm in ARMS for name, claim in claims("cnn", arm).items()}),
)
