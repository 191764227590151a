"""Figure 1 of Xie et al. 2022: decay that the lr does not multiply (1) against L2 (2).

Vanilla SGD under a learning rate that falls in steps. Each form is tuned over the same λ; in (1)
the decay of a step stays ηλ of the first step.

Departures from the paper: digits and small networks; the optimum is chosen on validation images of
other seeds than those that report.
"""

from __future__ import annotations

from functools import partial

from etalambda.lab.configs import log_grid
from etalambda.lab.figures.xie2022 import _pictures
from etalambda.lab.figures.xie2022._maps import CNN, NOISE, Maps, better, judged, measure
from etalambda.lab.reproduce import Figure

ARMS = ("equation (2)", "equation (1)")

FIGURE = Figure(
    "xie2022-fig1",
    shows="Figure 1",
    claim="Under a learning rate that falls, weight decay multiplied by it (2) has the better test "
    "performance than weight decay that is not (1).",
    recipes={
        "smoke": Maps(
            minutes=0.1, arms=ARMS, models=("cnn",), lrs=(0.05,), decays=(1e-4, 1e-2), epochs=1,
            choosing=1, seeds=3, departures=(NOISE, CNN, "one epoch, two λ"),
        ),
        "cpu": Maps(
            minutes=2.5,
            arms=ARMS,
            models=("cnn",),
            lrs=(0.05,),
            decays=log_grid(1e-5, 0.1, 9),
            epochs=30,
            choosing=16,
            seeds=24,
            departures=(NOISE, CNN, "30 epochs, lr 0.5"),
        ),
    },
    measure=measure,
    draw=partial(_pictures.sweeps, models=("cnn",), arms=ARMS),
    **judged(better("cnn", *ARMS)),
)  # fmt: skip
