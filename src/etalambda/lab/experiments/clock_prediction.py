"""Can the decay clock be predicted? K at one constant λ gives the step of every other plan.

The budget at which the network generalizes is measured at constant λ = 0.4 (the mean K95 over
seeds). For eight other plans the predicted step is the first at which the plan has spent it; the
error is that step over the measured one, minus 1. Nothing of the other plans is used.

Run: ``python -m etalambda.lab.experiments.clock_prediction --out runs/clock-prediction --lr 3e-3``.

Tables: ``runs`` (plan, seed, step, K) and ``predictions``, one line a plan. A step or error is NaN
where a plan never arrived, and a predicted step infinite where it never spends the budget.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import arg

from etalambda._common import check_positive
from etalambda.lab.configs import check_counts
from etalambda.lab.engine import Trial, train
from etalambda.lab.engine.pool import Tick
from etalambda.lab.experiments.clock import BETAS, THERE
from etalambda.lab.experiments.parts import (
    Progress,
    Tables,
    columns,
    record_all,
    recorded,
    rows_of,
)
from etalambda.lab.models import Quadratic
from etalambda.lab.records import Run, read
from etalambda.lab.report.tables import Table, number
from etalambda.lab.statistics import mean_sd
from etalambda.lab.tasks import Modular
from etalambda.schedule import cosine, cosine_restarts, linear
from etalambda.theory.plan import DecayBudget

Rules = dict[str, Callable[[int], float]]
REFERENCE = "constant 0.4"


def plans(steps: int, scale: float = 1.0) -> dict[str, tuple[float, Rules]]:
    """Name -> base λ and the rules of lr and λ; nine of them. Names say λ at scale 1."""
    lr = cosine(steps)
    named: dict[str, tuple[float, Rules]] = {
        "constant 0.2": (0.2, {}),
        REFERENCE: (0.4, {}),
        "constant 0.8": (0.8, {}),
        "down 0.8 to 0": (0.8, {"weight_decay": linear(steps)}),
        "up 0 to 0.8": (0.8, {"weight_decay": linear(steps, start=0.0, end=1.0)}),
        "restarts 0.4 (1 + cos)": (0.4, {"weight_decay": cosine_restarts(max(steps // 3, 1))}),
        "lr cosine, constant 0.6": (0.6, {"lr": lr}),
        "lr cosine, matched 0.8": (0.8, {"lr": lr, "weight_decay": lr}),
        "lr cosine, product 0.4": (0.4, {"lr": lr, "weight_decay": lambda i: 1 / max(lr(i), 1e-9)}),
    }
    return {name: (scale * decay, rules) for name, (decay, rules) in named.items()}


@dataclass(frozen=True)
class Config:
    """One lr; run it again for another."""

    lr: float = 3e-3
    """Peak learning rate of AdamW."""
    steps: int = 3600
    """Steps of every plan."""
    seeds: int = 5
    """Networks a plan."""
    p: int = 31
    """The modulus."""
    every: int = 25
    """Steps between two measurements."""
    scale: float = 1.0
    """Multiplies every λ: 3 at a third of the lr makes the same plans of ηλ."""

    def __post_init__(self) -> None:
        check_counts(steps=self.steps, seeds=self.seeds, every=self.every)
        check_positive(lr=self.lr, scale=self.scale)


def run(config: Config, record: Run, progress: Progress) -> None:
    """Train the nine plans with every seed, then predict; parts that are recorded are skipped.

    Args:
        config: The experiment.
        record: The open record.
        progress: Called with (parts done, parts, text).
    """
    jobs = {f"seed={seed}": _job(config, seed) for seed in range(config.seeds)}
    record_all(record, jobs, progress, f"clock prediction, lr {config.lr:g}")
    if "predictions" not in record.done:
        seen = rows_of(read(record.folder).tables["runs"])
        record.add("predictions", predictions=columns(predict(config, seen)))
    record.finish()


def _job(config: Config, seed: int) -> Callable[[Tick], Tables]:
    return lambda tick: {"runs": columns(measure(config, seed, tick))}


def measure(config: Config, seed: int, tick: Tick) -> list[dict[str, Any]]:
    """Train every plan with one seed; step and K at 95 % test accuracy, NaN if never."""
    task, named = Modular(config.p), plans(config.steps, config.scale)
    trials = [Trial(seed, config.lr, decay, rules=rules) for decay, rules in named.values()]
    found = [dict(plan=name, seed=seed, step=math.nan, K=math.nan) for name in named]
    for seen in train(
        lambda: Quadratic(config.p),
        task.batches,
        trials,
        optimizer="adamw",
        steps=config.steps,
        every=config.every,
        betas=BETAS,
        chunk=len(trials),
    ):
        _, accuracy = task.accuracy(seen.predict(task.pairs), [seed] * len(trials))
        for row, reached, spent in zip(found, accuracy.tolist(), seen.K.tolist()):
            if reached >= THERE and math.isnan(row["step"]):
                row.update(step=float(seen.step), K=spent)
        tick(seen.step / config.steps)
        if all(not math.isnan(row["step"]) for row in found):
            break
    return found


def predict(config: Config, rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """One line a plan: measured and predicted step, and the error of the prediction."""
    named, by_plan = plans(config.steps, config.scale), {}
    for row in rows:
        by_plan.setdefault(row["plan"], []).append(row)
    needed, spread, n = mean_sd([r["K"] for r in by_plan[REFERENCE]])
    lines = []
    for name, (decay, rules) in named.items():
        lr_rule, decay_rule = rules.get("lr"), rules.get("weight_decay")
        plan = DecayBudget.of(
            "adamw",
            lr=config.lr,
            weight_decay=decay,
            steps=config.steps,
            lr_schedule=lr_rule or "constant",
            weight_decay_schedule=decay_rule or "constant",
        )
        measured, sd, count = mean_sd([r["step"] for r in by_plan[name]])
        predicted = plan.step_at(needed)
        lines.append(
            dict(
                plan=name,
                measured=measured,
                sd=sd,
                n=count,
                never=len(by_plan[name]) - count,
                predicted=predicted,
                error=predicted / measured - 1,
                K=mean_sd([r["K"] for r in by_plan[name]])[0],
                K_reference=needed,
                K_reference_sd=spread,
                n_reference=n,
            )
        )
    return lines


def table(config: Config, lines: Iterable[dict[str, Any]]) -> Table:
    """The predictions for the terminal."""
    lines = list(lines)
    rows = [
        (
            line["plan"],
            f"{number(line['measured'])} ± {number(line['sd'])}",
            f"{line['n']} of {line['n'] + line['never']}",
            number(line["predicted"]),
            f"{line['error']:+.0%}" if math.isfinite(line["error"]) else "–",
        )
        for line in lines
    ]
    title = f"lr {config.lr:g}: K = {lines[0]['K_reference']:.2f} at {REFERENCE}"
    return Table(title, ("plan", "step at 95 %", "arrived", "predicted", "error"), rows)


def main(config: Annotated[Config, arg(name="")], out: Path) -> None:
    """Train, predict and print; what ``out`` holds already is not trained again.

    Args:
        config: The experiment.
        out: Run folder.
    """
    from etalambda.lab.console import print_table

    data = recorded("clock_prediction", run, config, out)
    print_table(table(config, rows_of(data.tables["predictions"])))


if __name__ == "__main__":
    import tyro

    tyro.cli(main)
