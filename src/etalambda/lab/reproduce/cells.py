"""Labelled networks trained together on digits, chosen on some seeds, compared on others.

A `Cell` is one network with the labels of its row in the table. λ and lr are chosen by mean
validation error on `CHOOSING` seeds, which report nothing; methods are then compared on other,
paired seeds. A network that diverged errs as often as a guess among ten classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from etalambda.lab.engine import Snapshot, Trial, cross_entropy, train
from etalambda.lab.engine.pool import Tick
from etalambda.lab.experiments.map import diverged
from etalambda.lab.experiments.parts import HYPER, Job, Tables, columns
from etalambda.lab.models import MODELS
from etalambda.lab.statistics import Interval, paired_difference
from etalambda.lab.tasks import Digits
from etalambda.lab.tasks.digits import error

CHOOSING = 1001  # the first seed that chooses; seeds that report start at 0
GUESS = 0.9


@dataclass(frozen=True)
class Cell:
    """One network, and what its row says of it beside seed, lr and weight_decay."""

    labels: Mapping[str, Any]
    trial: Trial


def digits_job(
    cells: Sequence[Cell],
    *,
    model: str | Callable[[], nn.Module],
    optimizer: str,
    epochs: int,
    label_noise: float,
    device: str,
    batch_size: int = 50,
    table: str = "cells",
    hyper: Mapping[str, Any] | None = None,
    trace: bool = False,
) -> Job:
    """Train the cells together on the digits; a row each: labels, val, test, K, norm, diverged.

    With ``trace`` a second table, ``traces``, keeps K after every step.
    """

    def job(tick: Tick) -> Tables:
        task = Digits(label_noise, batch_size, device)
        steps = epochs * task.steps_per_epoch
        seen = train(
            MODELS[model] if isinstance(model, str) else model,
            task.batches,
            [cell.trial for cell in cells],
            optimizer=optimizer,
            steps=steps,
            every=1 if trace else max(1, steps // 50),
            device=device,
            **(HYPER.get(optimizer, {}) if hyper is None else hyper),
        )
        rows, spent = [], []
        for ours, snapshot in along(seen, cells, steps, tick):
            if trace:
                spent.append(labels_of(ours) | dict(step=snapshot.step, K=snapshot.K.numpy()))
            if snapshot.step == steps:
                rows.append(labels_of(ours) | scores(snapshot, task))
        return {table: columns(rows)} | ({"traces": columns(spent)} if trace else {})

    return job


def along(
    seen: Iterable[Snapshot], cells: Sequence[Cell], steps: int, tick: Tick
) -> Iterator[tuple[Sequence[Cell], Snapshot]]:
    """Every snapshot of a training with its cells, chunk after chunk; ticks on the way."""
    done = 0
    for snapshot in seen:
        ours = cells[done : done + len(snapshot.trials)]
        tick((done + snapshot.step / steps * len(ours)) / len(cells))
        yield ours, snapshot
        if snapshot.step == steps:
            done += len(ours)


def labels_of(cells: Sequence[Cell]) -> dict[str, Any]:
    """The labels, seeds, lrs and decays of cells as columns."""
    row: dict[str, Any] = {}
    for name, value in cells[0].labels.items():
        kind = object if isinstance(value, str) else None
        row[name] = np.array([cell.labels[name] for cell in cells], dtype=kind)
    for name in ("seed", "lr", "weight_decay"):
        row[name] = np.array([getattr(cell.trial, name) for cell in cells])
    return row


def scores(seen: Snapshot, task: Digits) -> dict[str, Any]:
    """Errors on validation and test images, K, norm, and who diverged."""
    lost = diverged(seen)
    parts = {
        name: np.where(lost, GUESS, error(seen.predict(task.x[part]), task.y[part]).numpy())
        for name, part in (("val", "val"), ("test", "test"))
    }
    return parts | dict(K=seen.K.numpy(), norm=seen.norm.numpy(), diverged=lost)


@torch.no_grad()
def losses(
    seen: Snapshot, parts: Mapping[str, tuple[Tensor, Tensor]], rows: int = 256
) -> dict[str, np.ndarray]:
    """Mean cross-entropy of each part's inputs and targets, by name; ``rows`` at a time."""
    found = {}
    for name, (x, y) in parts.items():
        sums = [
            cross_entropy(out := seen.predict(a), b.expand(len(out), *b.shape)).double() * len(a)
            for a, b in zip(x.split(rows), y.split(rows))
        ]
        found[name] = (torch.stack(sums).sum(0) / len(x)).cpu().numpy()
    return found


def rows_where(table: Mapping[str, np.ndarray], **values: Any) -> dict[str, np.ndarray]:
    """The rows whose columns have these values."""
    size = len(next(iter(table.values())))
    chosen = np.ones(size, dtype=bool)
    for name, value in values.items():
        chosen &= table[name] == value
    return {name: column[chosen] for name, column in table.items()}


def best_by(table: Mapping[str, np.ndarray], *names: str) -> dict[str, float]:
    """The setting with the lowest mean ``val``, as name -> value; ties go to the first."""
    settings = list(zip(*(table[name].tolist() for name in names)))
    means = {
        setting: float(np.mean([v for s, v in zip(settings, table["val"]) if s == setting]))
        for setting in dict.fromkeys(settings)
    }
    return dict(zip(names, min(means, key=means.__getitem__)))


def by_seed(rows: Mapping[str, np.ndarray], column: str = "test") -> np.ndarray:
    """A column in the order of the seeds, so that two settings are paired.

    >>> by_seed({"seed": np.array([1, 0]), "test": np.array([0.2, 0.1])}).tolist()
    [0.1, 0.2]
    """
    return rows[column][np.argsort(rows["seed"])]


def in_points(
    table: Mapping[str, np.ndarray], ours: Mapping[str, Any], theirs: Mapping[str, Any]
) -> Interval:
    """Test error of one method minus another's in points, paired by seed, with 95 % interval."""
    both = []
    for chosen in (ours, theirs):
        rows = rows_where(table, **chosen)
        both.append(100 * by_seed(rows))
    return paired_difference(*both)


def choosing(count: int) -> range:
    """The seeds that choose."""
    return range(CHOOSING, CHOOSING + count)
