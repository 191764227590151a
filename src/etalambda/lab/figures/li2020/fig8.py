"""Figure 8 of Li, Lyu & Arora 2020: a large early ηλ forgets the scale of the initialization.

Four initializations (Kaiming, NTK, Kaiming times 1000 and 0.001), two λ (λ₀, 5λ₀), lr to a tenth at
epochs 80 and 120 or already at 0 and 120; momentum 0.9. Far from equilibrium the norm decays alone:
ln ‖W‖² falls by about 2ηλ/(1 - β) a step, in the ratios 1 : 10 : 5 : 50.

Departures from the paper: at cpu scale a BatchNorm network on clean digits, not PreResNet32 on
CIFAR-10; the effective ηλ/(1 - β) at the large lr and λ₀ is 0.005.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import nn

from etalambda.lab.engine.pool import Tick
from etalambda.lab.experiments.parts import Tables
from etalambda.lab.figures.style import DASHES, OKABE_ITO, figure, house_style
from etalambda.lab.reproduce import Bench, Figure, Jobs, above, within
from etalambda.lab.reproduce.classifiers import Arm, OnDigits, one_a_seed, watch
from etalambda.lab.reproduce.pairs import a_seed, hull, mean_curve, rows
from etalambda.lab.statistics import Interval, mean_interval, paired_difference
from etalambda.schedule import multi_step, shrinkage


@dataclass(frozen=True, kw_only=True)
class Initializations(OnDigits):
    """``ten``: steps that stand for 10 epochs; 160 epochs in all."""

    ten: int
    lr: float = 0.04
    weight_decay: float = 0.012
    momentum: float = 0.9
    label_noise: float = 0.0


INITS = {"Kaiming": 1.0, "NTK": 0.0, "x1000": 1000.0, "x0.001": 0.001}
ARMS = {  # λ as a multiple of λ₀, epochs (tens) at which lr falls
    "λ₀, small lr": (1, (0, 12)),
    "λ₀": (1, (8, 12)),
    "5λ₀, small lr": (5, (0, 12)),
    "5λ₀": (5, (8, 12)),
}


def measure(recipe: Initializations, bench: Bench) -> list[Jobs]:
    """One part an initialization, its four arms in it."""
    return [{name: _job(recipe, bench, name) for name in INITS}]


def _job(recipe: Initializations, bench: Bench, init: str) -> Any:
    def arms(seeds: Iterable[int]) -> list[Arm]:
        made = []
        for name, (times, at) in ARMS.items():
            rules = {"lr": multi_step({recipe.ten * k: 0.1 for k in at})}
            decay = times * recipe.weight_decay
            made.append(Arm(name, one_a_seed(seeds, recipe.lr, decay, rules)))
        return made

    def job(tick: Tick) -> Tables:
        run = dict(steps=16 * recipe.ten, every=max(4, recipe.ten // 10), tick=tick)
        make, task = scaled(recipe.net, INITS[init]), recipe.task(bench)
        seen = watch(make, task, arms(range(recipe.seeds)), momentum=recipe.momentum, **run)
        keep = ("arm", "seed", "step", "norm", "effective_lr", "lr", "weight_decay", "test_error")
        names = np.full(len(seen["step"]), init, dtype=object)
        gain = np.full(len(seen["step"]), 1 / (1 - recipe.momentum))
        return {"curves": {"init": names, "gain": gain} | {key: seen[key] for key in keep}}

    return job


def scaled(make: Callable[[], nn.Module], times: float) -> Callable[[], nn.Module]:
    """The networks of ``make`` with all weights multiplied; 0 stands for NTK, N(0, 1)."""

    def made() -> nn.Module:
        net = make()
        for weight in net.parameters():
            weight.data *= times or (weight.shape[1] / 2) ** 0.5
        return net

    return made


def estimate(tables: Tables) -> Mapping[str, Interval]:
    """Slopes of ln G over the predicted ones; errors across initializations, with and without."""
    curves = tables["curves"]
    end = curves["step"].max()
    ratios = [_slope_ratio(rows(curves, init="x1000", arm=arm)) for arm in ARMS]
    last = rows(curves, 0.9 * end)
    error = {
        (init, arm): a_seed(rows(last, init=init, arm=arm), "test_error")
        for init in INITS
        for arm in ("5λ₀", "λ₀, small lr")
    }
    usual = error["Kaiming", "5λ₀"]
    robust = [paired_difference(error[init, "5λ₀"], usual) for init in INITS if init != "Kaiming"]
    needed = [
        paired_difference(error[init, "λ₀, small lr"], error[init, "5λ₀"])
        for init in ("x1000", "x0.001")
    ]
    return {"slopes": hull_around_one(ratios), "robust": hull(robust), "needed": hull_least(needed)}


def _slope_ratio(table: dict[str, np.ndarray]) -> Interval:
    """Each seed's fall of ln G over that of pure decay, until G is 100 times its least value.

    Pure decay under momentum is `schedule.shrinkage` (LLA-X2); it tends to 2ηλ/(1 - β) a step.
    """
    ratios = []
    for seed in np.unique(table["seed"]):
        one = rows(table, seed=seed)
        logs = 2 * np.log(one["norm"].astype(float))
        high = np.flatnonzero(logs > logs.min() + np.log(100))
        last = int(high[-1]) if high.size and high[-1] else 1
        steps = np.diff(one["step"])[:last]
        lrs, decays = (np.repeat(one[key][:last], steps) for key in ("lr", "weight_decay"))
        kept = shrinkage(lrs.tolist(), decays.tolist(), momentum=1 - 1 / float(one["gain"][0]))
        ratios.append((logs[last] - logs[0]) / (2 * np.log(kept).sum()))
    return mean_interval(ratios)


def hull_around_one(intervals: Iterable[Interval]) -> Interval:
    """The hull, whose value is the one furthest from 1."""
    found = list(intervals)
    worst = max(found, key=lambda one: abs(one.value - 1))
    low, high = min(one.low for one in found), max(one.high for one in found)
    return Interval(worst.value, low, high, worst.n, worst.sd)


def hull_least(intervals: Iterable[Interval]) -> Interval:
    """The interval with the lowest end: all of them lie above a bound if it does."""
    return min(intervals, key=lambda one: one.low)


@house_style
def draw(tables: Tables) -> Any:
    """Test error and norm of the four arms, a panel an initialization."""
    made, axes = figure(15.0, 3.8, columns=4)
    curves = tables["curves"]
    for axis, init in zip(axes, INITS):
        norms = axis.twinx()
        norms.grid(False)
        for arm, colour in zip(ARMS, OKABE_ITO):
            ours = rows(curves, init=init, arm=arm)
            steps, mean = mean_curve(ours, "test_error")
            axis.plot(steps, 100 * mean, color=colour, lw=1.4, label=arm)
            norms.plot(*mean_curve(ours, "norm"), DASHES[3], color=colour, lw=1.0)
        axis.set(xlabel="step", title=init, ylim=(0, 100))
        norms.set_yscale("log")
    axes[0].set_ylabel("test error %  (dots: ‖W‖, right)")
    axes[0].legend(fontsize=8)
    return made


def compact(tables: Tables) -> Tables:
    """Norms of the runs whose slope is judged; of the others, one look in three."""
    curves = tables["curves"]
    looks = np.unique(curves["step"])
    kept = np.isin(curves["step"], looks[::3]) | (curves["init"] == "x1000")
    kept |= curves["step"] > 0.9 * looks[-1]
    names = ("init", "arm", "seed", "step", "norm", "lr", "weight_decay", "gain", "test_error")
    return {"curves": {name: curves[name][kept] for name in names}}


DIGITS = (
    "clean digits and a {} network with BatchNorm in place of PreResNet32 on "
    "CIFAR-10; {} steps stand for 10 epochs"
)

FIGURE = Figure(
    name="li2020-fig8",
    shows="Figure 8",
    claim="Large early lr and λ make the result independent of the initialization's scale; a small "
    "lr from the start does not.",
    criteria={
        "slopes": within("x1000: fall of ln G over that of pure decay", 0.9, 1.1),
        "robust": within("5λ₀: final test error, other initializations minus Kaiming", -0.02, 0.02),
        "needed": above("extreme scales: λ₀ and small lr minus 5λ₀, final test error", 0.02),
    },
    recipes={
        "smoke": Initializations(
            minutes=0.06,
            seeds=3,
            hidden=(16,),
            ten=12,
            departures=(DIGITS.format("64-16-10", 12),),
        ),
        "cpu": Initializations(
            minutes=3.0, seeds=6, ten=400, departures=(DIGITS.format("64-32-32-10", 400),)
        ),
    },
    measure=measure,
    estimate=estimate,
    draw=draw,
    compact=compact,
)
