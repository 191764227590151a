"""Does the gradient norm rise at the end of training, and does matched decay remove it?

Defazio 2025 (*Why gradients rapidly increase near the end of training*): for weights that feed a
norm, ‖g‖/‖w‖ settles at √(2λ/η). As η falls to 0 at constant λ it must grow without bound; with
λ ∝ η (matched decay, AdamC) it stays. Seen in the wild as a rise at the end of language-model runs.

A small character GPT under AdamW, lr falling linearly to 0, at one decay budget K for all plans:
``constant`` λ, ``matched`` on every decayed matrix, and ``none``. Paired by seed: one
initialization and one data order a seed for all plans.

Run: ``python -m etalambda.lab.experiments.gradient_norm --out runs/gradient-norm --text FILE``.

Tables: ``metrics`` (plan, seed, optimizer, step, K, lr, weight_decay, loss, gradient_norm, norm)
and ``summary`` (plan, seed, rise, validation), where rise is the mean gradient norm of the last 5 %
of the steps over that of the middle fifth.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from torch.nn import functional as F
from tyro.conf import arg

from etalambda._common import check_positive
from etalambda.diagnose import Monitor, every, weight_norms
from etalambda.lab.configs import check_counts
from etalambda.lab.engine.pool import Tick
from etalambda.lab.experiments.parts import Progress, Tables, columns, record_all, recorded
from etalambda.lab.models.gpt import GPT
from etalambda.lab.models.stacked import seeded
from etalambda.lab.records import Run
from etalambda.lab.report.tables import Table
from etalambda.lab.statistics import mean_sd
from etalambda.lab.tasks.text import Characters
from etalambda.schedule import Scheduler, linear, param_groups, tie

PLANS = ("none", "constant", "matched")


@dataclass(frozen=True)
class GradientNormConfig:
    """The gradient norm at the end of training, with constant and with matched decay."""

    text: str = ""
    """A UTF-8 text file; empty takes a text that comes with Python (smoke tests only)."""
    steps: int = 2000
    """Optimizer steps."""
    seeds: int = 8
    """Paired seeds."""
    lr: float = 3e-3
    """Peak of AdamW's learning rate; it falls linearly to 0."""
    budget: float = 6.0
    """K = Σ lr · weight_decay of the plans that decay: each plan's λ follows from it."""
    batch_size: int = 32
    """Windows a step."""
    width: int = 64
    """Of the residual stream."""
    depth: int = 2
    """Blocks."""
    context: int = 64
    """Characters of a window."""

    def __post_init__(self) -> None:
        check_counts(steps=self.steps, seeds=self.seeds, batch_size=self.batch_size)
        check_positive(lr=self.lr, budget=self.budget)

    def weight_decay(self, plan: str) -> float:
        """λ of a plan so that K is the budget: Σ m_t η_t λ = K with m_t = η_t/η_max if matched."""
        factors = torch.tensor(
            [linear(self.steps)(i) for i in range(self.steps)], dtype=torch.float64
        )
        weights = {"none": 0.0, "constant": 1.0, "matched": 2.0}
        if not (power := weights[plan]):
            return 0.0
        return self.budget / (self.lr * float((factors**power).sum()))


def run(config: GradientNormConfig, record: Run, progress: Progress) -> None:
    """Train every plan with every seed; parts that are recorded are not trained again."""
    task = Characters(config.text or None, config.context)
    jobs = {
        f"{plan}-{seed}": _job(config, task, plan, seed)
        for seed in range(config.seeds)
        for plan in PLANS
    }
    record_all(record, jobs, progress, "gradient norms")
    record.finish()


def _job(
    config: GradientNormConfig, task: Characters, plan: str, seed: int
) -> Callable[[Tick], Tables]:
    def job(tick: Tick) -> Tables:
        rows, validation = train(config, task, plan, seed, tick)
        metrics = columns([dict(plan=plan, seed=seed, optimizer="AdamW") | row for row in rows])
        norms = metrics["gradient_norm"]
        steps = metrics["step"] / config.steps
        late, middle = norms[steps > 0.95], norms[(steps > 0.4) & (steps <= 0.6)]
        rise = float(late.mean() / middle.mean())
        summary = dict(plan=plan, seed=seed, rise=rise, validation=validation)
        return {"metrics": metrics, "summary": columns([summary])}

    return job


def train(
    config: GradientNormConfig, task: Characters, plan: str, seed: int, tick: Tick
) -> tuple[list[dict[str, Any]], float]:
    """One run; its rows every 10 steps, and the validation loss at the end."""
    words = len(task.vocabulary)
    model = seeded(lambda: GPT(words, config.width, config.depth, context=config.context), seed)
    groups = param_groups(model, weight_decay=config.weight_decay(plan))
    optimizer = torch.optim.AdamW(groups, lr=config.lr, betas=(0.9, 0.95))
    scheduler = Scheduler(optimizer, lr=linear(config.steps))
    if plan == "matched":
        tie(optimizer, "matched", peak_lr=config.lr)
    matrices = [p for p in model.parameters() if p.ndim > 1]
    seen: dict[str, Any] = {}
    monitor = Monitor(
        optimizer,
        every(10),
        loss=lambda _: seen["loss"],
        gradient_norm=lambda _: torch.nn.utils.get_total_norm(
            [p.grad for p in matrices if p.grad is not None]
        ),
        norm=lambda o: weight_norms(o)[0],
        lr=lambda o: o[0].param_groups[0]["lr"],
        weight_decay=lambda o: o[0].param_groups[0]["weight_decay"],
    )
    batches = task.batches(seed=seed, batch_size=config.batch_size)
    for step in range(config.steps):
        x, y = next(batches)
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x).flatten(0, 1), y.flatten())
        loss.backward()
        seen["loss"] = loss.detach()
        optimizer.step()
        scheduler.step()
        if step % 20 == 0:
            tick(step / config.steps)
    rows = [_row(row) for row in monitor.rows]
    x, y = task.held_out()
    with torch.no_grad():
        validation = F.cross_entropy(model(x).flatten(0, 1), y.flatten())
    return rows, float(validation)


def _row(row: dict[str, Any]) -> dict[str, Any]:
    """A monitor's row with the decayed group's K under its plain name."""
    return {"K" if name == "K/0" else name: v for name, v in row.items() if name != "K/1"}


def table(summary: dict[str, np.ndarray]) -> Table:
    """Rise and validation loss of each plan, mean ± sd over the seeds."""
    rows = []
    for plan in PLANS:
        ours = summary["plan"] == plan
        cells = [mean_sd(summary[name][ours]) for name in ("rise", "validation")]
        rows.append((plan, *(f"{mean:.3f} ± {sd:.3f}" for mean, sd, _ in cells), str(cells[0][2])))
    return Table("gradient norm at the end", ("plan", "rise", "validation loss", "n"), rows)


def main(config: Annotated[GradientNormConfig, arg(name="")], out: Path) -> None:
    """Train what ``out`` lacks and print the rise of every plan.

    Args:
        config: The experiment.
        out: Run folder.
    """
    from etalambda.lab.console import print_table

    print_table(table(recorded("gradient_norm", run, config, out).tables["summary"]))


if __name__ == "__main__":
    import tyro

    tyro.cli(main)
