"""Can the decay clock be predicted? K at one constant λ gives the step of every other plan.

The budget at which the network generalizes is measured at constant λ = 0.4 (the mean K95 over
seeds). For eight other plans the predicted step is the first at which the plan has spent it; the
error is that step over the measured one, minus 1. Nothing of the other plans is used.

Run: ``python -m etalambda.lab.experiments.clock_prediction --out docs/evidence/clock-prediction``.
In the results a step or error is null where a plan never arrived or never spends the budget.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from etalambda._common import check_positive
from etalambda.lab.configs import check_counts
from etalambda.lab.engine import Trial, train
from etalambda.lab.experiments.clock import BETAS, THERE
from etalambda.lab.models import Quadratic
from etalambda.lab.statistics import mean_sd
from etalambda.lab.tasks import Modular
from etalambda.schedule import cosine, cosine_restarts, linear
from etalambda.suggest.findings import plain
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


def measure(config: Config) -> list[dict[str, Any]]:
    """Train every plan and seed together; step and K at 95 % test accuracy, NaN if never."""
    task, named = Modular(config.p), plans(config.steps, config.scale)
    pairs = [(name, seed) for name in named for seed in range(config.seeds)]
    trials = [Trial(seed, config.lr, named[name][0], rules=named[name][1]) for name, seed in pairs]
    found = [dict(plan=name, seed=seed, step=math.nan, K=math.nan) for name, seed in pairs]
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
        _, accuracy = task.accuracy(seen.predict(task.pairs), [seed for _, seed in pairs])
        for row, reached, spent in zip(found, accuracy.tolist(), seen.K.tolist()):
            if reached >= THERE and math.isnan(row["step"]):
                row.update(step=float(seen.step), K=spent)
        print(f"\r{seen.step}/{config.steps}", end="", file=sys.stderr, flush=True)
        if all(not math.isnan(row["step"]) for row in found):
            break
    return found


def predict(config: Config, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One line a plan: measured and predicted step, and the error of the prediction."""
    by_plan = {name: [r for r in rows if r["plan"] == name] for name in plans(config.steps)}
    needed, spread, n = mean_sd([r["K"] for r in by_plan[REFERENCE]])
    lines = []
    for name, (decay, rules) in plans(config.steps, config.scale).items():
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


def main(config: Config, out: Path) -> None:
    """Train, predict, print and write ``<out>/lr-<lr>.json``.

    Args:
        config: The experiment.
        out: Folder of the results.
    """
    rows = measure(config)
    lines = predict(config, rows)
    out.mkdir(parents=True, exist_ok=True)
    result = dict(
        config=asdict(config),
        predictions=[{key: plain(value) for key, value in line.items()} for line in lines],
        runs=[{key: plain(value) for key, value in row.items()} for row in rows],
    )
    scale = f"-scale-{config.scale:g}" if config.scale != 1 else ""
    text = json.dumps(result, indent=1, allow_nan=False)
    (out / f"lr-{config.lr:g}{scale}.json").write_text(text)
    print(f"\nlr {config.lr:g}: K = {lines[0]['K_reference']:.2f} at {REFERENCE}")
    for line in lines:
        print(
            f"{line['plan']:24} measured {line['measured']:7.0f} ± {line['sd']:5.0f} "
            f"(n {line['n']}) predicted {line['predicted']:7.0f} error {line['error']:+.0%}"
        )


if __name__ == "__main__":
    import torch
    import tyro

    torch.set_num_threads(1)
    tyro.cli(main)
