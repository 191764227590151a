"""Experiment E12: is the weight decay that is best for pretraining best for what comes after?

A network learns digits 0 to 4, a fifth of them labelled wrong, at several decay budgets K; then its
body, with a new last layer and no decay, learns 5 to 9 from a few clean pictures. More decay may
leave it more plastic: then the best K for fine-tuning lies above the best for pretraining. Both,
and the lr of fine-tuning for each K, are chosen on seeds of their own.

Departures from the paper: none of the papers tested this; arXiv 2602.11137 did, on language models.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any

import numpy as np
import torch
from torch import Tensor

from etalambda.lab.engine import Feed, Snapshot, Trial, cross_entropy
from etalambda.lab.engine.many import Many
from etalambda.lab.engine.pool import Tick
from etalambda.lab.experiments.parts import Tables, columns
from etalambda.lab.figures.style import OKABE_ITO, figure, house_style
from etalambda.lab.models import SmallCNN, Stacked
from etalambda.lab.reproduce import Bench, Figure, Jobs, Recipe, above
from etalambda.lab.reproduce.cells import CHOOSING, best_by, by_seed, choosing, rows_where
from etalambda.lab.statistics import Interval, bootstrapped, paired_difference
from etalambda.lab.tasks import Digits
from etalambda.lab.tasks.digits import error
from etalambda.lab.tasks.passes import permutation, shuffled
from etalambda.schedule import cosine

CLASSES = 5
NET = partial(SmallCNN, classes=CLASSES)
LR = 5e-3  # of pretraining
TUNING = (3e-3, 1e-2, 3e-2)  # lrs of fine-tuning
SCRATCH = -1.0  # the budget of a body that was not pretrained
Part = dict[str, tuple[Tensor, Tensor]]


@dataclass(frozen=True, kw_only=True)
class Plastic(Recipe):
    """Budgets of pretraining, epochs of both, pictures a class, and how many seeds choose."""

    budgets: tuple[float, ...]
    epochs: int
    tuning_epochs: int
    pictures: int
    choosing: int
    seeds: int
    label_noise: float = 0.2


def measure(recipe: Plastic, bench: Bench) -> list[Jobs]:
    """One part: pretraining at every K, and fine-tuning from each."""
    return [{"all": _job(recipe, bench)}]


def _job(recipe: Plastic, bench: Bench) -> Any:
    def job(tick: Tick) -> Tables:
        old, new = (halves(recipe.label_noise, bench.device, late) for late in (False, True))
        seeds = [*range(recipe.seeds), *choosing(recipe.choosing)]
        cells = list(product((SCRATCH, *recipe.budgets), seeds))
        before, nets = _pretrained(recipe, old, cells, tick)
        rows = []
        for i, lr in enumerate(TUNING):
            after = _tuned(recipe, new, cells, nets, lr)
            about = {"budget": [K for K, _ in cells], "seed": [s for _, s in cells], "lr": lr}
            rows.append(about | _errors("old", before, old) | _errors("new", after, new))
            tick((i + 2) / 4)
        return {"cells": columns(rows)}

    return job


def halves(noise: float, device: str, late: bool) -> Part:
    """The pictures of 0 to 4 with wrong labels among them, or those of 5 to 9, clean, as 0 to 4."""
    task, found = Digits(0.0, device=device), {}
    for split, x in task.x.items():
        ours = (task.y[split] >= CLASSES) == late
        found[split] = (x[ours], task.y[split][ours] % CLASSES)
    if not late:
        x, y = found["train"]
        wrong, shift = torch.Generator().manual_seed(1), torch.Generator().manual_seed(2)
        chosen = torch.randperm(len(y), generator=wrong) < round(noise * len(y))
        shifts = torch.randint(1, CLASSES, (len(y),), generator=shift)
        found["train"] = (x, (y + (chosen * shifts).to(y)) % CLASSES)
    return found


def _pretrained(
    recipe: Plastic, old: Part, cells: Sequence[tuple[float, int]], tick: Tick
) -> tuple[Snapshot, Stacked]:
    """Networks at every K and seed, as they are after pretraining; scratch ones in any state."""
    x, y = old["train"]
    size = 50
    per_epoch = len(x) // size
    steps = recipe.epochs * per_epoch
    rule = cosine(steps)
    unit = LR * sum(rule(step) for step in range(steps))
    trials = [Trial(seed, LR, max(K, 0.0) / unit, rules={"lr": rule}) for K, seed in cells]

    def order(seed: int, epoch: int) -> Tensor:
        return permutation(len(x), seed, epoch)

    feed = shuffled(x, y, trials, size, per_epoch, order)
    nets = Stacked.build(NET, [trial.seed for trial in trials], device=x.device)
    seen = _train(nets, trials, feed, steps, lambda share: tick(share / 4))
    return seen, nets


def _tuned(
    recipe: Plastic,
    new: Part,
    cells: Sequence[tuple[float, int]],
    nets: Stacked,
    lr: float,
) -> Snapshot:
    """Each body under a new last layer, trained on the few pictures that its seed draws."""
    x, y = new["train"]
    size, count = 10, recipe.pictures * CLASSES
    steps = recipe.tuning_epochs * (count // size)
    trials = [Trial(seed, lr, rules={"lr": cosine(steps)}) for _, seed in cells]
    shares = {seed: few(y, recipe.pictures, seed) for _, seed in cells}

    def order(seed: int, epoch: int) -> Tensor:
        return shares[seed][permutation(count, seed, epoch)]

    feed = shuffled(x, y, trials, size, count // size, order)
    # another draw than that of pretraining, whose head has the same shape
    fresh = Stacked.build(NET, [seed + 10**6 for _, seed in cells], device=x.device)
    scratch = torch.tensor([K == SCRATCH for K, _ in cells], device=x.device)
    last = {name for name in fresh.names if name.startswith("head")}
    fresh.params = [
        own if name in last else torch.where(scratch.view(-1, *[1] * (own.dim() - 1)), own, body)
        for name, own, body in zip(fresh.names, fresh.params, nets.params)
    ]
    return _train(fresh, trials, feed, steps, lambda share: None)


def few(y: Tensor, pictures: int, seed: int) -> Tensor:
    """The rows of some pictures of each class, drawn by the seed.

    >>> rows = few(torch.arange(50) % 5, 2, seed=0)
    >>> (rows % 5).bincount().tolist()
    [2, 2, 2, 2, 2]
    """
    mixed = permutation(len(y), seed, -1)
    labels = y.cpu()[mixed]
    return torch.cat([mixed[labels == label][:pictures] for label in range(CLASSES)])


def _train(
    nets: Stacked,
    trials: Sequence[Trial],
    feed: Feed,
    steps: int,
    tick: Callable[[float], None],
) -> Snapshot:
    """Train in place; what is seen at the end."""
    many = Many(nets, trials, feed, cross_entropy, "adamw", steps)
    for seen in many.run(max(1, steps // 10)):
        tick(seen.step / steps)
    return seen


def _errors(name: str, seen: Snapshot, part: Part) -> dict[str, np.ndarray]:
    """Validation and test errors in points."""
    return {
        f"{name}_{split}": 100 * error(seen.predict(x), y).numpy()
        for split, (x, y) in part.items()
        if split != "train"
    }


def at_best_lr(cells: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """One row a K and seed: that of the fine-tuning lr which the choosing seeds prefer there."""
    kept = []
    for K in np.unique(cells["budget"]):
        here = rows_where(cells, budget=K)
        chosen = {name: column[here["seed"] >= CHOOSING] for name, column in here.items()}
        lr = best_by(chosen | {"val": chosen["new_val"]}, "lr")["lr"]
        kept.append(rows_where(here, lr=lr))
    return {name: np.concatenate([part[name] for part in kept]) for name in cells}


def errors(table: Mapping[str, np.ndarray], column: str, choose: bool) -> np.ndarray:
    """(K, seeds) of one column, in order; of the seeds that choose, or of the others."""
    ours = {n: c[(table["seed"] >= CHOOSING) == choose] for n, c in table.items()}
    by_K = [rows_where(ours, budget=K) for K in np.unique(ours["budget"]) if K >= 0]
    return np.stack([by_seed(rows, column) for rows in by_K])


def shift(table: Mapping[str, np.ndarray]) -> Interval:
    """Steps of the grid from the best K for pretraining to that for fine-tuning, by validation."""
    both = [
        np.concatenate([errors(table, f"{name}_val", choose) for choose in (True, False)], 1)
        for name in ("new", "old")
    ]

    def apart(chosen: np.ndarray) -> float:
        new, old = (errors[:, chosen].mean(1).argmin() for errors in both)
        return float(new - old)

    return bootstrapped(apart, both[0].shape[1])


def estimate(tables: Tables) -> Mapping[str, Interval]:
    """How far the two best K are apart, what it costs, and what pretraining is worth."""
    table = at_best_lr(tables["cells"])
    new, old = (errors(table, f"{name}_val", True).mean(1).argmin() for name in ("new", "old"))
    reported = errors(table, "new_test", False)
    scratch = rows_where(table, budget=SCRATCH)
    scratch = {n: c[scratch["seed"] < CHOOSING] for n, c in scratch.items()}
    alone = by_seed(scratch, "new_test")
    return {
        "shift": shift(table),
        "cost": paired_difference(reported[old], reported[new]),
        "control": paired_difference(alone, reported[new]),
    }


@house_style
def draw(tables: Tables) -> Any:
    """Test errors after pretraining and after fine-tuning against K, means and standard errors."""
    fig, axes = figure(9.5, 4.0, 2)
    table = at_best_lr(tables["cells"])
    ours = {name: column[table["seed"] < CHOOSING] for name, column in table.items()}
    budgets = np.unique(ours["budget"][ours["budget"] >= 0])
    n = len(np.unique(ours["seed"]))
    names = {"old": "pretraining, digits 0 to 4", "new": "fine-tuning, digits 5 to 9"}
    for axis, (name, label), color in zip(axes, names.items(), OKABE_ITO):
        values = errors(table, f"{name}_test", False)
        bars = values.std(1, ddof=1) / n**0.5
        axis.errorbar(range(len(budgets)), values.mean(1), bars, fmt="o-", color=color)
        axis.set_xticks(range(len(budgets)), [f"{K:g}" for K in budgets])
        axis.set(xlabel="K of pretraining", ylabel="test error, %", ylim=(0, None))
        axis.set_title(f"{label}, n = {n}")
    scratch = rows_where(ours, budget=SCRATCH)["new_test"].mean()
    axes[1].axhline(scratch, ls="--", color="0.5", lw=1.2, label="without pretraining")
    axes[1].legend(fontsize=8)
    return fig


FIGURE = Figure(
    "parttwo-e12",
    shows="Part II, E12",
    claim="Fine-tuning wants more decay in pretraining than pretraining itself does.",
    criteria={
        "shift": above("rank on the grid of the best K for fine-tuning minus for pretraining", 1),
        "cost": above("fine-tuning from pretraining's best K minus its own best, points", 0.5),
        "control": above("fine-tuning without pretraining minus with it, points", 1.0),
    },
    recipes={
        "smoke": Plastic(
            minutes=0.1, budgets=(0.0, 0.1, 1.0), epochs=1, tuning_epochs=1, pictures=4,
            choosing=1, seeds=2, departures=("one epoch, two seeds",),
        ),
        "cpu": Plastic(
            minutes=1,
            budgets=(0.0, 0.1, 0.3, 1.0, 3.0),
            epochs=40,
            tuning_epochs=40,
            pictures=4,
            choosing=8,
            seeds=16,
            departures=("8x8 digits, a small CNN, four pictures a class to fine-tune on",),
        ),
    },
    measure=measure,
    estimate=estimate,
    draw=draw,
)  # fmt: skip
