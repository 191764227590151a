"""Every optimizer over one (lr, λ) grid of equal size, then at its own best on other seeds.

An `Arm` is an optimizer and the units of its axes: the paper displays AdamW's λ times 0.001 and
tunes SGDW's at ten times SGD's, so one grid of numbers serves all. Setting and seeds are chosen by
mean validation error; what is reported comes from seeds that chose nothing, paired between arms.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np

from etalambda.lab.engine import Trial, cross_entropy, train
from etalambda.lab.engine.pool import Tick
from etalambda.lab.experiments.parts import HYPER, Job, Tables, columns
from etalambda.lab.models import MODELS
from etalambda.lab.reproduce import Bench, Criterion, Jobs, Recipe, above, below, within
from etalambda.lab.reproduce.cells import (
    Cell,
    best_by,
    choosing,
    in_points,
    labels_of,
    rows_where,
    scores,
)
from etalambda.lab.statistics import Interval, bootstrapped, paired_difference
from etalambda.lab.tasks import Digits
from etalambda.lab.tasks.digits import error
from etalambda.lab.train.schedules import shape
from etalambda.schedule.rule import Rule

STEPS_AN_EPOCH = 12  # 600 images, 50 a step
REPORT = "cells"  # the table of those that report, and so have curves
POINTS = 1.0  # a cell belongs to the basin up to so many points above the best cell of all arms
NOISE = "600 digits with a fifth of the labels wrong, in place of CIFAR"
CNN = "three convolutions with BatchNorm in place of ResNet18"
MLP = "an MLP 64-64-64-10 without normalization in place of VGG16"


@dataclass(frozen=True)
class Arm:
    """An optimizer, and what the grid's numbers are multiplied by for it."""

    optimizer: str
    decay_unit: float = 1.0
    lr_unit: float = 1.0
    hyper: Mapping[str, Any] = field(default_factory=dict)
    untied: bool = False  # equation (1): the lr's schedule does not reach the decay


ARMS: dict[str, Arm] = {
    "Adam": Arm("adam"),
    "AdamW": Arm("adamw", 1e3),
    "AdamS": Arm("adams"),
    "SGD": Arm("sgd"),
    "SGDW": Arm("sgdw", 10.0),
    "SGDS": Arm("sgds"),
    "vanilla SGD": Arm("sgd", lr_unit=10.0, hyper={"momentum": 0.0}),
    "equation (1)": Arm("sgd", lr_unit=10.0, hyper={"momentum": 0.0}, untied=True),
    "equation (2)": Arm("sgd", lr_unit=10.0, hyper={"momentum": 0.0}),
    "Adai": Arm("adai", lr_unit=10.0),
    "AdaiS": Arm("adais", lr_unit=10.0),
}
POWERS = {f"p = {p:g}": Arm("adams", 1e3 ** (1 - 2 * p), hyper={"power": p}) for p in
          (0.0, 0.25, 0.5, 0.75, 1.0)}  # fmt: skip
ARMS |= POWERS
"""By the paper's names. 1e3 is its AdamW factor, 1/√v̄; v̄^p is then 1e3 to the power of -2p."""


@dataclass(frozen=True, kw_only=True)
class Maps(Recipe):
    """Arms, models, the grid in the paper's units, epochs, and how many seeds choose and report.

    ``shape`` of the lr: ``step``, a tenth at 0.4 and 0.8 of the run, or ``cosine-restarts``.
    """

    arms: tuple[str, ...]
    models: tuple[str, ...]
    lrs: tuple[float, ...]
    decays: tuple[float, ...]
    epochs: int
    choosing: int
    seeds: int
    shape: str = "step"
    label_noise: float = 0.2

    def jobs(self, bench: Bench, name: str, cells: Sequence[Cell], table: str) -> dict[str, Job]:
        """How cells of one model and arm are trained: here together, in one part."""
        return {name: job(self, bench, cells, table)}


def cell(recipe: Maps, model: str, arm: str, seed: int, lr: float, decay: float) -> Cell:
    """One network; ``lr`` and ``decay`` in the paper's units, which its labels keep."""
    ours = ARMS[arm]
    rule: Any = shape(recipe.shape, recipe.epochs * STEPS_AN_EPOCH)
    rules: dict[str, Rule] = {"lr": rule}
    if ours.untied:
        rules["weight_decay"] = lambda step: 1 / rule(step)
    trial = Trial(seed, lr * ours.lr_unit, decay * ours.decay_unit, rules=rules)
    return Cell({"model": model, "arm": arm, "eta": lr, "decay": decay}, trial)


def job(recipe: Maps, bench: Bench, cells: Sequence[Cell], table: str) -> Job:
    """Train cells of one model and arm together; what those that report do every epoch too."""
    curves = table == REPORT
    model, arm = cells[0].labels["model"], ARMS[cells[0].labels["arm"]]
    steps = recipe.epochs * STEPS_AN_EPOCH

    def trained(tick: Tick) -> Tables:
        task = Digits(recipe.label_noise, 50, bench.device)
        hyper = {**HYPER.get(arm.optimizer, {}), **arm.hyper}
        left, rows, seen_on_the_way = list(cells), [], []
        for seen in train(
            MODELS[model],
            task.batches,
            [each.trial for each in cells],
            optimizer=arm.optimizer,
            steps=steps,
            every=STEPS_AN_EPOCH,
            device=bench.device,
            **hyper,
        ):
            tick((seen.step / steps + len(rows)) / (len(rows) + 1))
            ours = left[: len(seen.trials)]
            if curves and seen.step:
                seen_on_the_way.append(labels_of(ours) | _progress(seen, task))
            if seen.step == steps:
                rows.append(labels_of(ours) | scores(seen, task))
                left = left[len(ours) :]
        return {table: columns(rows)} | ({"curves": columns(seen_on_the_way)} if curves else {})

    return trained


def _progress(seen: Any, task: Digits) -> dict[str, Any]:
    """Epoch, test error and training loss of every network."""
    outputs, labels = seen.predict(task.x["train"]), task.y["train"]
    losses = cross_entropy(outputs, labels.expand(len(outputs), -1)).double().cpu().numpy()
    test = error(seen.predict(task.x["test"]), task.y["test"]).numpy()
    return dict(epoch=seen.step // STEPS_AN_EPOCH, train_loss=losses, test=test)


def measure(recipe: Maps, bench: Bench) -> Iterable[Jobs]:
    """The map of each model and arm; then each arm at its best."""
    pairs = list(product(recipe.models, recipe.arms))
    stage: dict[str, Job] = {}
    for place, (model, arm) in enumerate(pairs):
        for lr in recipe.lrs:
            cells = [
                cell(recipe, model, arm, seed, lr, decay)
                for decay in recipe.decays
                for seed in choosing(recipe.choosing)
            ]
            stage |= recipe.jobs(bench, f"map.{place}.lr={lr:g}", cells, "map")
    yield stage
    maps, stage = bench.tables()["map"], {}
    for place, (model, arm) in enumerate(pairs):
        best = best_by(rows_where(maps, model=model, arm=arm), "eta", "decay")
        cells = [
            cell(recipe, model, arm, seed, best["eta"], best["decay"])
            for seed in range(recipe.seeds)
        ]
        stage |= recipe.jobs(bench, f"report.{place}", cells, REPORT)
    yield stage


def gap(tables: Tables, model: str, ours: str, theirs: str) -> Interval:
    """Test error of one arm at its best minus another's at its best, in points."""
    return in_points(tables["cells"], dict(model=model, arm=ours), dict(model=model, arm=theirs))


def errors(tables: Tables, model: str, arm: str, part: str = "val") -> np.ndarray:
    """Errors of a map in points, (lrs, decays, choosing seeds)."""
    return in_order(rows_where(tables["map"], model=model, arm=arm), part)


def in_order(rows: Mapping[str, np.ndarray], part: str = "val") -> np.ndarray:
    """Errors of the rows of one arm in points, (lrs, decays, seeds)."""
    order = np.lexsort((rows["seed"], rows["decay"], rows["lr"]))
    sizes = [len(np.unique(rows[name])) for name in ("lr", "decay", "seed")]
    return 100 * rows[part][order].reshape(sizes)


def basin_gap(tables: Tables, model: str, ours: str, theirs: str, arms: Sequence[str]) -> Interval:
    """How much larger a share of one map lies within `POINTS` of the best cell of all arms."""
    every = {arm: errors(tables, model, arm) for arm in arms}

    def difference(chosen: np.ndarray) -> float:
        means = {arm: each[..., chosen].mean(-1) for arm, each in every.items()}
        level = min(mean.min() for mean in means.values()) + POINTS
        return float((means[ours] <= level).mean() - (means[theirs] <= level).mean())

    return bootstrapped(difference, every[ours].shape[-1])


def decay_ratio(tables: Tables, model: str, ours: str, theirs: str) -> Interval:
    """log10 of the best λ of one arm over another's, each in its optimizer's own numbers."""
    rows = [rows_where(tables["map"], model=model, arm=arm) for arm in (ours, theirs)]
    units = np.log10([ARMS[arm].decay_unit for arm in (ours, theirs)])
    return decay_ratio_of(*rows, shift=float(units[0] - units[1]))


def decay_ratio_of(
    ours: Mapping[str, np.ndarray], theirs: Mapping[str, np.ndarray], shift: float = 0.0
) -> Interval:
    """log10 of the best λ of some rows of a map over that of others, plus a shift."""
    grid, every = np.unique(ours["decay"]), [in_order(rows) for rows in (ours, theirs)]

    def ratio(chosen: np.ndarray) -> float:
        best = [each[..., chosen].mean(-1).min(0).argmin() for each in every]
        return float(np.log10(grid[best[0]]) - np.log10(grid[best[1]]) + shift)

    return bootstrapped(ratio, every[0].shape[-1])


def mean_gap(tables: Tables, model: str, ours: str, theirs: str) -> Interval:
    """Test error of one arm minus another's, averaged over the grid, in points, by seed."""
    both = [errors(tables, model, arm, "test").mean((0, 1)) for arm in (ours, theirs)]
    return paired_difference(*both)


def late_gap(tables: Tables, model: str, ours: str, theirs: str, column: str) -> Interval:
    """Mean over the last fifth of the epochs, ours minus theirs, paired by seed.

    ``test`` in points; ``train_loss`` as the logarithm of the ratio.
    """
    both = []
    for arm in (ours, theirs):
        rows = rows_where(tables["curves"], model=model, arm=arm)
        late = rows["epoch"] > 0.8 * rows["epoch"].max()
        seeds = np.unique(rows["seed"])
        means = np.array([rows[column][late & (rows["seed"] == seed)].mean() for seed in seeds])
        both.append(100 * means if column == "test" else np.log(means))
    return paired_difference(*both)


Judged = dict[str, tuple[Criterion, Callable[[Tables], Interval]]]
"""Name -> the criterion, and how its number is found."""


def judged(each: Judged) -> dict[str, Any]:
    """``criteria`` and ``estimate`` of a `Figure`."""
    return dict(
        criteria={name: criterion for name, (criterion, _) in each.items()},
        estimate=lambda tables: {name: find(tables) for name, (_, find) in each.items()},
    )


def better(model: str, ours: str, theirs: str) -> Judged:
    """That an arm at its best errs less than another at its best."""
    says = f"{ours} minus {theirs}, {model}, each tuned, points"
    return {
        f"{ours} - {theirs}, {model}": (
            below(says, 0.0),
            lambda tables: gap(tables, model, ours, theirs),
        )
    }


def decays_apart(model: str, ours: str, theirs: str, low: float, high: float) -> Judged:
    """That the best λ of two arms are so many powers of ten apart."""
    says = f"log10 of the best λ of {ours} over that of {theirs}, {model}"
    return {
        f"λ, {ours} / {theirs}, {model}": (
            within(says, low, high),
            lambda tables: decay_ratio(tables, model, ours, theirs),
        )
    }


def wider(model: str, ours: str, theirs: str, arms: Sequence[str]) -> Judged:
    """That a larger share of one map is basin."""
    says = f"share of cells within {POINTS:g} point of the best cell, {ours} minus {theirs}"
    return {
        f"basin, {ours} - {theirs}": (
            above(says, 0.0),
            lambda tables: basin_gap(tables, model, ours, theirs, arms),
        )
    }
