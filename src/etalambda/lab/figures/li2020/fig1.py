"""Figure 1 and Table 1 of Li, Lyu & Arora 2020: five schedules, one equilibrium.

Five schedules of lr and λ (`schedule.table_1`) part the networks for 500 epochs; from then on lr
and λ are equal, and errors, norm and effective lr should be too; so should the best test error
after the last lr drop without decay.

Departures from the paper: at cpu scale a BatchNorm network on digits with 20 % wrong labels (they
keep the gradient noise from vanishing) in place of PreResNet32 on CIFAR-10; 100 epochs are as many
steps as give 3/(ηλ); schedule 4 scales lr and λ, as printed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from etalambda.lab.experiments.parts import Tables
from etalambda.lab.figures.style import OKABE_ITO, figure, house_style, plain_log_ticks
from etalambda.lab.reproduce import Bench, Figure, Jobs, above, rates, within
from etalambda.lab.reproduce.classifiers import Arm, OnDigits, one_a_seed, parts
from etalambda.lab.reproduce.pairs import a_seed, apart, keeping, mean_curve, rows
from etalambda.lab.statistics import Interval, mean_interval
from etalambda.schedule import table_1


@dataclass(frozen=True, kw_only=True)
class FiveSchedules(OnDigits):
    """``hundred``: steps that stand for 100 epochs. The run has 1200 of them."""

    hundred: int
    lr: float = 0.4
    weight_decay: float = 0.025


REFERENCE = "schedule 2"


def measure(recipe: FiveSchedules, bench: Bench) -> list[Jobs]:
    """One part a group of seeds, all five schedules in it."""

    def arms(seeds: Iterable[int]) -> list[Arm]:
        rules = {number: table_1(number, recipe.hundred / 100) for number in range(1, 6)}
        base = (recipe.lr, recipe.weight_decay)
        return [Arm(f"schedule {n}", one_a_seed(seeds, *base, rule)) for n, rule in rules.items()]

    every = max(1, recipe.hundred // 10)
    return [parts(recipe, bench, arms, steps=12 * recipe.hundred, every=every)]


def windows(curves: dict[str, np.ndarray]) -> dict[str, dict[str, np.ndarray]]:
    """Rows before the schedules meet, in the later half of equilibrium, and after the drop."""
    hundred = curves["step"].max() / 12
    return {
        "before": rows(curves, hundred, 5 * hundred),
        "equilibrium": rows(curves, 7.5 * hundred, 10 * hundred),
        "after": rows(curves, 10 * hundred),
    }


def estimate(tables: Tables) -> Mapping[str, Interval]:
    """Distances from schedule 2: in equilibrium, after the drop, and, as a control, before."""
    seen = windows(tables["curves"])
    equal = {
        name: apart(seen["equilibrium"], REFERENCE, column, log=column == "effective_lr")
        for name, column in NAMES.items()
    }
    best = apart(seen["after"], REFERENCE, "test_error", reduce=np.nanmin)
    return equal | {"best": best, "control": mean_interval(_least(seen["before"]))}


NAMES = {"effective lr": "effective_lr", "train": "train_error", "test": "test_error"}


def _least(before: dict[str, np.ndarray]) -> np.ndarray:
    """A seed's |log ratio| of effective lr to schedule 2, at its largest, of the closest arm."""
    logs = before | {"log": np.log(before["effective_lr"])}
    ours = rows(logs, arm=REFERENCE)
    largest = []
    for arm in np.unique(logs["arm"]):
        if arm != REFERENCE:
            theirs = rows(logs, arm=arm)
            theirs["log"] = np.abs(theirs["log"] - ours["log"])
            largest.append(a_seed(theirs, "log", np.max))
    return np.min(largest, axis=0)


@house_style
def draw(tables: Tables) -> Any:
    """Errors, norm and effective lr of the five schedules, means over seeds."""
    made, axes = figure(14.0, 3.9, columns=4)
    curves = tables["curves"]
    hundred = curves["step"].max() / 12
    panels = (
        ("train_error", "train error %"),
        ("test_error", "test error %"),
        ("norm", "norm ‖W‖"),
        ("effective_lr", "effective lr  η/‖W‖²"),
    )
    for axis, (column, label) in zip(axes, panels):
        for number, colour in zip(range(1, 6), OKABE_ITO):
            steps, mean = mean_curve(rows(curves, arm=f"schedule {number}"), column)
            percent = 100 if "error" in column else 1
            axis.plot(steps / hundred, percent * mean, color=colour, lw=1.3, label=f"{number}")
        for at in (5, 10):
            axis.axvline(at, color="#999999", lw=0.8, ls=":")
        axis.set(xlabel="epochs of the paper, hundreds", title=label)
        if "error" not in column:
            axis.set_yscale("log")
            plain_log_ticks(axis.yaxis, (1, 2, 5))
    axes[0].legend(title="schedule", ncols=2)
    return made


DIGITS = (
    "digits with 20 % wrong labels and a {} network with BatchNorm in place of PreResNet32 on "
    "CIFAR-10; ηλ = 0.01, and {} steps stand for 100 epochs"
)
CLAIM = (
    "Five schedules that end at one lr and λ reach one equilibrium, and after the last drop one "
    "accuracy."
)

CRITERIA = {
    "effective lr": within("in equilibrium, log effective lr apart from schedule 2", -0.1, 0.1),
    "train": within("in equilibrium, train error apart", -0.01, 0.01),
    "test": within("in equilibrium, test error apart", -0.01, 0.01),
    "best": within("best test error after the drop, apart", -0.01, 0.01),
    "control": above("before, the closest schedule's log effective lr apart", 0.25),
}
RECIPES = {
    "smoke": FiveSchedules(
        minutes=0.05,
        seeds=3,
        hidden=(16,),
        hundred=20,
        departures=(DIGITS.format("64-16-10", 20),),
    ),
    "cpu": FiveSchedules(
        minutes=3.0,
        seeds=20,
        hundred=300,
        departures=(DIGITS.format("64-32-32-10", 300),),
    ),
    "gpu": FiveSchedules(
        minutes=13.0,
        seeds=3,
        together=1,
        hundred=300,
        batch_size=128,
        data="cifar10",
        zoo="preresnet32",
        departures=(
            "300 steps stand for 100 epochs and ηλ is 0.01, 50 times the paper's; no "
            "augmentation; errors on 2000 pictures of either part",
        ),
        reckoned=f"3 parts of 3600 steps; {rates.PRERESNET32}",
    ),
    "paper": FiveSchedules(
        minutes=1640.0,
        seeds=3,
        together=1,
        hundred=39100,
        batch_size=128,
        weight_decay=5e-4,
        data="cifar10",
        zoo="preresnet32",
        departures=("no augmentation; errors on 2000 pictures of either part",),
        reckoned=f"3 parts of 469 200 steps; {rates.PRERESNET32}",
    ),
}
KEPT = keeping("arm", "seed", "step", "norm", "effective_lr", "train_error", "test_error")

FIGURE = Figure(
    name="li2020-fig1",
    shows="Figure 1 and Table 1",
    claim=CLAIM,
    criteria=CRITERIA,
    recipes=RECIPES,
    measure=measure,
    estimate=estimate,
    draw=draw,
    compact=KEPT,
)
