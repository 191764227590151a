"""Figure 11 of Li, Lyu & Arora 2020: the time back to equilibrium is proportional to 1/(ηλ).

In equilibrium lr is divided and λ multiplied by 10. ηλ stays, so the equilibrium does; the
effective lr is a tenth and γ a hundred times what it was. By Lemma 5.2 the effective lr is back to
0.9 of it after ln(99 / 0.2346) / (4 ηλ) = 1.51/(ηλ) steps; the training loss is a matter of the
conjecture. Both exponents are fitted.

Departures from the paper: at cpu scale a BatchNorm network on digits with 20 % wrong labels, not
VGG-16 on CIFAR-10.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from etalambda.lab.engine.pool import Tick
from etalambda.lab.experiments.parts import Tables
from etalambda.lab.figures.style import figure, house_style, plain_log_ticks, shades
from etalambda.lab.reproduce import Bench, Figure, Jobs, within
from etalambda.lab.reproduce.classifiers import Arm, OnDigits, one_a_seed, watch
from etalambda.lab.reproduce.pairs import keeping, mean_curve, rows
from etalambda.lab.reproduce.settling import recovery
from etalambda.lab.statistics import Interval, mean_interval, slope
from etalambda.schedule import multi_step


@dataclass(frozen=True, kw_only=True)
class Knock(OnDigits):
    """The products ηλ, and how many 1/(ηλ) of steps before and after the change."""

    products: tuple[float, ...]
    lr: float = 0.4
    before: float = 6.0
    after: float = 4.0


GROUPS = 5  # sets of seeds whose mean loss is followed
LEVEL = 0.9


def measure(recipe: Knock, bench: Bench) -> list[Jobs]:
    """One part a product ηλ."""
    return [{f"product={product:g}": _job(recipe, bench, product) for product in recipe.products}]


def _job(recipe: Knock, bench: Bench, product: float) -> Any:
    def job(tick: Tick) -> Tables:
        before, after = (round(n / product) for n in (recipe.before, recipe.after))
        rules = {"lr": multi_step({before: 0.1}), "weight_decay": multi_step({before: 10.0})}
        trials = one_a_seed(range(recipe.seeds), recipe.lr, product / recipe.lr, rules)
        every = max(1, round(0.05 / product))
        run = dict(steps=before + after, every=every, tick=tick)
        seen = watch(recipe.net, recipe.task(bench), [Arm("knocked", trials)], **run)
        keep = ("seed", "step", "effective_lr", "train_loss", "train_error")
        size = len(seen["step"])
        place = {"product": np.full(size, product), "changed": np.full(size, before)}
        return {"curves": place | {key: seen[key] for key in keep}}

    return job


def times(curves: dict[str, np.ndarray]) -> dict[str, dict[str, np.ndarray]]:
    """Recovery times: of each seed's effective lr, and of the mean loss of each set of seeds."""
    found: dict[str, dict[str, list[float]]] = {"effective_lr": {}, "train_loss": {}}
    for product in np.unique(curves["product"]):
        ours = rows(curves, product=product)
        start = float(ours["changed"][0])
        for seed in np.unique(ours["seed"]):
            one = rows(ours, seed=seed)
            settled = one["effective_lr"][(one["step"] > start / 2) & (one["step"] <= start)].mean()
            later = one["step"] > start
            steps = one["step"][later] - start
            back = recovery(steps, one["effective_lr"][later] / settled, 1.0, LEVEL)
            found["effective_lr"].setdefault(str(seed), []).append(back)
        for group in range(GROUPS):
            one = {k: v[ours["seed"] % GROUPS == group] for k, v in ours.items()}
            if not len(one["step"]):
                continue
            steps, loss = mean_curve(one, "train_loss")
            settled = loss[(steps > start / 2) & (steps <= start)].mean()
            back = recovery(steps[steps > start] - start, loss[steps > start], settled, 0.5)
            found["train_loss"].setdefault(str(group), []).append(back)
    return {
        name: {key: np.array(row) for key, row in by_key.items()} for name, by_key in found.items()
    }


def estimate(tables: Tables) -> Mapping[str, Interval]:
    """Exponents of both recoveries, one a seed or set; and the constant of Lemma 5.2."""
    curves = tables["curves"]
    products = np.unique(curves["product"])
    found = times(curves)

    def exponents(name: str) -> Interval:
        each = [slope(np.log(products), np.log(row)).value for row in found[name].values()]
        return mean_interval(each)

    constant = [float(np.nanmean(products * row)) for row in found["effective_lr"].values()]
    return {
        "norm": exponents("effective_lr"),
        "function": exponents("train_loss"),
        "constant": mean_interval(constant),
    }


@house_style
def draw(tables: Tables) -> Any:
    """Both curves against ηλ times the steps since the change; the times against ηλ."""
    made, axes = figure(12.0, 3.9, columns=3)
    curves = tables["curves"]
    products = np.unique(curves["product"])
    for axis, column in zip(axes, ("effective_lr", "train_loss")):
        for product, colour in zip(products, shades(len(products))):
            ours = rows(curves, product=product)
            steps, mean = mean_curve(ours, column)
            since = product * (steps - ours["changed"][0])
            axis.plot(since, mean, color=colour, lw=1.3, label=f"{product:g}")
        axis.axvline(0, color="#999999", lw=0.8, ls=":")
        axis.set(xlabel="ηλ · steps since the change", yscale="log", xlim=(-2, None))
        axis.set_title(column.replace("_", " "))
    axes[0].legend(title="ηλ")
    for name, marker in (("effective_lr", "o"), ("train_loss", "s")):
        values = np.array(list(times(curves)[name].values()))
        axes[2].plot(products, values.T, marker, color="#888888", ms=3)
        middle = np.nanmedian(values, axis=0)
        axes[2].plot(products, middle, marker, color="#0072B2", label=name.replace("_", " "))
    axes[2].plot(products, 1.51 / products, "--", color="#D55E00", label="Lemma 5.2: 1.51/(ηλ)")
    axes[2].set(xscale="log", yscale="log", xlabel="ηλ", title="steps to recover")
    plain_log_ticks(axes[2].xaxis, (1, 2, 5))
    plain_log_ticks(axes[2].yaxis, (1, 2, 5))
    axes[2].legend()
    return made


DIGITS = (
    "digits with 20 % wrong labels and a {} network with BatchNorm in place of VGG-16 on CIFAR-10"
)

FIGURE = Figure(
    name="li2020-fig11",
    shows="Figure 11",
    claim="The time back to equilibrium is proportional to 1/(ηλ).",
    criteria={
        "norm": within("log-log slope of the effective lr's recovery time on ηλ", -1.15, -0.85),
        "function": within("log-log slope of the loss's recovery time on ηλ", -1.3, -0.7),
        "constant": within(
            "ηλ times the effective lr's recovery time (1.51 by the lemma)", 1.0, 2.0
        ),
    },
    recipes={
        "smoke": Knock(
            minutes=0.06,
            seeds=3,
            hidden=(16,),
            products=(0.1, 0.2, 0.4),
            departures=(DIGITS.format("64-16-10"),),
        ),
        "cpu": Knock(
            minutes=2.0,
            seeds=20,
            products=(0.0025, 0.005, 0.01, 0.02, 0.04),
            departures=(DIGITS.format("64-32-32-10"),),
        ),
    },
    measure=measure,
    estimate=estimate,
    draw=draw,
    compact=keeping("product", "changed", "seed", "step", "effective_lr", "train_loss"),
)
