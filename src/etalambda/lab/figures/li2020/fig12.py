"""Figure 12 of Li, Lyu & Arora 2020: the five schedules of Figure 1 with VGG16, no shortcuts.

Departures from the paper: as in `etalambda.lab.figures.li2020.fig1`; at cpu scale a network of four
hidden layers in place of VGG16.
"""

from __future__ import annotations

from dataclasses import replace

from etalambda.lab.figures.li2020.fig1 import (
    CLAIM,
    CRITERIA,
    KEPT,
    RECIPES,
    draw,
    estimate,
    measure,
)
from etalambda.lab.reproduce import Figure, rates

DEEP = (
    "digits with 20 % wrong labels and a {} network with BatchNorm in place of VGG16 on CIFAR-10; "
    "ηλ = 0.01, and {} steps stand for 100 epochs"
)

FIGURE = Figure(
    name="li2020-fig12",
    shows="Figure 12",
    claim=CLAIM,
    criteria=CRITERIA,
    recipes={
        "smoke": replace(
            RECIPES["smoke"],
            hidden=(16, 16),
            departures=(DEEP.format("64-16-16-10", 20),),
        ),
        "cpu": replace(
            RECIPES["cpu"],
            minutes=4.0,
            hidden=(32, 32, 32, 32),
            departures=(DEEP.format("64-32-32-32-32-10", 300),),
        ),
        "gpu": replace(
            RECIPES["gpu"],
            minutes=6.0,
            zoo="vgg16-bn",
            reckoned=f"3 parts of 3600 steps; {rates.VGG16}",
        ),
        "paper": replace(
            RECIPES["paper"],
            minutes=730.0,
            zoo="vgg16-bn",
            reckoned=f"3 parts of 469 200 steps; {rates.VGG16}",
        ),
    },
    measure=measure,
    estimate=estimate,
    draw=draw,
    compact=KEPT,
)
