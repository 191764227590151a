"""How wrong are the rules for λ? Each against the tuned grid, on digits: the regret.

Four tasks x three training lengths x seeds, lr on a cosine to 0, each task at one lr that suits it.
A grid of λ is trained; its best λ is chosen on validation images. Then every rule of
`etalambda.suggest.predictors` names its λ from the plan alone, that λ is trained with the same
seeds, and its regret is its test error minus that of the grid's best. "default" is what torch's
optimizer does unasked (λ = 0 for SGD, 0.01 for AdamW).

A regret below 0 is possible: the best λ is chosen on validation images. Decided beforehand: a rule
may become the default of `suggest` if its median regret over tasks and lengths is below a quarter
of the median gap between torch's default and the best, and it is never the worst rule.

Run: ``python -m etalambda.lab.experiments.regret --out docs/evidence/regret``.
"""

from __future__ import annotations

import json
import math
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from etalambda.lab.configs import check_counts, log_grid
from etalambda.lab.engine import Trial, train
from etalambda.lab.experiments.parts import HYPER
from etalambda.lab.models import MODELS
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


def errors(task: Task, epochs: int, decays: list[float], config: Config) -> list[dict[str, Any]]:
    """Train every λ and seed together; a diverged network errs as often as a guess."""
    data = Digits(task.label_noise, config.batch_size)
    steps = epochs * data.steps_per_epoch
    shape = cosine(steps)
    trials = [
        Trial(seed, task.lr, decay, rules={"lr": shape})
        for decay in decays
        for seed in range(config.seeds)
    ]
    last = None
    for last in train(
        MODELS[task.model],
        data.batches,
        trials,
        optimizer=task.optimizer,
        steps=steps,
        every=max(steps // 10, 1),
        **HYPER.get(task.optimizer, {}),
        chunk=len(trials),
    ):
        print(f"\r{task.name} {epochs} epochs: {last.step}/{steps} ", end="", file=sys.stderr)
    assert last is not None
    alive = last.alive.numpy()
    val, test = (
        np.where(alive, error(last.predict(data.x[part]), data.y[part]).numpy(), 0.9)
        for part in ("val", "test")
    )
    return [
        dict(
            weight_decay=trial.weight_decay,
            seed=trial.seed,
            K=round(spent, 6),
            val=round(v, 6),
            test=round(t, 6),
        )
        for trial, spent, v, t in zip(trials, last.K.tolist(), val.tolist(), test.tolist())
    ]


def one(
    task: Task, epochs: int, config: Config, known: list[dict[str, Any]] | None = None
) -> dict[str, Any]:
    """Grid and rules of one task and length, and the regret of each rule.

    ``known`` runs are not trained again: only λ that they lack, as after a change of the rules.
    """
    rules, runs = predictions(task, epochs, config), list(known or ())
    there = {run["weight_decay"] for run in runs}
    missing = sorted({0.0, *task.grid, *rules.values()} - there)
    runs += errors(task, epochs, missing, config) if missing else []
    cells = {decay: [r for r in runs if r["weight_decay"] == decay] for decay in {*there, *missing}}

    def mean(decay: float, part: str) -> float:
        return float(np.mean([run[part] for run in cells[decay]]))

    best = min((0.0, *task.grid), key=lambda decay: mean(decay, "val"))
    base = [run["test"] for run in cells[best]]
    regrets = {}
    for name, decay in rules.items():
        gaps = np.subtract([run["test"] for run in cells[decay]], base)
        regrets[name] = dict(
            weight_decay=decay,
            K=mean(decay, "K"),
            regret=float(gaps.mean()),
            sd=float(gaps.std(ddof=1)) if len(gaps) > 1 else math.nan,
            n=len(gaps),
        )
    return dict(
        task=asdict(task),
        epochs=epochs,
        best=dict(
            weight_decay=best,
            test=mean(best, "test"),
            K=mean(best, "K"),
            on_border=best == task.grid[-1],
        ),
        regrets=regrets,
        runs=runs,
    )


def verdict(results: list[dict[str, Any]]) -> dict[str, Any]:
    """Median regret of each rule, how often it is the worst, and who may be the default."""
    names = list(dict.fromkeys(name for result in results for name in result["regrets"]))
    table = {n: [r["regrets"][n]["regret"] for r in results if n in r["regrets"]] for n in names}
    gap = float(np.median(table["default"]))
    worst = [
        max((n for n in r["regrets"] if n != "default"), key=lambda n: r["regrets"][n]["regret"])
        for r in results
    ]
    return dict(
        median_gap=gap,
        rules={
            name: dict(
                median=float(np.median(values)),
                maximum=float(np.max(values)),
                n=len(values),
                worst=worst.count(name),
                may_be_default=name != "default"
                and len(values) == len(results)
                and float(np.median(values)) < gap / 4
                and name not in worst,
            )
            for name, values in table.items()
        },
    )


def main(config: Config, out: Path) -> None:
    """Train what ``out`` lacks, one file a task and length, then print the verdict.

    Args:
        config: The experiment.
        out: Folder of the results; networks that are there are not trained again.
    """
    out.mkdir(parents=True, exist_ok=True)
    results = []
    for task in TASKS:
        for epochs in config.epochs if config.only in task.name else ():
            path = out / f"{task.name.replace(',', '').replace(' ', '-')}-{epochs}.json"
            known = json.loads(path.read_text())["runs"] if path.exists() else []
            results.append(one(task, epochs, config, known))
            path.write_text(json.dumps(results[-1]))
            report(results[-1])
    found = verdict(results)
    (out / "verdict.json").write_text(json.dumps(found, indent=1))
    print(f"\ngap of torch's default: median {100 * found['median_gap']:.2f} points")
    for name, line in found["rules"].items():
        print(
            f"{name:18} median {100 * line['median']:+6.2f} max {100 * line['maximum']:+6.2f} "
            f"(n {line['n']}) worst {line['worst']} times, default: {line['may_be_default']}"
        )


def report(result: dict[str, Any]) -> None:
    """One line a rule on the terminal."""
    best = result["best"]
    print(
        f"\n{result['task']['name']}, {result['epochs']} epochs: best λ {best['weight_decay']:g} "
        f"(K {best['K']:.2g}) errs {100 * best['test']:.2f} %"
        + (" ON THE BORDER" if best["on_border"] else "")
    )
    for name, line in result["regrets"].items():
        print(
            f"  {name:18} λ {line['weight_decay']:<9.3g} K {line['K']:<7.3g} "
            f"regret {100 * line['regret']:+.2f} ± {100 * line['sd']:.2f} points"
        )


if __name__ == "__main__":
    import torch
    import tyro

    torch.set_num_threads(1)
    tyro.cli(main)
