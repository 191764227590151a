"""Ways of scheduling weight decay on one task at one lr, each with its own λ, on paired seeds.

All lrs fall along a cosine. A method's λ is chosen by mean validation error from one grid, on seeds
that are not used again; grid point j gives every method the same budget K = Σ lr · λ · gain as
constant decay with the j-th λ, where K is known beforehand. It is not for matched annealing (the
loss decides) and AdamS (its second moment does): these take λ itself. The sphere has a radius to
choose instead. Then all methods are trained anew on ``seeds`` other, paired seeds: at their own
choice (role ``tuned``), and at constant decay's λ, whatever K that is (role ``common``).

Tables: ``summary`` (method, weight_decay, radius, role, seed, val_error, test_error, K, norm,
diverged) and ``metrics``, the curves of the tuned networks (method, weight_decay, seed, step, K,
lr, lam, train_loss, val_error, norm, effective_lr). Errors are shares.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from etalambda.lab.configs import CompareConfig
from etalambda.lab.engine import Snapshot, Trial
from etalambda.lab.engine.pool import Tick
from etalambda.lab.experiments.map import digits_task, diverged, error_of, train_digits
from etalambda.lab.experiments.parts import HYPER, Progress, Tables, columns, record_all
from etalambda.lab.records import Run, read
from etalambda.lab.tasks import Digits
from etalambda.schedule import MatchedAnnealing, cosine, cosine_restarts
from etalambda.theory import budget

CHOOSING = tuple(range(1001, 1009))  # seeds that choose λ and report nothing
RADII = (0.5, 1.0, 1.5, 2.0, 3.0)  # of the sphere, in initial norms: as many as there are λ


@dataclass(frozen=True)
class Method:
    """A way of decaying: its optimizer, and the rule for λ from steps and steps per epoch."""

    name: str
    optimizer: str = "sgd"
    rule: Callable[[int, int], Any] | None = None
    planned: bool = True  # whether K is known before training
    decays: bool = True
    sphere: bool = False
    two_step: str | None = None


METHODS: tuple[Method, ...] = (
    Method("constant"),
    Method("no decay", decays=False),
    Method("matched annealing", rule=lambda _, epoch: MatchedAnnealing(epoch), planned=False),
    Method("coupled to lr", rule=lambda steps, _: cosine(steps)),  # λ ∝ lr, which is a cosine
    Method("cosine restarts", rule=lambda steps, _: cosine_restarts(steps / 4)),
    Method("two-step", rule=lambda steps, _: cosine(steps), two_step="relative"),
    Method("sphere", decays=False, sphere=True),
    Method("AdamW", optimizer="adamw"),
    Method("AdamS", optimizer="adams", planned=False),
)


@dataclass(frozen=True)
class Cell:
    """One network to train: a method at a point of its grid."""

    method: Method
    seed: int
    weight_decay: float
    radius: float
    role: str


def run(config: CompareConfig, run: Run, progress: Progress) -> None:
    """Choose every method's λ, then train all on the paired seeds; recorded parts are skipped.

    Args:
        config: lr, grid, seeds, epochs, task and model.
        run: The open record.
        progress: Called with (parts done, parts, text).
    """
    grid = {m.name: grid_of(config, m) for m in METHODS}
    cells = [
        Cell(m, seed, *point, "grid")
        for m in METHODS
        for seed in CHOOSING
        for point in grid[m.name]
    ]
    record_all(run, _jobs(config, cells), progress, "compare: choosing λ", config.device)
    best = choose(read(run.folder).tables["summary"])
    common = best["constant"][0]
    cells = []
    for method in METHODS:
        weight_decay, radius = best[method.name]
        at_common = common if method.decays else 0.0
        for seed in range(config.seeds):
            cells.append(Cell(method, seed, weight_decay, radius, "tuned"))
            cells.append(Cell(method, seed, at_common, radius, "common"))
    text = f"compare: {len(METHODS)} methods x {config.seeds} seeds"
    record_all(run, _jobs(config, cells), progress, text, config.device)
    run.finish()


def grid_of(config: CompareConfig, method: Method) -> list[tuple[float, float]]:
    """The (weight_decay, radius) points that a method may choose from; NaN is no sphere."""
    none = float("nan")
    if method.sphere:
        return [(0.0, radius) for radius in RADII]
    if not method.decays:
        return [(0.0, none)]
    if not method.planned:
        return [(decay, none) for decay in config.weight_decays]
    ratio = planned_budget(config, METHODS[0]) / planned_budget(config, method)
    return [(decay * ratio, none) for decay in config.weight_decays]


def planned_budget(config: CompareConfig, method: Method) -> float:
    """K of a method at base λ = 1: Σ lr · factor · gain."""
    steps, epoch = steps_of(config)
    shape = cosine(steps)
    factor = method.rule(steps, epoch) if method.rule else lambda step: 1.0
    momentum = HYPER.get(method.optimizer, {}).get("momentum", 0.0)
    gain = budget.gain(budget.form(method.optimizer), momentum=momentum)
    return lr_of(config, method) * gain * sum(shape(i) * factor(i) for i in range(steps))


def steps_of(config: CompareConfig) -> tuple[int, int]:
    """Steps of the run and of an epoch."""
    epoch = digits_task(config).steps_per_epoch
    return config.epochs * epoch, epoch


def lr_of(config: CompareConfig, method: Method) -> float:
    """The peak lr: Adam's own for the Adam family."""
    return config.adam_lr if method.optimizer.startswith("adam") else config.lr


def choose(summary: dict[str, np.ndarray]) -> dict[str, tuple[float, float]]:
    """Method -> the point of its grid with the lowest mean validation error.

    A point with a diverged network is not chosen, unless there is no other.
    """
    chosen = {}
    ours = summary["role"] == "grid"
    for name in dict.fromkeys(summary["method"][ours]):
        here = ours & (summary["method"] == name)
        points = list(zip(summary["weight_decay"][here], summary["radius"][here]))
        errors = summary["val_error"][here]
        by_point: dict[tuple[str, str], list[int]] = {}
        for i, point in enumerate(points):  # text, because NaN equals no NaN
            by_point.setdefault((repr(float(point[0])), repr(float(point[1]))), []).append(i)
        means = {key: np.nan_to_num(errors[rows], nan=2.0).mean() for key, rows in by_point.items()}
        decay, radius = min(means, key=means.__getitem__)
        chosen[str(name)] = (float(decay), float(radius))
    return chosen


def _jobs(config: CompareConfig, cells: Sequence[Cell]) -> dict[str, Callable[[Tick], Tables]]:
    """Cells that can be trained together as one part; costly ones (two-step, spheres) apart."""
    together: dict[str, list[Cell]] = {}
    stage = "grid" if cells[0].role == "grid" else "report"
    for cell in cells:
        method = cell.method
        apart = method.two_step is not None or method.sphere
        name = method.name if apart else method.optimizer
        together.setdefault(name, []).append(cell)
    parts = enumerate(together.items())
    return {f"{stage}.{i}.{name}": _job(config, part) for i, (name, part) in parts}


def _job(config: CompareConfig, cells: list[Cell]) -> Callable[[Tick], Tables]:
    def job(tick: Tick) -> Tables:
        task = digits_task(config)
        steps = config.epochs * task.steps_per_epoch
        trials = [_trial(config, cell, steps, task.steps_per_epoch) for cell in cells]
        optimizer = cells[0].method.optimizer
        curves, ends, start = [], [], 0
        for seen in train_digits(config, task, trials, optimizer, steps, tick):
            ours = cells[start : start + len(seen.trials)]
            tuned = np.array([cell.role == "tuned" for cell in ours])
            if tuned.any():
                row = _curve(task, seen, ours, optimizer)
                curves.append({k: v[tuned] if np.ndim(v) else v for k, v in row.items()})
            if seen.step == steps:
                ends.append(_end(task, seen, ours))
                start += len(seen.trials)
        tables = {"summary": columns(ends)}
        return tables | ({"metrics": columns(curves)} if curves else {})

    return job


def _trial(config: CompareConfig, cell: Cell, steps: int, epoch: int) -> Trial:
    method = cell.method
    rules = {"lr": cosine(steps)}
    if method.rule is not None:
        rules["weight_decay"] = method.rule(steps, epoch)
    trial = Trial(cell.seed, lr_of(config, method), cell.weight_decay, rules=rules)
    radius = cell.radius if method.sphere else None
    return replace(trial, sphere=radius, two_step=method.two_step)


def _curve(task: Digits, seen: Snapshot, cells: list[Cell], optimizer: str) -> dict[str, Any]:
    lr, norm = seen.lr.numpy(), seen.norm.numpy()
    momentum = HYPER.get(optimizer, {}).get("momentum", 0.0)
    return dict(
        method=np.array([cell.method.name for cell in cells], dtype=object),
        weight_decay=np.array([cell.weight_decay for cell in cells]),
        seed=np.array([cell.seed for cell in cells]),
        step=seen.step,
        K=seen.K.numpy(),
        lr=lr,
        lam=seen.weight_decay.numpy(),
        train_loss=seen.loss.numpy(),
        val_error=error_of(seen, task, "val"),
        norm=norm,
        effective_lr=lr / (1 - momentum) / norm**2,
    )


def _end(task: Digits, seen: Snapshot, cells: list[Cell]) -> dict[str, Any]:
    return dict(
        method=np.array([cell.method.name for cell in cells], dtype=object),
        weight_decay=np.array([cell.weight_decay for cell in cells]),
        radius=np.array([cell.radius for cell in cells]),
        role=np.array([cell.role for cell in cells], dtype=object),
        seed=np.array([cell.seed for cell in cells]),
        val_error=error_of(seen, task, "val"),
        test_error=error_of(seen, task, "test"),
        K=seen.K.numpy(),
        norm=seen.norm.numpy(),
        diverged=diverged(seen),
    )
