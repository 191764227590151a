"""The lr x λ map of a task: one network a cell and seed, all trained together.

Then, at the map's best lr and its neighbours, the same decays for other training lengths: is the
error a matter of λ or of the budget K = Σ lr · weight_decay? Every choice is made on validation
images; the test error of the best cell is still the test error of a chosen cell.

Tables: ``metrics`` (lr, weight_decay, seed, val_error, test_error, train_loss, diverged, K, norm),
``lengths`` (the same with epochs), ``fit`` (quantity, r2, n) over the lengths and ``fit_parts``
(part, quantity, r2, n) over parts of them. Errors are shares; those of a diverged network are NaN.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import numpy as np

from etalambda.lab.configs import DigitsConfig, MapConfig
from etalambda.lab.engine import Snapshot, Trial, train
from etalambda.lab.engine.pool import Tick
from etalambda.lab.experiments.parts import HYPER, Progress, Tables, columns, record_all
from etalambda.lab.models import MODELS
from etalambda.lab.records import Run, read
from etalambda.lab.statistics import r_squared
from etalambda.lab.tasks import Digits
from etalambda.lab.tasks.digits import error
from etalambda.schedule import cosine

ROWS_A_PART = 6  # lrs whose cells are trained together


def run(config: MapConfig, run: Run, progress: Progress) -> None:
    """Train the map, then the lengths at its best lr; parts that are recorded are skipped.

    Args:
        config: Grid, seeds, epochs, lengths, task and model.
        run: The open record.
        progress: Called with (parts done, parts, text).
    """
    cells = len(config.lrs) * len(config.weight_decays)
    jobs = dict(_map_jobs(config))
    text = f"map: {cells} cells x {config.seeds} seeds"
    record_all(run, jobs, progress, text, config.device)
    lrs = around(config.lrs, best_lr(read(run.folder).tables["metrics"]))
    jobs = dict(_length_jobs(config, lrs))
    text = f"map: {len(config.lengths)} lengths at lr {', '.join(f'{lr:g}' for lr in lrs)}"
    record_all(run, jobs, progress, text, config.device)
    if "fit" not in run.done:
        tables = read(run.folder).tables
        whole, parts = fits(tables["metrics"], tables["lengths"])
        run.add("fit", fit=whole, fit_parts=parts)
    run.finish()


def _map_jobs(config: MapConfig) -> Iterator[tuple[str, Callable[[Tick], Tables]]]:
    starts = range(0, len(config.lrs), ROWS_A_PART)
    for seed, start in product(range(config.seeds), starts):
        lrs = config.lrs[start : start + ROWS_A_PART]
        trials = [Trial(seed, lr, decay) for lr, decay in product(lrs, config.weight_decays)]
        yield f"map.seed={seed}.rows={start}", _job("metrics", config, trials, config.epochs)


def _length_jobs(
    config: MapConfig, lrs: tuple[float, ...]
) -> Iterator[tuple[str, Callable[[Tick], Tables]]]:
    for epochs, seed in product(sorted(config.lengths, reverse=True), range(config.seeds)):
        trials = [Trial(seed, lr, decay) for lr, decay in product(lrs, config.weight_decays)]
        yield f"length={epochs}.seed={seed}", _job("lengths", config, trials, epochs)


def _job(
    table: str, config: MapConfig, trials: list[Trial], epochs: int
) -> Callable[[Tick], Tables]:
    def job(tick: Tick) -> Tables:
        task = digits_task(config)
        steps = epochs * task.steps_per_epoch
        shape = cosine(steps)
        decayed = [Trial(t.seed, t.lr, t.weight_decay, rules={"lr": shape}) for t in trials]
        seen = train_digits(config, task, decayed, config.optimizer, steps, tick)
        rows = [final(task, last) for last in seen if last.step == steps]  # one a chunk
        extra = {"epochs": epochs} if table == "lengths" else {}
        return {table: columns(extra | row for row in rows)}

    return job


def digits_task(config: DigitsConfig) -> Digits:
    """The config's task."""
    return Digits(config.label_noise, config.batch_size, config.device)


def train_digits(
    config: DigitsConfig,
    task: Digits,
    trials: list[Trial],
    optimizer: str,
    steps: int,
    tick: Tick,
) -> Iterator[Snapshot]:
    """Train on the digits with the config's network; 24 snapshots on the way."""
    for snapshot in train(
        MODELS[config.model],
        task.batches,
        trials,
        optimizer=optimizer,
        steps=steps,
        every=max(1, steps // 24),
        device=config.device,
        **HYPER.get(optimizer, {}),
    ):
        tick(snapshot.step / steps)
        yield snapshot


def final(task: Digits, last: Snapshot) -> dict[str, Any]:
    """The columns of trained networks; a diverged one has no errors."""
    return dict(
        lr=np.array([trial.lr for trial in last.trials]),
        weight_decay=np.array([trial.weight_decay for trial in last.trials]),
        seed=np.array([trial.seed for trial in last.trials]),
        val_error=error_of(last, task, "val"),
        test_error=error_of(last, task, "test"),
        train_loss=last.loss.numpy(),
        diverged=diverged(last),
        K=last.K.numpy(),
        norm=last.norm.numpy(),
    )


def error_of(seen: Snapshot, task: Digits, part: str) -> np.ndarray:
    """Share of wrong answers on ``val`` or ``test``; NaN for a diverged network."""
    wrong = error(seen.predict(task.x[part]), task.y[part]).numpy()
    return np.where(diverged(seen), np.nan, wrong)


def diverged(seen: Snapshot) -> np.ndarray:
    """Whose loss is not finite any more, or twice what guessing costs."""
    guessing = math.log(10)
    return ~seen.alive.numpy() | (seen.loss.numpy() > 2 * guessing)


def best_lr(metrics: dict[str, np.ndarray]) -> float:
    """The lr of the cell with the lowest mean validation error; a diverged seed excludes a cell.

    Raises:
        ValueError: If every cell diverged.
    """
    cells = np.stack([metrics["lr"], metrics["weight_decay"]], 1)
    found, where = np.unique(cells, axis=0, return_inverse=True)
    means = [metrics["val_error"][where.ravel() == i].mean() for i in range(len(found))]
    if not np.isfinite(means).any():
        raise ValueError("every cell of the map has a diverged network; choose smaller lrs")
    return float(found[np.nanargmin(means)][0])


def around(lrs: tuple[float, ...], best: float) -> tuple[float, ...]:
    """The best lr with its neighbours on the grid.

    >>> around((0.1, 0.2, 0.4, 0.8), 0.8)
    (0.4, 0.8)
    """
    ordered = sorted(set(lrs))
    place = ordered.index(best)
    return tuple(ordered[max(0, place - 1) : place + 2])


def fits(
    metrics: dict[str, np.ndarray], lengths: dict[str, np.ndarray]
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """R² of the validation error by a cubic in the log of each quantity alone.

    First over all lengths; then by part: at the best lr only, of this the decays up to each
    length's best one (too little) and from it on (too much), and the whole map.
    """
    best = lengths["lr"] == best_lr(metrics)
    little = best & _up_to_the_best(lengths, best, sign=1)
    much = best & _up_to_the_best(lengths, best, sign=-1)
    every = np.ones(len(best), dtype=bool)
    parts = {"best lr": best, "best lr, too little": little, "best lr, too much": much}
    found = [_explained("lengths, " + name, lengths, ours) for name, ours in parts.items()]
    found.append(_explained("map", metrics, np.ones(len(metrics["lr"]), dtype=bool)))
    whole = columns(_explained("all", lengths, every))
    whole.pop("part")
    return whole, columns(row for rows in found for row in rows)


def _up_to_the_best(lengths: dict[str, np.ndarray], ours: np.ndarray, sign: int) -> np.ndarray:
    """The rows whose decay is at most (sign 1) or at least (-1) the best of their length."""
    chosen = np.zeros(len(ours), dtype=bool)
    for epochs in np.unique(lengths["epochs"]):
        here = ours & (lengths["epochs"] == epochs)
        decays = np.unique(lengths["weight_decay"][here])
        cells = [here & (lengths["weight_decay"] == decay) for decay in decays]
        errors = np.array([lengths["val_error"][cell].mean() for cell in cells])
        if np.isfinite(errors).any():
            best = decays[np.nanargmin(errors)]
            chosen |= here & (sign * lengths["weight_decay"] <= sign * best)
    return chosen


def _explained(part: str, table: dict[str, np.ndarray], ours: np.ndarray) -> list[dict[str, Any]]:
    rows = []
    for quantity in ("K", "weight_decay", "lr"):
        share, n = r_squared(table[quantity][ours], table["val_error"][ours])
        names = {"part": part, "quantity": quantity}
        rows.append(
            {k: np.array([v], dtype=object) for k, v in names.items()} | dict(r2=share, n=n)
        )
    return rows
