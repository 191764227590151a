"""Which measure of progress predicts the final test accuracy? The open question of li2020.

Li, Lyu & Arora 2020, section 7: "we still lack a satisfying measure of the progress of training".
Here 50 scale-invariant CNNs on digits (a fifth of the training labels wrong) train by plain SGD at
constant lr and λ, each at its own lr and budget K, for the stochastic phase; then lr/10 and λ = 0
(LLA-R1). Candidates, all read at the end of the stochastic phase:

    K           Σ ηλ spent
    time left   steps until γ is within 5 % of its limit (LLA-X0t), from the norm's own growth
    drift       share of validation images whose predicted class changed over the last tenth

and the training loss as a control. Each is correlated (Spearman) with the final test accuracy.

Tables: ``runs`` (one row a network).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from etalambda.lab.configs import check_counts
from etalambda.lab.engine import Snapshot, Trial, train
from etalambda.lab.engine.pool import Tick
from etalambda.lab.experiments.alone import carry_out
from etalambda.lab.experiments.parts import Progress, Tables, columns, record_all
from etalambda.lab.records import Run, RunData
from etalambda.lab.report.tables import Table
from etalambda.lab.statistics import Interval, spearman, spearman_draws
from etalambda.lab.tasks import Digits
from etalambda.lab.tasks.digits import error
from etalambda.theory.norm_dynamics import time_to_equilibrium

MEASURES = ("K", "time left", "drift", "loss")


class InvariantCNN(nn.Module):
    """Three convolutions with BatchNorm without gains, and a fixed read-out: f(cW) = f(W)."""

    def __init__(self, channels: int = 8, classes: int = 10) -> None:
        super().__init__()
        stages: list[nn.Module] = []
        for inputs, stride in ((1, 1), (channels, 2), (channels, 1)):
            conv = nn.Conv2d(inputs, channels, 3, stride=stride, padding=1, bias=False)
            stages += [conv, nn.BatchNorm2d(channels, affine=False), nn.ReLU()]
        self.features = nn.Sequential(*stages)
        self.register_buffer("head", torch.randn(classes, channels))

    def forward(self, x: Tensor) -> Tensor:
        """(B, 64) -> logits."""
        return self.features(x.view(-1, 1, 8, 8)).mean((2, 3)) @ self.head.T


@dataclass(frozen=True)
class Config:
    """50 runs: three measures of progress against the accuracy they end with."""

    runs: int = 50
    """Networks, each with its own seed, lr and budget."""
    epochs: int = 60
    """Epochs of the stochastic phase."""
    final_epochs: int = 20
    """Epochs at lr/10 and λ = 0."""
    seed: int = 0
    """Of the draw of lr and K."""

    def __post_init__(self) -> None:
        check_counts(runs=self.runs, epochs=self.epochs, final_epochs=self.final_epochs)


def plans(config: Config, steps: int) -> list[tuple[float, float]]:
    """(lr, λ) of each run: lr log-uniform in [0.02, 1], K of the phase in [0.02, 10]."""
    random = np.random.default_rng(config.seed)
    lrs = np.exp(random.uniform(np.log(0.02), np.log(1.0), config.runs))
    budgets = np.exp(random.uniform(np.log(0.02), np.log(10.0), config.runs))
    return [(float(lr), float(k / (lr * steps))) for lr, k in zip(lrs, budgets)]


def run(config: Config, record: Run, progress: Progress) -> None:
    """Train all runs in two parts; recorded parts are not trained again."""
    half = -(-config.runs // 2)
    jobs = {
        f"runs-{start}": _job(config, start, min(start + half, config.runs))
        for start in range(0, config.runs, half)
    }
    record_all(record, jobs, progress, "progress")
    record.finish()


def _job(config: Config, start: int, stop: int) -> Callable[[Tick], Tables]:
    def job(tick: Tick) -> Tables:
        return {
            "runs": columns([dict(run=np.arange(start, stop)) | trained(config, start, stop, tick)])
        }

    return job


def trained(config: Config, start: int, stop: int, tick: Tick) -> dict[str, Any]:
    """The measures at the end of the stochastic phase and the accuracy at the end."""
    task = Digits(label_noise=0.2)
    phase = config.epochs * task.steps_per_epoch
    steps = phase + config.final_epochs * task.steps_per_epoch
    every = max(phase // 10, 1)
    chosen = plans(config, phase)[start:stop]
    trials = [Trial(start + i, lr, w, rules=_steps(phase)) for i, (lr, w) in enumerate(chosen)]
    seen: list[dict[str, Any]] = []
    last: Snapshot | None = None
    for last in train(
        InvariantCNN,
        task.batches,
        trials,
        optimizer="sgd",
        steps=steps,
        every=every,
        chunk=len(trials),
    ):
        tick(last.step / steps)
        if last.step <= phase:
            classes = last.predict(task.x["val"]).argmax(-1)
            seen.append(
                dict(step=last.step, norm=last.norm, K=last.K, loss=last.loss, classes=classes)
            )
    if last is None or len(seen) < 2:
        raise ValueError("the stochastic phase needs at least two snapshots; raise epochs")
    before, there = seen[-2:]
    lr, decay = (torch.tensor(column, dtype=torch.float64) for column in zip(*chosen))
    return {
        "lr": lr.numpy(),
        "weight_decay": decay.numpy(),
        "K": there["K"].numpy(),
        "time left": time_left(before, there, lr, lr * decay).numpy(),
        "drift": (before["classes"] != there["classes"]).double().mean(-1).numpy(),
        "loss": there["loss"].numpy(),
        "norm": there["norm"].numpy(),
        "phase_accuracy": (there["classes"] == task.y["val"]).double().mean(-1).numpy(),
        "accuracy": 1
        - np.where(last.alive, error(last.predict(task.x["test"]), task.y["test"]), 0.9),
    }


def _steps(phase: int) -> dict[str, Callable[[int], float]]:
    """Constant lr and λ, then lr/10 and no decay (LLA-R1)."""
    return {
        "lr": lambda step: 1.0 if step < phase else 0.1,
        "weight_decay": lambda step: 1.0 if step < phase else 0.0,
    }


def time_left(before: dict[str, Any], there: dict[str, Any], lr: Tensor, rate: Tensor) -> Tensor:
    """Steps until γ is within 5 % of its limit, from two norms: LLA-X0 gives η²|g|² a step."""
    steps = there["step"] - before["step"]
    squares = [seen["norm"].double().square() for seen in (before, there)]
    kept = (1 - rate) ** 2
    weights = torch.where(rate > 0, (1 - kept**steps) / (1 - kept), float(steps))
    grown = ((squares[1] - kept**steps * squares[0]) / weights).clamp_min(0)  # η²|g|²
    noise = grown * squares[1] / lr**2  # σ² at unit norm: |g|² ‖W‖²
    return time_to_equilibrium((squares[1] / lr) ** 2, rate, noise)


def correlations(found: Mapping[str, np.ndarray]) -> dict[str, Interval]:
    """Measure -> Spearman correlation with the final test accuracy."""
    return {name: spearman(found[name], found["accuracy"]) for name in MEASURES}


def better(found: Mapping[str, np.ndarray], name: str, other: str) -> float:
    """The share of bootstrap draws in which one measure correlates more strongly than another."""
    a, b = (np.abs(spearman_draws(found[key], found["accuracy"])) for key in (name, other))
    return float((a > b).mean())


def tables(run: RunData) -> list[Table]:
    """The correlations as they are printed."""
    found = run.tables["runs"]
    there = correlations(found)
    best = max(MEASURES[:3], key=lambda name: abs(there[name].value))
    rows = [
        (
            name,
            f"{r.value:+.2f} ({r.low:+.2f} to {r.high:+.2f})",
            "" if name == best else f"{better(found, best, name):.3f}",
        )
        for name, r in there.items()
    ]
    note = f"n = {len(found['accuracy'])} runs"
    heads = ("measure", "ρ (95 %)", f"share of draws where {best} is stronger")
    return [Table("Spearman with final test accuracy", heads, rows, note)]


def main(config: Config, out: Path, json_file: Path | None = None) -> None:
    """Run what ``out`` lacks and print the correlations.

    Args:
        config: The experiment.
        out: Run folder; the same folder and flags go on where they were.
        json_file: Also write everything there as one JSON file.
    """
    carry_out("progress_measures", run, config, out, tables=tables, json_file=json_file)


if __name__ == "__main__":
    import tyro
    from tyro.conf import OmitArgPrefixes

    tyro.cli(main, config=(OmitArgPrefixes,))
