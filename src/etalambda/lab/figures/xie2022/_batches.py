"""Large batches in Xie et al. 2022: multiply the lr (Rule 1) or λ (Rule 2) by k at equal epochs.

The best λ of the small batch is chosen first; the batch is then k times as large. A sweep of λ at
the large batch says where its optimum lies; seeds of their own compare the two rules with doing
nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from etalambda._common import need
from etalambda.lab.engine import Trial
from etalambda.lab.experiments.parts import Job, Tables
from etalambda.lab.figures.style import OKABE_ITO, house_style, strip
from etalambda.lab.figures.xie2022._maps import (
    ARMS,
    HYPER,
    Judged,
    decay_ratio_of,
)
from etalambda.lab.figures.xie2022._pictures import NAMES, decay_label
from etalambda.lab.reproduce import Bench, Jobs, Recipe, below, within
from etalambda.lab.reproduce.cells import (
    Cell,
    best_by,
    choosing,
    digits_job,
    in_points,
    rows_where,
)
from etalambda.lab.statistics import Interval
from etalambda.lab.train.schedules import shape

IMAGES = 600
RULES = ("nothing", "Rule 1", "Rule 2")


@dataclass(frozen=True, kw_only=True)
class Batches(Recipe):
    """Models, arms, the small batch and k, the lr of both, λ of the sweeps, epochs, seeds."""

    models: tuple[str, ...]
    arms: tuple[str, ...]
    batch_size: int
    k: int
    lr: float
    decays: tuple[float, ...]
    epochs: int
    choosing: int
    seeds: int
    label_noise: float = 0.2


def measure(recipe: Batches, bench: Bench) -> Iterable[Jobs]:
    """Sweeps of λ at both batches; then the rules, from the small batch's best λ."""
    pairs = list(product(recipe.models, recipe.arms))

    def job(cells: Sequence[Cell], k: int, table: str) -> Job:
        model, arm = cells[0].labels["model"], ARMS[cells[0].labels["arm"]]
        how: dict[str, Any] = dict(epochs=recipe.epochs, label_noise=recipe.label_noise)
        how |= dict(device=bench.device, batch_size=recipe.batch_size * k, table=table)
        hyper = {**HYPER.get(arm.optimizer, {}), **arm.hyper}
        return digits_job(cells, model=model, optimizer=arm.optimizer, hyper=hyper, **how)

    def cell(model: str, arm: str, k: int, seed: int, lr: float, decay: float, rule: str) -> Cell:
        labels = {"model": model, "arm": arm, "k": k, "decay": decay, "rule": rule}
        rules = {"lr": shape("step", recipe.epochs * (IMAGES // (recipe.batch_size * k)))}
        return Cell(labels, Trial(seed, lr, decay * ARMS[arm].decay_unit, rules=rules))

    yield {
        f"sweep.{place}.k={k}": job(
            [
                cell(model, arm, k, seed, recipe.lr, decay, "sweep")
                for decay in recipe.decays
                for seed in choosing(recipe.choosing)
            ],
            k,
            "map",
        )
        for place, (model, arm) in enumerate(pairs)
        for k in (1, recipe.k)
    }
    sweep, stage = bench.tables()["map"], {}
    for place, (model, arm) in enumerate(pairs):
        best = best_by(rows_where(sweep, model=model, arm=arm, k=1), "decay")["decay"]
        settings = ((recipe.lr, best), (recipe.lr * recipe.k, best), (recipe.lr, best * recipe.k))
        cells = [
            cell(model, arm, recipe.k, seed, lr, decay, rule)
            for rule, (lr, decay) in zip(RULES, settings)
            for seed in range(recipe.seeds)
        ]
        stage[f"rules.{place}"] = job(cells, recipe.k, "cells")
    yield stage


def claims(model: str, arm: str) -> Judged:
    """Rule 2 is better than Rule 1 and than nothing; the best λ grows as the batch."""

    def gap(other: str) -> Any:
        ours, theirs = (dict(model=model, arm=arm, rule=rule) for rule in ("Rule 2", other))
        return lambda tables: in_points(tables["cells"], ours, theirs)

    return {
        **{
            f"{arm}, {model}, {other}": (
                below(f"{arm}, {model}: Rule 2 minus {other}, points", 0.0),
                gap(other),
            )
            for other in ("nothing", "Rule 1")
        },
        f"{arm}, {model}, λ": (
            within(f"{arm}, {model}: log of the best λ's ratio over log k", 0.75, 1.25),
            lambda tables: exponent(tables, model, arm),
        ),
    }


def exponent(tables: Tables, model: str, arm: str) -> Interval:
    """How the best λ grows with the batch, 1 by Rule 2; 95 % by bootstrap over seeds."""
    large = int(tables["map"]["k"].max())
    small, big = (rows_where(tables["map"], model=model, arm=arm, k=size) for size in (1, large))
    found = decay_ratio_of(big, small)
    unit = float(np.log10(large))
    value, low, high, sd = found.value / unit, found.low / unit, found.high / unit, found.sd / unit
    return Interval(value, low, high, found.n, sd)


@house_style
def draw(tables: Tables, pairs: Sequence[tuple[str, str]]) -> Any:
    """A column a model and arm, a row if it is one: the two sweeps, and the rules at the large."""
    high, wide = (2, len(pairs)) if len(pairs) > 1 else (1, 2)
    size = (4.4 * wide, 3.6 * high)
    fig = need("matplotlib.figure", "lab").Figure(size, layout="constrained")
    axes = fig.subplots(high, wide, squeeze=False).T.reshape(len(pairs), 2)
    large = int(tables["map"]["k"].max())
    for (left, right), (model, arm) in zip(axes, pairs):
        for k, color in zip((1, large), OKABE_ITO):
            rows = rows_where(tables["map"], model=model, arm=arm, k=k)
            decays = np.unique(rows["decay"])
            means = [100 * rows["test"][rows["decay"] == decay].mean() for decay in decays]
            name = "small batch" if k == 1 else f"{large} times as large"
            left.plot(decays, means, "o-", ms=4, color=color, label=name)
        left.set(xscale="log", xlabel=decay_label([arm]), ylabel="test error, %")
        left.set_title(f"{arm}, {NAMES[model]}")
        left.legend()
        for spot, (rule, color) in enumerate(zip(RULES, OKABE_ITO)):
            rows = rows_where(tables["cells"], model=model, arm=arm, rule=rule)
            points = 100 * rows["test"]
            strip(right, spot, points, color)
        right.set_xticks(range(len(RULES)), RULES)
        right.set(ylabel="test error, %", title=f"large batch, n = {len(points)}")
    return fig
