"""Figures 2 and 10 of Li, Lyu & Arora 2020: a small lr suffices, given time.

A step decay (lr to a tenth, and again) against the small lr from the start: short, where it is not
in equilibrium yet, and long, where it must reach the same best test error. Figure 10 is vanilla
SGD, Figure 2a-c momentum 0.9. Figure 2d: after the drop, the equilibrium of a smaller ηλ is better.

Departures from the paper: at cpu scale a BatchNorm network on clean digits in place of PreResNet32
on CIFAR-10; the labels' lengths (`wd_x_y_lr_z_u`) are scaled to ηλ = 0.01; no arm divides λ.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from etalambda.lab.engine import Trial
from etalambda.lab.engine.pool import Tick
from etalambda.lab.experiments.parts import Tables
from etalambda.lab.figures.style import DASHES, OKABE_ITO, figure, house_style
from etalambda.lab.reproduce import Bench, Figure, Jobs, above, below, within
from etalambda.lab.reproduce.classifiers import Arm, OnDigits, one_a_seed, watch
from etalambda.lab.reproduce.pairs import a_seed, hull, mean_curve, rows
from etalambda.lab.statistics import Interval, mean_interval, paired_difference, slope
from etalambda.schedule import from_label, multi_step


@dataclass(frozen=True, kw_only=True)
class SmallLr(OnDigits):
    """``unit``: steps of a phase of the step decay; the long run has ``long`` of them."""

    unit: int
    long: int
    label_noise: float = 0.0
    lr: float = 0.4
    weight_decay: float = 0.025
    products: tuple[float, ...] = (4.0, 1.0, 0.25)


MOMENTA = {"vanilla": 0.0, "momentum": 0.9}
ARMS = ("step decay", "small lr, short", "small lr, long")


def labels(recipe: SmallLr) -> dict[str, str]:
    """The arms in the paper's words, with epochs as steps."""
    unit = recipe.unit
    short = f"lr_0_{2 * unit}"
    return dict(zip(ARMS, (f"lr_{unit}_{2 * unit}", short, f"lr_0_{recipe.long * unit}")))


def measure(recipe: SmallLr, bench: Bench) -> list[Jobs]:
    """One part an arm and momentum, and one a product of Figure 2d."""
    jobs: dict[str, Any] = {}
    for kind, momentum in MOMENTA.items():
        for arm, label in labels(recipe).items():
            length = recipe.long if arm.endswith("long") else 2
            rules = from_label(label)
            name = f"{kind}.{label}"
            jobs[name] = _job(recipe, bench, f"{kind}: {arm}", rules, momentum, length + 1, 1.0)
    for product in recipe.products:
        # each in equilibrium for 8/(ηλ), then one drop
        length = max(1, round(8 / (product * recipe.lr * recipe.weight_decay) / recipe.unit))
        rules = {"lr": multi_step({length * recipe.unit: 0.1})}
        name = f"product {product:g}"
        jobs[name.replace(" ", "=")] = _job(recipe, bench, name, rules, 0.0, length + 1, product)
    return [jobs]


def _job(
    recipe: SmallLr, bench: Bench, name: str, rules: Any, momentum: float, units: int, times: float
) -> Any:
    def job(tick: Tick) -> Tables:
        lr = recipe.lr * (1 - momentum)
        trials: list[Trial] = one_a_seed(
            range(recipe.seeds), lr, times * recipe.weight_decay, rules
        )
        run = dict(steps=units * recipe.unit, every=max(1, recipe.unit // 20), tick=tick)
        seen = watch(recipe.net, recipe.task(bench), [Arm(name, trials)], momentum=momentum, **run)
        keep = ("arm", "seed", "step", "norm", "effective_lr", "train_error", "test_error")
        last = np.full(len(seen["step"]), (units - 1) * recipe.unit)
        size = dict(drop=last, product=np.full(len(last), times))
        return {"curves": size | {key: seen[key] for key in keep}}

    return job


def estimate(tables: Tables) -> Mapping[str, Interval]:
    """Test error after the last drop of each arm, paired; and against the product."""
    curves = tables["curves"]
    same, early, gain = [], [], []
    for kind in MOMENTA:
        decay, short, long = (_final(rows(curves, arm=f"{kind}: {arm}")) for arm in ARMS)
        same.append(paired_difference(long, decay))
        early.append(paired_difference(short, decay))
        gain.append(paired_difference(long, short))
    products = np.unique(curves["product"])
    finals = [_final(rows(curves, arm=f"product {product:g}")) for product in products]
    slopes = [slope(np.log10(products), column).value for column in np.array(finals).T]
    return {
        "same": hull(same),
        "early": min(early, key=lambda one: one.low),
        "time": max(gain, key=lambda one: one.high),
        "products": mean_interval(slopes),
    }


def _final(table: dict[str, np.ndarray]) -> np.ndarray:
    """Each seed's test error over the rows after the last drop."""
    return a_seed(rows(table, float(table["drop"][0])), "test_error")


@house_style
def draw(tables: Tables) -> Any:
    """Test errors of the three arms, without and with momentum; and of the products."""
    made, axes = figure(13.0, 3.9, columns=3)
    curves = tables["curves"]
    for axis, kind in zip(axes, MOMENTA):
        for arm, colour in zip(ARMS, OKABE_ITO):
            ours = rows(curves, arm=f"{kind}: {arm}")
            steps, mean = mean_curve(ours, "test_error")
            axis.plot(steps + 1, 100 * mean, color=colour, lw=1.2, label=arm)
            steps, train = mean_curve(ours, "train_error")
            axis.plot(steps + 1, 100 * train, DASHES[3], color=colour, lw=0.9)
        axis.set(xscale="log", xlabel="step", ylim=(0, 15))
        axis.set_title(f"{kind}: test error (dots: train) %")
    for product, colour in zip(np.unique(curves["product"]), OKABE_ITO):
        ours = rows(curves, arm=f"product {product:g}")
        steps, mean = mean_curve(ours, "test_error")
        since = steps - ours["drop"][0]
        axes[2].plot(since, 100 * mean, color=colour, lw=1.2, label=f"{product:g}")
    span = float((curves["step"] - curves["drop"]).max())
    axes[2].set(xlim=(-span, span), ylim=(0, 15), xlabel="steps since the drop")
    axes[2].set_title("(d) test error %, by ηλ")
    axes[0].legend()
    axes[2].legend(title="ηλ / 0.01")
    return made


DIGITS = (
    "clean digits and a {} network with BatchNorm in place of PreResNet32 on CIFAR-10; phases of "
    "{} steps at ηλ = 0.01, and no arm that divides λ"
)

FIGURE = Figure(
    name="li2020-fig2",
    shows="Figures 2 and 10",
    claim="A small lr from the start reaches the accuracy of step decay, given time, and a smaller "
    "ηλ in equilibrium generalizes better.",
    criteria={
        "same": within("small lr, long, minus step decay: test error", -0.005, 0.005),
        "early": above("small lr, short, minus step decay: test error", 0.0),
        "time": below("small lr, long minus short: test error", 0.0),
        "products": above("(d) test error after the drop, a tenfold of ηλ", 0.0),
    },
    recipes={
        "smoke": SmallLr(
            minutes=0.06,
            seeds=3,
            hidden=(16,),
            unit=20,
            long=6,
            weight_decay=0.25,
            departures=(DIGITS.format("64-16-10", 20),),
        ),
        "cpu": SmallLr(
            minutes=3.0,
            seeds=20,
            unit=400,
            long=15,
            departures=(DIGITS.format("64-32-32-10", 400),),
        ),
    },
    measure=measure,
    estimate=estimate,
    draw=draw,
)
