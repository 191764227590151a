"""Figure 3 of Lewkowycz & Gur-Ari 2020: convolutional networks with and without BatchNorm, one lr.

Departures from the paper: digits and three convolutions, not CIFAR-10 and four with two poolings;
lr 0.1 in place of 0.01, which reaches the same ηλ in fewer steps; a grid of λ for each network, as
without BatchNorm those from 0.05 on "won't train at all".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from etalambda.lab.configs import log_grid
from etalambda.lab.experiments.parts import Tables
from etalambda.lab.figures.lewkowycz2020 import _sweep
from etalambda.lab.figures.lewkowycz2020._peaks import CRITERIA, draw_panels, judged
from etalambda.lab.figures.lewkowycz2020._sweep import Sweep
from etalambda.lab.figures.style import figure, house_style
from etalambda.lab.reproduce import Bench, Criterion, Figure, Jobs
from etalambda.lab.reproduce.pairs import rows
from etalambda.lab.statistics import Interval

NAMES = {"cnn": "no BN", "cnn-bn": "BN"}
ASKED = ("slope", "flat", "too small", "too large")


@dataclass(frozen=True, kw_only=True)
class TwoNets(Sweep):
    """``without_norm``: the λ of the network without BatchNorm; ``weight_decays`` are the other's.

    ``rate`` bounds ηλ for the network with BatchNorm; the other takes all of its grid.
    """

    nets: tuple[str, ...] = ("cnn", "cnn-bn")
    without_norm: tuple[float, ...]


def measure(recipe: TwoNets, bench: Bench) -> list[Jobs]:
    """The sweep of either network, all in one stage."""
    ours = recipe.without_norm
    plain = replace(recipe, nets=("cnn",), weight_decays=ours, rate=recipe.lr * min(ours))
    jobs: dict[str, Any] = {}
    for each in (plain, replace(recipe, nets=("cnn-bn",))):
        for stage in _sweep.measure(each, bench):
            jobs |= stage
    return [jobs]


def estimate(tables: Tables) -> Mapping[str, Interval]:
    """Slope, plateau, and both sides of the optimum of a fixed budget, of both networks."""
    found = {}
    for net, name in NAMES.items():
        ours = judged(rows(tables["runs"], net=net))
        found |= {f"{name}, {key}": ours[key] for key in ASKED}
    return found


@house_style
def draw(tables: Tables) -> Any:
    """Three panels a network."""
    made, axes = figure(13.0, 7.4, columns=3, rows=2)
    for i, (net, name) in enumerate(NAMES.items()):
        ours = axes[3 * i : 3 * i + 3]
        draw_panels(ours, rows(tables["runs"], net=net))
        for axis in ours:
            axis.set_title(f"{name}: {axis.get_title(loc='left')}")
    return made


def criteria() -> dict[str, Criterion]:
    """Those of a sweep with one lr, for each network."""
    return {
        f"{name}, {key}": Criterion(
            f"{name}: {CRITERIA[key].says}", CRITERIA[key].low, CRITERIA[key].high
        )
        for name in NAMES.values()
        for key in ASKED
    }


FIGURE = Figure(
    name="lewkowycz2020-fig3",
    shows="Figure 3",
    claim="The steps to the best test accuracy are proportional to 1/(ηλ) for convolutional "
    "networks too, with and without BatchNorm.",
    criteria=criteria(),
    recipes={
        "smoke": TwoNets(
            minutes=0.05,
            seeds=3,
            lrs=(0.1,),
            weight_decays=log_grid(0.3162, 3.162, 3),
            without_norm=log_grid(0.3162, 3.162, 3),
            rate=0.0316,
            spend=2.0,
            fixed=40,
            points=10,
            width=4,
            departures=("digits, 4 channels, ηλ from 0.03 to 0.3, 63 steps at most",),
        ),
        "cpu": TwoNets(
            minutes=15.0,
            seeds=8,
            lrs=(0.1,),
            weight_decays=log_grid(0.00316, 1.0, 6),
            without_norm=log_grid(0.001, 0.1, 7),
            rate=3.16e-4,
            spend=2.0,
            fixed=500,
            width=16,
            departures=(
                "600 digits, three convolutions of 16 channels, batches of 50, lr 0.1, ηλ from "
                "3e-4 to 0.1 with BatchNorm and from 1e-4 to 0.01 without, in place of CIFAR-10, "
                "four of 300, batches of 128, lr 0.01",
            ),
        ),
    },
    measure=measure,
    estimate=estimate,
    draw=draw,
)
