"""Figure 2d-f of Lewkowycz & Gur-Ari 2020: a residual network with BatchNorm, swept over lr and λ.

Departures from the paper: at cpu scale digits and three blocks of 4, 8 and 16 channels; at gpu
scale the first 5000 pictures of CIFAR-10 and 16, 32 and 64 channels, not all of it and WRN-28-10.
"""

from __future__ import annotations

from etalambda.lab.configs import log_grid
from etalambda.lab.figures.lewkowycz2020._peaks import CRITERIA
from etalambda.lab.figures.lewkowycz2020._sweep import Sweep, measure
from etalambda.lab.figures.lewkowycz2020.fig2 import draw, estimate
from etalambda.lab.reproduce import Figure, rates

FIGURE = Figure(
    name="lewkowycz2020-fig2def",
    shows="Figure 2d-f",
    claim="The steps to the best test accuracy are proportional to 1/(ηλ) for a residual network "
    "with BatchNorm too, and the best hardly depends on lr and λ.",
    criteria=CRITERIA,
    recipes={
        "smoke": Sweep(
            minutes=0.05,
            seeds=3,
            lrs=(0.1, 0.3162),
            weight_decays=log_grid(0.3162, 1.0, 2),
            rate=0.0316,
            spend=1.0,
            fixed=20,
            nets=("resnet",),
            width=2,
            points=8,
            departures=("digits, blocks of 2, 4 and 8 channels, 32 steps at most",),
        ),
        "cpu": Sweep(
            minutes=3.0,
            seeds=3,
            lrs=(0.1, 0.3162, 1.0),
            weight_decays=log_grid(0.000316, 1.0, 8),
            rate=3.16e-4,
            spend=2.0,
            fixed=500,
            nets=("resnet",),
            width=4,
            points=200,
            departures=(
                "600 digits, blocks of 4, 8 and 16 channels, batches of 50, ηλ from 3e-4 to 1, in "
                "place of CIFAR-10, WRN-28-10, batches of 1024",
            ),
        ),
        "gpu": Sweep(
            minutes=10.0,
            seeds=3,
            lrs=(0.0632, 0.2, 0.632),
            weight_decays=log_grid(0.0005, 0.5, 7),
            rate=3e-4,
            spend=4.9,
            fixed=1000,
            nets=("resnet",),
            width=16,
            batch_size=128,
            data="cifar10",
            images=5000,
            looks=2000,
            points=150,
            departures=(
                "the first 5000 pictures, three blocks of 16, 32 and 64 channels, batches of 128, "
                "three lrs, ηλ from 3e-4 to 0.3, not CIFAR-10, WRN-28-10, batches of 1024",
            ),
            reckoned=f"22 500 steps, and half as long again for looks; {rates.SMALL_RESNET}",
        ),
    },
    measure=measure,
    estimate=estimate,
    draw=draw,
)
