"""Figure 8 of Xie et al. 2022: (lr, λ) maps of AdamS, AdamW and Adam.

The paper reads off the optima (4.52, 4.90 and 5.49 %) and the width of the basin below a common
level. Here every arm is tuned over the same number of cells on seeds of its own.

Departures from the paper: digits and small networks, at gpu scale ResNet18 on CIFAR-10 for 10
epochs on a coarser grid; the optimum is chosen on validation images of other seeds than those that
report.
"""

from __future__ import annotations

from functools import partial

from etalambda.lab.configs import log_grid
from etalambda.lab.figures.xie2022 import _pictures
from etalambda.lab.figures.xie2022._maps import CNN, NOISE, Maps, better, judged, measure, wider
from etalambda.lab.figures.xie2022._pictured import Pictured
from etalambda.lab.reproduce import Figure, rates

ARMS = ("AdamS", "AdamW", "Adam")
RECIPES = {
    "smoke": Maps(
        minutes=0.1, arms=ARMS, models=("cnn",), lrs=(1e-3, 1e-2), decays=(1e-4, 1e-2), epochs=1,
        choosing=1, seeds=3, departures=(NOISE, CNN, "one epoch, a 2 x 2 grid"),
    ),
    "cpu": Maps(
        minutes=10,
        arms=ARMS,
        models=("cnn",),
        lrs=(1e-3, 3e-3, 1e-2, 3e-2),
        decays=log_grid(1e-5, 0.1, 9),
        epochs=30,
        choosing=12,
        seeds=24,
        departures=(NOISE, CNN, "30 epochs"),
    ),
    "gpu": Pictured(
        minutes=130, arms=ARMS, models=("cnn",), task="cifar10", net="resnet18", validation=5000,
        amp="bf16", label_noise=0.0, lrs=(3e-4, 1e-3, 3e-3), decays=log_grid(5e-5, 5e-3, 5),
        epochs=10, choosing=3, seeds=3,
        departures=("10 epochs in place of 200", "a 3 x 5 grid, 5000 pictures choose; bfloat16"),
        reckoned=f"144 runs of 10 epochs; {rates.RESNET18}",
    ),
}  # fmt: skip

FIGURE = Figure(
    "xie2022-fig8",
    shows="Figure 8",
    claim="AdamS has a deeper and wider basin over learning rate and weight decay than AdamW "
    "and Adam.",
    recipes=RECIPES,
    measure=measure,
    draw=partial(_pictures.maps, model="cnn", arms=ARMS),
    **judged(
        better("cnn", "AdamS", "AdamW")
        | better("cnn", "AdamS", "Adam")
        | wider("cnn", "AdamS", "AdamW", ARMS)
        | wider("cnn", "AdamS", "Adam", ARMS)
    ),
)
