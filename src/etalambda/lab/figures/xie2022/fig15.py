"""Figure 15 of Xie et al. 2022: long training, the limit of AdamS, AdamW and Adam.

Departures from the paper: digits and a small network, 135 epochs (4.5 times those of Figure 8, as
900 is of 200), λ from five values.
"""

from __future__ import annotations

from functools import partial

from etalambda.lab.configs import log_grid
from etalambda.lab.figures.xie2022 import _pictures
from etalambda.lab.figures.xie2022._maps import CNN, NOISE, Maps, better, judged, measure
from etalambda.lab.reproduce import Figure

ARMS = ("AdamS", "AdamW", "Adam")
FALLS = "the lr falls at 0.4 and 0.8 of the run in place of thirds"

FIGURE = Figure(
    "xie2022-fig15",
    shows="Figure 15",
    claim="Trained 4.5 times as long, AdamS still has the lowest test error.",
    recipes={
        "smoke": Maps(
            minutes=0.1, arms=ARMS, models=("cnn",), lrs=(3e-3,), decays=(1e-4, 1e-2), epochs=1,
            choosing=1, seeds=3, departures=(NOISE, CNN, FALLS, "one epoch, two λ"),
        ),
        "cpu": Maps(
            minutes=8, arms=ARMS, models=("cnn",), lrs=(3e-3,), decays=log_grid(1e-4, 1e-2, 5),
            epochs=135, choosing=12, seeds=24,
            departures=(NOISE, CNN, FALLS, "135 epochs, lr 0.003"),
        ),
    },
    measure=measure,
    draw=partial(_pictures.curves, model="cnn", arms=ARMS),
    **judged(better("cnn", "AdamS", "AdamW") | better("cnn", "AdamS", "Adam")),
)  # fmt: skip
