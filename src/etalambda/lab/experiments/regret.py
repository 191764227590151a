"""How wrong are the rules for λ? Each against the tuned grid, on digits: the regret.

Four tasks x three training lengths x seeds, lr on a cosine to 0, each task at one lr that suits it.
A grid of λ is trained; its best λ is chosen on validation images. Then every rule of
`etalambda.suggest.predictors` names its λ from the plan alone, that λ is trained with the same
seeds, and its regret is its test error minus that of the grid's best. "default" is what torch's
optimizer does unasked (λ = 0 for SGD, 0.01 for AdamW).

A regret below 0 is possible: the best λ is chosen on validation images. Decided beforehand: a rule
may become the default of `suggest` if its median regret over tasks and lengths is below a quarter
of the median gap between torch's default and the best, and it is never the worst rule.

Run: ``python -m etalambda.lab.experiments.regret --out runs/regret``.

Tables: ``runs`` (task, epochs, weight_decay, seed, K, val, test), ``best`` (task, epochs,
weight_decay, test, K, on_border), ``regrets`` (task, epochs, rule, weight_decay, K, regret, sd, n)
and ``verdict`` (rule, median, maximum, n, worst, may_be_default). Errors are shares.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from tyro.conf import arg

from etalambda.lab.configs import check_counts, log_grid
from etalambda.lab.engine import Trial, train
from etalambda.lab.engine.pool import Tick
from etalambda.lab.experiments.parts import (
    HYPER,
    Progress,
    Tables,
    columns,
    record_all,
    recorded,
    rows_of,
)
from etalambda.lab.models import MODELS
from etalambda.lab.records import Run, read
from etalambda.lab.report.tables import Table
from etalambda.lab.tasks import Digits
from etalambda.lab.tasks.digits import SIZES, error
from etalambda.schedule import cosine
from etalambda.suggest import suggest


@dataclass(frozen=True)
class Task:
    """A network, its data and its optimizer. ``grid`` holds λ from inert to excessive."""

    name: str
    model: str
    label_noise: float
    optimizer: str
    lr: float
    grid: tuple[float, ...]


SGD_GRID = log_grid(1e-5, 0.1, 13)
ADAMW_GRID = log_grid(1e-2, 100, 13)
TASKS: tuple[Task, ...] = (
    Task("mlp sgd, noise 0.2", "mlp", 0.2, "sgd", 0.05, SGD_GRID),
    Task("mlp sgd, clean", "mlp", 0.0, "sgd", 0.05, SGD_GRID),
    Task("mlp adamw, noise 0.2", "mlp", 0.2, "adamw", 3e-3, ADAMW_GRID),
    Task("cnn sgd, noise 0.2", "cnn", 0.2, "sgd", 0.1, SGD_GRID),
)
DEFAULTS = {"sgd": 0.0, "adamw": 0.01}


@dataclass(frozen=True)
class Config:
    """Which lengths and how many seeds."""

    epochs: tuple[int, ...] = (10, 40, 160)
    """Training lengths."""
    seeds: int = 5
    """Networks a λ."""
    batch_size: int = 50
    """Images a step."""
    only: str = ""
    """Run only the tasks whose name contains this."""

    def __post_init__(self) -> None:
        check_counts(seeds=self.seeds, batch_size=self.batch_size)
        if not any(self.only in task.name for task in TASKS):
            names = "; ".join(task.name for task in TASKS)
            raise ValueError(f"no task has {self.only!r} in its name; they are: {names}")


def run(config: Config, record: Run, progress: Progress) -> None:
    """Train the grid and every rule's λ on each task and length, then judge the rules.

    Args:
        config: The experiment.
        record: The open record; parts that it holds are skipped.
        progress: Called with (parts done, parts, text).
    """
    jobs = {
        f"{task.name.replace(',', '').replace(' ', '-')}-{epochs}": _job(config, task, epochs)
        for task in TASKS
        for epochs in config.epochs
        if config.only in task.name
    }
    record_all(record, jobs, progress, "regret")
    if "verdict" not in record.done:
        lines = rows_of(read(record.folder).tables["regrets"])
        record.add("verdict", verdict=columns(verdict(lines)))
    record.finish()


def predictions(task: Task, epochs: int, config: Config) -> dict[str, float]:
    """Rule -> λ, from the plan alone; rules that do not apply are left out."""
    steps = epochs * -(-SIZES["train"] // config.batch_size)
    found = suggest(
        optimizer=task.optimizer,
        lr=task.lr,
        steps=steps,
        batch_size=config.batch_size,
        dataset_size=SIZES["train"],
        parameters=sum(p.numel() for p in MODELS[task.model]().parameters()),
        lr_schedule="cosine",
        momentum=HYPER.get(task.optimizer, {}).get("momentum", 0.0),
    )
    rules = {p.name: p.weight_decay for p in found.predictions if math.isfinite(p.weight_decay)}
    return {"default": DEFAULTS[task.optimizer]} | rules


def _job(config: Config, task: Task, epochs: int) -> Callable[[Tick], Tables]:
    def job(tick: Tick) -> Tables:
        rules = predictions(task, epochs, config)
        runs = errors(task, epochs, sorted({0.0, *task.grid, *rules.values()}), config, tick)
        here = dict(task=task.name, epochs=epochs)
        found = dict(runs=runs, best=[best(task, runs)], regrets=regrets(task, rules, runs))
        return {name: columns([here | row for row in rows]) for name, rows in found.items()}

    return job


def errors(
    task: Task, epochs: int, decays: Sequence[float], config: Config, tick: Tick
) -> list[dict[str, Any]]:
    """Train every λ and seed together; a diverged network errs as often as a guess."""
    data = Digits(task.label_noise, config.batch_size)
    steps = epochs * data.steps_per_epoch
    shape = cosine(steps)
    trials = [
        Trial(seed, task.lr, decay, rules={"lr": shape})
        for decay in decays
        for seed in range(config.seeds)
    ]
    for seen in train(
        MODELS[task.model],
        data.batches,
        trials,
        optimizer=task.optimizer,
        steps=steps,
        every=max(steps // 10, 1),
        **HYPER.get(task.optimizer, {}),
        chunk=len(trials),
    ):
        tick(seen.step / steps)
        if seen.step < steps:
            continue
        alive = seen.alive.numpy()
        val, test = (
            np.where(alive, error(seen.predict(data.x[part]), data.y[part]).numpy(), 0.9)
            for part in ("val", "test")
        )
        return [
            dict(weight_decay=trial.weight_decay, seed=trial.seed, K=spent, val=v, test=t)
            for trial, spent, v, t in zip(trials, seen.K.tolist(), val.tolist(), test.tolist())
        ]
    raise RuntimeError(f"training ended before its last step, {steps}")


def mean(runs: Sequence[dict[str, Any]], decay: float, column: str) -> float:
    """The mean of a column over the seeds of one λ."""
    return float(np.mean([run[column] for run in runs if run["weight_decay"] == decay]))


def best(task: Task, runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The grid's λ with the lowest validation error. At the grid's end it may lie beyond."""
    decay = min((0.0, *task.grid), key=lambda one: mean(runs, one, "val"))
    seen = {column: mean(runs, decay, column) for column in ("test", "K")}
    return dict(weight_decay=decay, on_border=decay == task.grid[-1]) | seen


def regrets(
    task: Task, rules: dict[str, float], runs: Sequence[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Test error at each rule's λ minus that at the grid's best, paired by seed."""

    def tests(decay: float) -> list[float]:
        return [run["test"] for run in runs if run["weight_decay"] == decay]

    base = tests(best(task, runs)["weight_decay"])
    lines = []
    for name, decay in rules.items():
        gaps = np.subtract(tests(decay), base)
        lines.append(
            dict(
                rule=name,
                weight_decay=decay,
                K=mean(runs, decay, "K"),
                regret=float(gaps.mean()),
                sd=float(gaps.std(ddof=1)) if len(gaps) > 1 else math.nan,
                n=len(gaps),
            )
        )
    return lines


def verdict(lines: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Median regret of each rule, how often it is the worst, and who may be the default."""
    settings: dict[Any, dict[str, float]] = {}
    for line in lines:
        settings.setdefault((line["task"], line["epochs"]), {})[line["rule"]] = line["regret"]
    table = {
        name: [found[name] for found in settings.values() if name in found]
        for name in dict.fromkeys(name for found in settings.values() for name in found)
    }
    gap = float(np.median(table["default"]))
    worst = [
        max((name for name in found if name != "default"), key=found.__getitem__)
        for found in settings.values()
    ]
    return [
        dict(
            rule=name,
            median=float(np.median(values)),
            maximum=float(np.max(values)),
            n=len(values),
            worst=worst.count(name),
            may_be_default=name != "default"
            and len(values) == len(settings)
            and float(np.median(values)) < gap / 4
            and name not in worst,
        )
        for name, values in table.items()
    ]


def tables(found: dict[str, Any]) -> list[Table]:
    """Every regret and the verdict for the terminal, in points."""
    lines, judged = list(rows_of(found["regrets"])), list(rows_of(found["verdict"]))
    names = [row["rule"] for row in judged]
    rows = []
    for at in rows_of(found["best"]):
        here = {
            n["rule"]: n for n in lines if (n["task"], n["epochs"]) == (at["task"], at["epochs"])
        }
        cells = [f"{100 * here[n]['regret']:+.1f}" if n in here else "–" for n in names]
        border = ", at the grid's end" if at["on_border"] else ""
        rows.append((f"{at['task']}, {at['epochs']}", f"{at['K']:.2g}{border}", *cells))
    ends = [
        (
            row["rule"],
            *(f"{100 * row[part]:+.2f}" for part in ("median", "maximum")),
            *(str(row[part]) for part in ("n", "worst")),
            "yes" if row["may_be_default"] else "no",
        )
        for row in judged
    ]
    return [
        Table("regret in points of test error", ("task, epochs", "best K", *names), rows),
        Table("verdict", ("rule", "median", "largest", "n", "times worst", "may be default"), ends),
    ]


def main(config: Annotated[Config, arg(name="")], out: Path) -> None:
    """Train what ``out`` lacks, one part a task and length, then print regrets and verdict.

    Args:
        config: The experiment.
        out: Run folder.
    """
    from etalambda.lab.console import print_table

    for table in tables(recorded("regret", run, config, out).tables):
        print_table(table)


if __name__ == "__main__":
    import tyro

    tyro.cli(main)
