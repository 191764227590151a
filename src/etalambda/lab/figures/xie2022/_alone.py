"""Optimizers by their own classes, one network at a time: what Tables 1 and 2 compare.

Every arm has one lr, as in the paper, and a grid of five λ around the paper's; λ is chosen by mean
validation error, and the test error is that of the same networks (test images chose nothing).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, ClassVar

import numpy as np

from etalambda.lab.engine.pool import Tick
from etalambda.lab.experiments.parts import Job, Tables, columns
from etalambda.lab.figures.style import OKABE_ITO, figure, house_style, plain_log_ticks, strip
from etalambda.lab.figures.xie2022._maps import Judged
from etalambda.lab.reproduce import Bench, Jobs, Recipe, below
from etalambda.lab.reproduce.alone import evaluated, trained
from etalambda.lab.reproduce.cells import GUESS, best_by, by_seed, rows_where
from etalambda.lab.statistics import Interval, paired_difference
from etalambda.lab.train import TrainConfig

ARMS = {
    "SGD": "sgd", "AdamS": "adams", "Adam": "adam", "AMSGrad": "amsgrad", "AdamW": "adamw",
    "AdaBound": "adabound", "Padam": "padam", "Yogi": "yogi", "RAdam": "radam",
}  # fmt: skip
"""The columns of Table 1, and the names that `etalambda train` has for them."""
OWN_LR = {"SGD": 100.0, "Padam": 10.0}
"""The paper's learning rates over that of Adam: 0.1 and 0.01 over 0.001."""


@dataclass(frozen=True, kw_only=True)
class Alone(Recipe):
    """Arms, the task and network of `TrainConfig`, Adam's lr, λ in the paper's units, seeds.

    ``sgd`` is what SGD's lr is over Adam's; AdamW's λ is a thousand times the others'.
    """

    arms: tuple[str, ...]
    task: str
    model: str
    epochs: int
    batch_size: int
    validation: int
    lr: float
    decays: tuple[float, ...]
    seeds: int
    sgd: float = OWN_LR["SGD"]
    label_noise: float = 0.0
    amp: str = ""

    scored: ClassVar[tuple[str, str]] = ("val_error", "test_error")
    """Columns of a run's summary: what chooses λ, and what is reported."""

    def more(self) -> dict[str, Any]:
        """What else `TrainConfig` is told."""
        return {}


def config(recipe: Alone, bench: Bench, arm: str, decay: float, seed: int) -> TrainConfig:
    """One run. The paper decays all parameters, and divides the lr by 10 at 0.4 and 0.8."""
    own = recipe.sgd if arm == "SGD" else OWN_LR.get(arm, 1.0)
    return TrainConfig(
        task=recipe.task,
        data_dir=str(bench.data or ""),
        model=recipe.model,
        optimizer=ARMS[arm],
        epochs=recipe.epochs,
        batch_size=recipe.batch_size,
        validation=recipe.validation,
        label_noise=recipe.label_noise,
        lr=recipe.lr * own,
        weight_decay=decay * (1000 if arm == "AdamW" else 1),
        decay="all",
        lr_schedule="step",
        seed=seed,
        device=bench.device,
        amp=recipe.amp,
        channels_last=bool(recipe.amp),
        monitor_every=10**9,
        evaluate_every=max(1.0, recipe.epochs / 15),
        **recipe.more(),
    )


def measure(recipe: Alone, bench: Bench) -> list[Jobs]:
    """A part a run on a large network, a part all seeds of a cell on digits."""
    together = recipe.seeds if recipe.task == "digits" else 1
    return [
        {
            f"{arm}.decay={decay:g}.seed={seeds[0]}": _job(recipe, bench, arm, decay, seeds)
            for arm, decay in product(recipe.arms, recipe.decays)
            for seeds in np.arange(recipe.seeds).reshape(-1, together).tolist()
        }
    ]


def _job(recipe: Alone, bench: Bench, arm: str, decay: float, seeds: Sequence[int]) -> Job:
    def job(tick: Tick) -> Tables:
        cells, curves = [], []
        for done, seed in enumerate(seeds):
            told = lambda share, done=done: tick((done + share) / len(seeds))  # noqa: E731
            ours = config(recipe, bench, arm, decay, seed)
            result = trained(ours, bench, f"{arm}.{decay:g}.{seed}", told)
            label = dict(arm=arm, decay=decay, seed=seed)
            last = {name: values[0] for name, values in result.summary.items()}
            val, test = (last[name] for name in recipe.scored)
            lost = bool(last["diverged"]) or not np.isfinite(test)
            cells.append(label | dict(val=GUESS if lost else val, test=GUESS if lost else test))
            rows = evaluated(result.metrics, recipe.scored[1], "epoch", "train_loss")
            curves.append(label | rows)
        return {"cells": columns(cells), "curves": columns(curves)}

    return job


def at_best(tables: Tables, arm: str, table: str = "cells") -> dict[str, np.ndarray]:
    """The rows of an arm at its best λ; none if it was not run."""
    cells = rows_where(tables["cells"], arm=arm)
    if not len(cells["seed"]):
        return cells
    return rows_where(tables[table], arm=arm, **best_by(cells, "decay"))


def gap(tables: Tables, ours: str, theirs: str) -> Interval:
    """Test error of one arm minus another's, in points, paired by seed."""
    both = [at_best(tables, arm) for arm in (ours, theirs)]
    if not all(len(rows["seed"]) for rows in both):
        return Interval(*(float("nan"),) * 3, n=0)
    return paired_difference(*(100 * by_seed(rows) for rows in both))


def better(ours: str, theirs: str, margin: float = 0.0, unit: str = "points") -> Judged:
    """That an arm errs less than another, each at its best λ."""
    says = f"{ours} minus {theirs}, each at its best λ, {unit}"
    return {f"{ours} - {theirs}": (below(says, margin), lambda tables: gap(tables, ours, theirs))}


def arms_of(tables: Tables) -> list[str]:
    """The arms that were run, in the table's order."""
    return [arm for arm in ARMS if (tables["cells"]["arm"] == arm).any()]


@house_style
def draw(tables: Tables, label: str = "test error, %") -> Any:
    """Test error against λ, and every seed at the best λ."""
    fig, (left, right) = figure(12.0, 4.2, 2)
    arms = arms_of(tables)
    for place, (arm, color) in enumerate(zip(arms, OKABE_ITO)):
        rows = rows_where(tables["cells"], arm=arm)
        decays = np.unique(rows["decay"])
        means = [100 * rows["test"][rows["decay"] == decay].mean() for decay in decays]
        left.plot(decays, means, "o-", ms=4, color=color, label=arm)
        points = 100 * at_best(tables, arm)["test"]
        strip(right, place, points, color)
        right.annotate(f"{points.mean():.2f}", (place, points.max()), (0, 4),
                       textcoords="offset points", ha="center", fontsize=8)  # fmt: skip
    left.set(xscale="log", xlabel="weight decay, AdamW's times 0.001", ylabel=label)
    left.set(yscale="log", title=f"test error against λ, n = {len(points)}")
    plain_log_ticks(left.yaxis, (1, 2, 3, 5, 7))
    left.legend(ncols=2, fontsize=8)
    right.set_xticks(range(len(arms)), arms, fontsize=8)
    right.set(ylabel=label, title=f"at the best λ of each, n = {len(points)}")
    return fig


@house_style
def draw_curves(tables: Tables) -> Any:
    """Test error and training loss by epoch, every arm at its best λ, mean of the seeds."""
    fig, axes = figure(11.0, 4.2, 2)
    for arm, color in zip(arms_of(tables), OKABE_ITO):
        rows = at_best(tables, arm, "curves")
        epochs = np.unique(rows["epoch"])
        for axis, name, unit in ((axes[0], "test_error", 100), (axes[1], "train_loss", 1)):
            means = [unit * rows[name][rows["epoch"] == epoch].mean() for epoch in epochs]
            axis.plot(epochs, means, color=color, label=arm)
    axes[0].set(xlabel="epoch", ylabel="test error, %", yscale="log")
    axes[1].set(xlabel="epoch", ylabel="training loss")
    plain_log_ticks(axes[0].yaxis, (1, 1.5, 2, 3, 5, 7))
    axes[0].legend(ncols=2, fontsize=8)
    return fig
