"""Two claims along training runs on digits: where λ_min lies, and whether the noise is constant.

Lewkowycz & Gur-Ari 2020, section 1.1: after a small number of steps without L2 "the minimum
eigenvalue is found to be close to zero", so with L2 "the minimal eigenvalue will be approximately
λ". Here λ_min of the loss (64 Lanczos steps in float64 on all training images) along runs of a
tanh network at λ = 0 and three more. L2 on all weights shifts every eigenvalue by λ, so the claim
is that |λ_min of the bare loss| is small against λ, and against λ_max at λ = 0.

Li, Lyu & Arora 2020, footnote 2: in equilibrium γ^(1/2) goes as λ_e^(-1/2), so that the trace of
the noise, Tr Σ of W/‖W‖, hardly depends on where training is and on the intrinsic lr. Here Tr Σ of
scale-invariant CNNs at three λ_e, 16-fold apart, from two halves of batches.

Tables: ``edges`` (weight_decay, seed, step, minimum, maximum, index), ``noise`` (intrinsic_lr,
seed, step, K, trace, norm).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from etalambda.diagnose import curvature, decay_budget, gradient_noise_trace, weight_norms
from etalambda.lab.configs import check_counts
from etalambda.lab.engine.pool import Tick
from etalambda.lab.experiments.alone import carry_out
from etalambda.lab.experiments.parts import Progress, Tables, columns, record_all
from etalambda.lab.experiments.progress_measures import InvariantCNN
from etalambda.lab.models.stacked import seeded
from etalambda.lab.records import Run, RunData
from etalambda.lab.report.tables import Table
from etalambda.lab.tasks import Digits

DECAYS = (0.0, 1e-3, 3e-3, 1e-2)
RATES = (5e-4, 2e-3, 8e-3)
LR = 0.1


@dataclass(frozen=True)
class Config:
    """λ_min at three λ, and the noise trace at three ηλ, along runs on digits."""

    steps: int = 3000
    """Optimizer steps of every run."""
    seeds: int = 3
    """Networks of each setting."""
    looks: int = 12
    """Measurements of λ_min a run, at log-spaced steps."""
    batches: int = 8
    """Batches that one measurement of the noise averages."""

    def __post_init__(self) -> None:
        check_counts(steps=self.steps, seeds=self.seeds, looks=self.looks, batches=self.batches)


def run(config: Config, record: Run, progress: Progress) -> None:
    """Train and measure every setting; recorded parts are not done again."""
    jobs = {}
    for seed in range(config.seeds):
        jobs |= {f"edges-{d}-{seed}": _job(edges, config, d, seed) for d in DECAYS}
        jobs |= {f"noise-{r}-{seed}": _job(noise, config, r, seed) for r in RATES}
    record_all(record, jobs, progress, "along runs")
    record.finish()


def _job(measure: Any, config: Config, setting: float, seed: int) -> Callable[[Tick], Tables]:
    return lambda tick: {measure.__name__: columns(measure(config, setting, seed, tick))}


def edges(config: Config, decay: float, seed: int, tick: Tick) -> list[dict[str, Any]]:
    """λ_min and λ_max of the bare loss on all training images, along a run of SGD."""
    task = Digits(label_noise=0.2)
    net = seeded(lambda: nn.Sequential(nn.Linear(64, 32), nn.Tanh(), nn.Linear(32, 10)), seed)
    optimizer = torch.optim.SGD(net.parameters(), lr=LR, momentum=0.9, weight_decay=decay)
    whole = task.x["train"], task.y["train"]
    looks = set(np.unique(np.geomspace(1, config.steps, config.looks).round().astype(int)).tolist())
    rows = []
    for step, (x, y) in enumerate(_batches(task, seed, config.steps)):
        if step in looks | {0}:
            rows.append(_look(net, whole, step) | dict(weight_decay=decay, seed=seed))
            tick(step / config.steps)
        optimizer.zero_grad()
        F.cross_entropy(net(x), y).backward()
        optimizer.step()
    return [*rows, _look(net, whole, config.steps) | dict(weight_decay=decay, seed=seed)]


def _look(net: nn.Module, batch: Any, step: int) -> dict[str, Any]:
    found = curvature(net, F.cross_entropy, batch, steps=64, dtype=torch.float64)
    return dict(step=step, minimum=found.minimum, maximum=found.maximum, index=found.index.value)


def noise(config: Config, rate: float, seed: int, tick: Tick) -> list[dict[str, Any]]:
    """Tr Σ at unit norm, ‖W‖² Tr Σ_W, every hundredth of a run of plain SGD at one λ_e."""
    task = Digits(label_noise=0.2)
    net = seeded(InvariantCNN, seed)
    optimizer = torch.optim.SGD(net.parameters(), lr=LR, weight_decay=rate / LR)
    probes = list(_batches(task, seed + 1000, config.batches))
    gap, rows = max(config.steps // 60, 1), []
    for step, (x, y) in enumerate(_batches(task, seed, config.steps)):
        if step % gap == 0:
            (norm,) = weight_norms(optimizer)
            traces = [gradient_noise_trace(net, F.cross_entropy, probe) for probe in probes]
            spent = decay_budget(optimizer, steps=step)[0] if step else 0.0
            rows.append(
                dict(
                    intrinsic_lr=rate,
                    seed=seed,
                    step=step,
                    K=spent,
                    trace=norm**2 * float(np.mean(traces)),
                    norm=norm,
                )
            )
            tick(step / config.steps)
        optimizer.zero_grad()
        F.cross_entropy(net(x), y).backward()
        optimizer.step()
    return rows


def _batches(task: Digits, seed: int, count: int) -> Any:
    from etalambda.lab.engine import Trial

    feed = task.batches([Trial(seed, 1.0)])
    return (tuple(part[0] for part in feed(step)) for step in range(count))


def verdict(tables: Mapping[str, dict[str, np.ndarray]]) -> dict[str, float]:
    """The numbers that LOG.md's criteria speak of."""
    e, n = tables["edges"], tables["noise"]
    late = e["step"] >= 100
    bare = late & (e["weight_decay"] == 0)
    found = {
        "no L2, |λ_min|/λ_max from step 100 on, largest": _largest(
            -e["minimum"][bare] / e["maximum"][bare]
        )
    }
    final = e["step"] == e["step"].max()
    for decay in DECAYS[1:]:
        here = final & (e["weight_decay"] == decay)
        found[f"λ {decay:g}: λ_min with L2, over λ, at the end (lowest seed)"] = float(
            (1 + e["minimum"][here] / decay).min()
        )
    means: dict[float, float] = {}
    for rate in RATES:
        series = n["trace"][(n["intrinsic_lr"] == rate) & (n["K"] >= 1)]
        means[rate] = float(series.mean())
        ratios = [
            _over_time(
                n["trace"][(n["intrinsic_lr"] == rate) & (n["K"] >= 1) & (n["seed"] == seed)]
            )
            for seed in np.unique(n["seed"])
        ]
        found[f"ηλ {rate:g}: noise from K = 1 on, largest / smallest of 5 (median seed)"] = float(
            np.median(ratios)
        )
    found["noise across ηλ, largest / smallest mean"] = max(means.values()) / min(means.values())
    return found


def _largest(values: np.ndarray) -> float:
    return float(np.abs(values).max())


def _over_time(series: np.ndarray) -> float:
    """Largest over smallest of the means of five stretches."""
    means = [part.mean() for part in np.array_split(series, 5) if len(part)]
    return float(max(means) / min(means)) if means else float("nan")


def tables(run: RunData) -> list[Table]:
    """The verdict as it is printed."""
    rows = [(name, f"{value:.3g}") for name, value in verdict(run.tables).items()]
    return [Table("Along a run", ("number", "value"), rows)]


def main(config: Config, out: Path, json_file: Path | None = None) -> None:
    """Run what ``out`` lacks and print the verdict's numbers.

    Args:
        config: The experiment.
        out: Run folder; the same folder and flags go on where they were.
        json_file: Also write everything there as one JSON file.
    """
    carry_out("along_a_run", run, config, out, tables=tables, json_file=json_file)


if __name__ == "__main__":
    import tyro
    from tyro.conf import OmitArgPrefixes

    tyro.cli(main, config=(OmitArgPrefixes,))
