"""Figure 13 of Li, Lyu & Arora 2020: the five schedules of Figure 1 on CIFAR-100, a harder task.

Departures from the paper: as in `etalambda.lab.figures.li2020.fig1`; at cpu scale digits with 40 %
wrong labels, twice those of Figure 1.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

from torch import nn

from etalambda.lab.figures.li2020.fig1 import (
    CLAIM,
    CRITERIA,
    KEPT,
    RECIPES,
    FiveSchedules,
    draw,
    estimate,
    measure,
)
from etalambda.lab.models import zoo
from etalambda.lab.reproduce import Figure


@dataclass(frozen=True, kw_only=True)
class Hundred(FiveSchedules):
    """The same with a hundred classes where it is a network of the papers."""

    def net(self) -> nn.Module:
        """One network, drawn from torch's random state."""
        return zoo.make(self.zoo, 100, scale_invariant=True) if self.zoo else super().net()


def harder(scale: str, **changed: object) -> Hundred:
    """Figure 1's recipe of a scale with some fields changed."""
    return Hundred(**asdict(RECIPES[scale]) | changed)  # pyrefly: ignore[bad-argument-type]


NOISY = (
    "digits with 40 % wrong labels and a {} network with BatchNorm in place of PreResNet32 on "
    "CIFAR-100; ηλ = 0.01, and {} steps stand for 100 epochs"
)

FIGURE = Figure(
    name="li2020-fig13",
    shows="Figure 13",
    claim=CLAIM,
    criteria=CRITERIA,
    recipes={
        "smoke": harder("smoke", label_noise=0.4, departures=(NOISY.format("64-16-10", 20),)),
        "cpu": harder("cpu", label_noise=0.4, departures=(NOISY.format("64-32-32-10", 300),)),
        "gpu": harder("gpu", data="cifar100"),
        "paper": harder("paper", data="cifar100"),
    },
    measure=measure,
    estimate=estimate,
    draw=draw,
    compact=KEPT,
)
