"""Figure 4 of Li, Lyu & Arora 2020: halving lr or halving λ, the same ηλ, the same equilibrium.

Departures from the paper: at cpu scale a BatchNorm network on digits with 20 % wrong labels, not
PreResNet32 on CIFAR-10; five halvings in place of seven; ηλ from 0.04 to 0.00125.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from etalambda.lab.experiments.parts import Tables
from etalambda.lab.figures.style import OKABE_ITO, figure, house_style
from etalambda.lab.reproduce import Bench, Figure, Jobs, above, within
from etalambda.lab.reproduce.classifiers import Arm, OnDigits, one_a_seed, parts
from etalambda.lab.reproduce.pairs import a_seed, apart, keeping, mean_curve, rows
from etalambda.lab.statistics import Interval, paired_difference
from etalambda.schedule import multi_step


@dataclass(frozen=True, kw_only=True)
class Halvings(OnDigits):
    """``unit``: steps that stand for 200 epochs. Halved at 1, 2, 3, 4, 6; dropped at 20 of them."""

    unit: int
    lr: float = 0.8
    weight_decay: float = 0.05


AT, DROP, END = (1, 2, 3, 4, 6), 20, 24


def measure(recipe: Halvings, bench: Bench) -> list[Jobs]:
    """One part a group of seeds, both arms in it."""
    halving: dict[float, float] = {k * recipe.unit: 0.5 for k in AT}
    drop = DROP * recipe.unit

    def arms(seeds: Iterable[int]) -> list[Arm]:
        base = (recipe.lr, recipe.weight_decay)
        lr = {"lr": multi_step(halving | {drop: 0.1}), "weight_decay": multi_step({drop: 0.0})}
        decay = {"lr": multi_step({drop: 0.1}), "weight_decay": multi_step(halving | {drop: 0.0})}
        return [Arm("lr", one_a_seed(seeds, *base, lr)), Arm("λ", one_a_seed(seeds, *base, decay))]

    every = max(1, recipe.unit // 8)
    return [parts(recipe, bench, arms, steps=END * recipe.unit, every=every)]


def estimate(tables: Tables) -> Mapping[str, Interval]:
    """Both arms apart, late in the longest phase and after the drop; and how long a phase lasts."""
    curves = tables["curves"]
    unit = curves["step"].max() / END
    late = rows(curves, 0.75 * DROP * unit, DROP * unit)
    after = rows(curves, DROP * unit)
    first = rows(curves, 6.0 * unit, 6.4 * unit)
    log = rows(first, arm="λ"), rows(first, arm="lr")
    at_once = [np.log(a_seed(one, "effective_lr", np.min)) for one in log]
    return {
        "effective lr": apart(late, "λ", "effective_lr", log=True),
        "train": apart(late, "λ", "train_error"),
        "test": apart(late, "λ", "test_error"),
        "best": apart(after, "λ", "test_error", reduce=np.nanmin),
        "control": paired_difference(*at_once),
    }


@house_style
def draw(tables: Tables) -> Any:
    """Errors, norm and effective lr of both arms, means over seeds."""
    made, axes = figure(14.0, 3.9, columns=4)
    curves = tables["curves"]
    unit = curves["step"].max() / END
    panels = ("train_error", "test_error", "norm", "effective_lr")
    for axis, column in zip(axes, panels):
        for arm, colour in zip(("lr", "λ"), OKABE_ITO):
            steps, mean = mean_curve(rows(curves, arm=arm), column)
            percent = 100 if "error" in column else 1
            axis.plot(steps, percent * mean, color=colour, lw=1.3, label=f"halving {arm}")
        for k in (*AT, DROP):
            axis.axvline(k * unit, color="#999999", lw=0.8, ls=":")
        title = column.replace("_", " ") + (" %" if "error" in column else "")
        axis.set(xlabel="step", title=title)
        if "error" in column:
            axis.set_ylim(0, 60)
        else:
            axis.set_yscale("log")
    axes[0].legend()
    return made


DIGITS = (
    "digits with 20 % wrong labels and a {} network with BatchNorm in place of PreResNet32 on "
    "CIFAR-10; five halvings from ηλ = 0.04, not seven; {} steps stand for 200 epochs"
)

FIGURE = Figure(
    name="li2020-fig4",
    shows="Figure 4",
    claim="Halving lr or λ gives the same effective lr and accuracy, once the norm settles.",
    criteria={
        "effective lr": within("late in the last phase, log effective lr apart", -0.1, 0.1),
        "train": within("train error apart", -0.01, 0.01),
        "test": within("test error apart", -0.01, 0.01),
        "best": within("best test error after the drop, apart", -0.01, 0.01),
        "control": above("right after the last halving, log effective lr apart", 0.25),
    },
    recipes={
        "smoke": Halvings(
            minutes=0.05,
            seeds=3,
            hidden=(16,),
            unit=8,
            weight_decay=0.5,
            departures=(DIGITS.format("64-16-10", 8),),
        ),
        "cpu": Halvings(
            minutes=2.0, seeds=20, unit=200, departures=(DIGITS.format("64-32-32-10", 200),)
        ),
    },
    measure=measure,
    estimate=estimate,
    draw=draw,
    compact=keeping("arm", "seed", "step", "norm", "effective_lr", "train_error", "test_error"),
)
