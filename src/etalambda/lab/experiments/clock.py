"""The decay clock: the same small networks under many weight-decay plans, on modular addition.

Every plan fits its training half at once. When the test half follows is decided by the decay that
has been spent, K = Σ lr · weight_decay, and hardly by the plan: Lewkowycz & Gur-Ari's t* = c/λ and
Li, Lyu & Arora's 1/(ηλ) as one clock. Beside the plans stand methods that steer decay by the loss,
and spheres, which replace it: at the right radius no decay is needed.

Tables: ``metrics`` (plan, seed, step, K, train_accuracy, test_accuracy, lr, weight_decay, norm),
``summary`` (plan, kind, seed, step95, K95, final_test) and ``fit``: the slope of log step95 against
log λ over the constant plans between 0.2 and 0.8, with its 95 % interval.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from etalambda.lab.configs import ClockConfig
from etalambda.lab.engine import Snapshot, Trial, train
from etalambda.lab.engine.pool import Tick
from etalambda.lab.experiments.parts import HYPER, Progress, Tables, columns, record_all
from etalambda.lab.models import Quadratic
from etalambda.lab.records import Run, read
from etalambda.lab.statistics import slope
from etalambda.lab.tasks import Modular
from etalambda.schedule import MatchedAnnealing, cosine, cosine_restarts, linear

BETAS = (0.9, 0.98)
THERE = 0.95
FITTED = (0.2, 0.4, 0.8)  # below, there is too little; above, fitting itself is the limit


@dataclass(frozen=True)
class Row:
    """One line of the table: a plan, a method or a sphere, and how its trials are set up."""

    name: str
    kind: str
    weight_decay: float = 0.0
    rules: Callable[[int], dict[str, Any]] = field(default=lambda steps: {})
    sphere: float | None = None


def _along_lr(end: float) -> Callable[[int], dict[str, Any]]:
    """lr on a cosine; λ ∝ lr^end: 0 is λ constant, 1 matched, -1 a constant product."""

    def rules(steps: int) -> dict[str, Any]:
        shape = cosine(steps)
        return {"lr": shape} | ({"weight_decay": lambda i: shape(i) ** end} if end else {})

    return rules


def _decay(make: Callable[[int], Any]) -> Callable[[int], dict[str, Any]]:
    return lambda steps: {"weight_decay": make(steps)}


ROWS: tuple[Row, ...] = (
    Row("none", "plan"),
    Row("constant 0.02", "plan", 0.02),
    Row("constant 0.2", "plan", 0.2),
    Row("constant 0.4", "plan", 0.4),
    Row("constant 0.8", "plan", 0.8),
    Row("down 0.8 to 0", "plan", 0.8, _decay(linear)),
    Row("up 0 to 0.8", "plan", 0.8, _decay(lambda steps: linear(steps, start=0.0, end=1.0))),
    Row("restarts 0.4 (1 + cos)", "plan", 0.4, _decay(lambda _: cosine_restarts(1000))),
    Row("lr cosine, constant 0.6", "plan", 0.6, _along_lr(0)),
    Row("lr cosine, matched 0.8", "plan", 0.8, _along_lr(1)),
    Row("matched annealing from 0.8", "method", 0.8, _decay(lambda _: MatchedAnnealing())),
    Row("sphere, 1 x initial norm", "sphere", sphere=1.0),
    Row("sphere, 2 x", "sphere", sphere=2.0),
    Row("sphere, 3 x", "sphere", sphere=3.0),
    Row("sphere, 4 x", "sphere", sphere=4.0),
)


def run(config: ClockConfig, run: Run, progress: Progress) -> None:
    """Train every row with every seed; one part a few seeds of the plans, one for the rest.

    Args:
        config: Its ``steps`` is the length of all plans.
        run: The open record; parts that it holds are skipped.
        progress: Called with (parts done, parts, text).
    """
    jobs = {
        f"{name}.seeds-{seeds[0]}-{seeds[-1]}": _job(config, seeds, rows, steps)
        for name, rows, steps, together in _groups(config)
        for seeds in _runs(config.seeds, together)
    }
    text = f"clock: {len(ROWS)} x {config.seeds} networks"
    record_all(run, jobs, progress, text, config.device)
    if "fit" not in run.done:
        run.add("fit", fit=fit(read(run.folder).tables["summary"]))
    run.finish()


def _groups(config: ClockConfig) -> Iterator[tuple[str, tuple[Row, ...], int, int]]:
    """Name, rows, steps and seeds a job of what is trained together.

    Methods and spheres apart, so that only they pay for projections, and for fewer steps:
    what they show is there by then. Jobs of 30 networks keep two cores busy; larger ones leave
    the cache, and smaller ones wait for the interpreter.
    """
    yield "plans", tuple(row for row in ROWS if row.kind == "plan"), config.steps, 3
    rest = tuple(row for row in ROWS if row.kind != "plan")
    yield "rest", rest, max(1, config.steps * 2 // 5), 5


def _runs(seeds: int, together: int) -> list[range]:
    """Seeds in runs of nearly equal length, at most ``together`` each, the longest first."""
    count = -(-seeds // together)
    ends = [-(-seeds * (i + 1) // count) for i in range(count)]
    return [range(a, b) for a, b in zip([0, *ends], ends)]


def _job(
    config: ClockConfig, seeds: range, rows: tuple[Row, ...], steps: int
) -> Callable[[Tick], Tables]:
    def job(tick: Tick) -> Tables:
        task = Modular(config.p, config.device)
        trials = [_trial(config, seed, row, steps) for seed in seeds for row in rows]
        made = train(
            lambda: Quadratic(config.p, config.width),
            task.batches,
            trials,
            optimizer=config.optimizer,
            steps=steps,
            every=config.every,
            device=config.device,
            **_hyper(config.optimizer),
        )
        names = [row.name for _ in seeds for row in rows]
        seen = []
        for snapshot in made:
            tick(snapshot.step / steps)
            seen.append(_measured(task, snapshot, names))
        metrics = columns(seen)
        return {"metrics": metrics, "summary": columns(_arrivals(metrics, rows, seeds))}

    return job


def _trial(config: ClockConfig, seed: int, row: Row, steps: int) -> Trial:
    rules = row.rules(steps)
    return Trial(seed, config.lr, row.weight_decay, rules=rules, sphere=row.sphere)


def _hyper(optimizer: str) -> dict[str, Any]:
    return HYPER.get(optimizer, dict(betas=BETAS))


def _measured(task: Modular, seen: Snapshot, names: list[str]) -> dict[str, Any]:
    seeds = [trial.seed for trial in seen.trials]
    train_accuracy, test_accuracy = task.accuracy(seen.predict(task.pairs), seeds)
    return dict(
        plan=np.array(names, dtype=object),
        seed=np.array(seeds),
        step=seen.step,
        K=seen.K.numpy(),
        train_accuracy=train_accuracy.numpy(),
        test_accuracy=test_accuracy.numpy(),
        lr=seen.lr.numpy(),
        weight_decay=seen.weight_decay.numpy(),
        norm=seen.norm.numpy(),
    )


def _arrivals(
    metrics: dict[str, np.ndarray], rows: tuple[Row, ...], seeds: range
) -> Iterator[dict[str, Any]]:
    """When each network first reached 95 % test accuracy; NaN if it never did."""
    for seed in seeds:
        for row in rows:
            ours = (metrics["plan"] == row.name) & (metrics["seed"] == seed)
            accuracy = metrics["test_accuracy"][ours]
            first = np.flatnonzero(accuracy >= THERE)
            step, spent = (
                float(metrics[name][ours][first[0]]) if first.size else float("nan")
                for name in ("step", "K")
            )
            yield dict(
                plan=np.array([row.name], dtype=object),
                kind=np.array([row.kind], dtype=object),
                seed=seed,
                step95=step,
                K95=spent,
                final_test=accuracy[-1],
            )


def fit(summary: dict[str, np.ndarray]) -> dict[str, list[float]]:
    """Slope of log step95 against log λ over the constant plans; -1 is a perfect clock."""
    names = {f"constant {decay}": decay for decay in FITTED}
    ours = np.isin(summary["plan"].astype(str), list(names))
    decays = np.array([names[name] for name in summary["plan"][ours]])
    found = slope(np.log(decays), np.log(summary["step95"][ours]))
    return dict(slope=[found.value], low=[found.low], high=[found.high], n=[found.n])
