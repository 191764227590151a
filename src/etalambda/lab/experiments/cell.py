"""One small network, or many at once by the engine: the quick target of sweeps.

Tables: ``metrics`` (step, epoch, K, lr, weight_decay, loss, val_error, norm, effective_lr) and
``summary``, a row (lr, weight_decay, seed, val_error, test_error, train_loss, diverged, K, norm).
Errors are shares; those of a diverged network are NaN. Columns are named as in ``etalambda train``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from etalambda.lab.engine import Snapshot, Trial, train
from etalambda.lab.experiments.cell_config import CellConfig
from etalambda.lab.experiments.map import error_of, final
from etalambda.lab.experiments.parts import HYPER, Progress, columns
from etalambda.lab.models import MODELS
from etalambda.lab.records import Run
from etalambda.lab.tasks import Digits
from etalambda.schedule import cosine, linear

PART = "network"
SNAPSHOTS = 24
SHAPES = {"cosine": cosine, "linear": linear}


def group(config: CellConfig) -> CellConfig:
    """What must be equal among networks that are trained together: all but these."""
    free: dict[str, Any] = dict(lr=1.0, weight_decay=0.0, seed=0)
    shapes: dict[str, Any] = dict(lr_schedule="constant", weight_decay_schedule="constant")
    return replace(config, **free, **shapes)


def run(config: CellConfig, run: Run, progress: Progress) -> None:
    """Train one network into its record."""
    run_many([config], [run], progress)


def run_many(configs: Sequence[CellConfig], runs: Sequence[Run], progress: Progress) -> None:
    """Train the networks together, each into its own record.

    Args:
        configs: Equal in what `group` gives.
        runs: Their open records, none of them finished.
        progress: Called with (steps done, steps, text).

    Raises:
        ValueError: If the configs cannot be trained together.
    """
    if len({group(config) for config in configs}) > 1:
        raise ValueError("configs differ in more than lr, weight_decay, schedules and seed")
    left = [(c, r) for c, r in zip(configs, runs) if PART not in r.done]
    if left:
        _train([config for config, _ in left], [run for _, run in left], progress)
    for open_run in runs:
        open_run.finish()


def _train(configs: list[CellConfig], runs: list[Run], progress: Progress) -> None:
    first = configs[0]
    task = Digits(first.label_noise, first.batch_size, first.device)
    steps = first.epochs * task.steps_per_epoch
    trials = [_trial(config, steps) for config in configs]
    waiting, chunk, rows = iter(zip(configs, runs)), [], []
    momentum = HYPER.get(first.optimizer, {}).get("momentum", 0.0)
    seen_before = 0
    for seen in _snapshots(first, task, trials, steps):
        if seen.step == 0:  # of the next chunk of trials that fit the memory
            chunk = [next(waiting) for _ in seen.trials]
            rows = []
        rows.append(_row(task, seen, momentum))
        share = (seen_before + len(chunk) * seen.step / steps) / len(configs)
        progress(share * steps, steps, f"{len(configs)} networks")
        if seen.step == steps:
            seen_before += len(chunk)
            _record([run for _, run in chunk], columns(rows), final(task, seen))


def _snapshots(
    config: CellConfig, task: Digits, trials: list[Trial], steps: int
) -> Iterator[Snapshot]:
    return train(
        MODELS[config.model],
        task.batches,
        trials,
        optimizer=config.optimizer,
        steps=steps,
        every=max(1, steps // SNAPSHOTS),
        device=config.device,
        **HYPER.get(config.optimizer, {}),
    )


def _trial(config: CellConfig, steps: int) -> Trial:
    rules: dict[str, Any] = {}
    if config.lr_schedule != "constant":
        rules["lr"] = SHAPES[config.lr_schedule](steps)
    shape = config.weight_decay_schedule
    shape = config.lr_schedule if shape == "coupled" else shape
    if shape != "constant":
        rules["weight_decay"] = SHAPES[shape](steps)
    return Trial(config.seed, config.lr, config.weight_decay, rules=rules)


def _row(task: Digits, seen: Snapshot, momentum: float) -> dict[str, Any]:
    """What a snapshot shows of every network; ``network`` is its place in the chunk."""
    lr, norm = seen.lr.numpy(), seen.norm.numpy()
    return dict(
        network=np.arange(len(seen.trials)),
        step=seen.step,
        epoch=seen.step / task.steps_per_epoch,
        K=seen.K.numpy(),
        lr=lr,
        weight_decay=seen.weight_decay.numpy(),
        loss=seen.loss.numpy(),
        val_error=error_of(seen, task, "val"),
        norm=norm,
        effective_lr=lr / (1 - momentum) / norm**2,
    )


def _record(runs: list[Run], metrics: dict[str, np.ndarray], summary: dict[str, Any]) -> None:
    place = metrics.pop("network")
    for i, open_run in enumerate(runs):
        ours = {name: column[place == i] for name, column in metrics.items()}
        open_run.add(PART, metrics=ours, summary={k: v[i : i + 1] for k, v in summary.items()})
        open_run.finish()
