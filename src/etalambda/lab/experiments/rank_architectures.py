"""Do the covariance constants of untrained networks rank architectures? 30 of them on digits.

Richemond & Guo 2019 end with an architecture-search remark: what the covariance of the loss says
before training might tell good networks from bad ones. Here 30 multilayer perceptrons (depth 1 to
5 hidden layers, width 16 or 48, tanh, GELU or ReLU) are measured untrained, by
`etalambda.diagnose.covariance_constants` on the training images in float64, and each is then tuned
and trained: lr and λ from one grid by validation error, test error over fresh seeds.

Decided beforehand (LOG.md): a quantity ranks architectures if the 95 % bootstrap interval of its
Spearman correlation with the tuned test error excludes 0 and it beats the number of weights.

Tables: ``before`` (one row an architecture), ``trained`` (architecture, lr, λ, seed, role,
validation and test error).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from etalambda.diagnose import covariance_constants
from etalambda.lab.configs import check_counts
from etalambda.lab.engine import Trial, train
from etalambda.lab.engine.pool import Tick
from etalambda.lab.experiments.alone import carry_out
from etalambda.lab.experiments.parts import HYPER, Progress, Tables, columns, record_all
from etalambda.lab.records import Run, RunData
from etalambda.lab.report.tables import Table
from etalambda.lab.statistics import Interval, spearman
from etalambda.lab.tasks import Digits
from etalambda.lab.tasks.digits import error
from etalambda.schedule import cosine

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "tanh": nn.Tanh,
    "gelu": nn.GELU,
    "relu": nn.ReLU,
}
ARCHITECTURES = tuple(product((1, 2, 3, 4, 5), (16, 48), ACTIVATIONS))
LRS, DECAYS = (0.02, 0.06, 0.2), (1e-3, 1e-2, 3e-2, 0.1)
QUANTITIES = ("f0", "f1", "f2", "ratio", "critical_energy", "kurtosis", "anisotropy", "weights")


@dataclass(frozen=True)
class Config:
    """30 architectures, measured before training and then tuned and trained."""

    epochs: int = 40
    """Passes over the 600 training images."""
    samples: int = 200
    """Initializations of the covariance constants."""
    seeds: int = 5
    """Networks of each tuned architecture; they are not the seeds that choose lr and λ."""
    choosing: int = 2
    """Seeds that choose lr and λ."""

    def __post_init__(self) -> None:
        check_counts(
            epochs=self.epochs, samples=self.samples, seeds=self.seeds, choosing=self.choosing
        )


def name_of(architecture: tuple[int, int, str]) -> str:
    """As in ``3x48-tanh``: depth, width, activation."""
    depth, width, activation = architecture
    return f"{depth}x{width}-{activation}"


def build(architecture: tuple[int, int, str]) -> nn.Module:
    """A perceptron for digits: weights N(0, 1/fan_in), twice that for ReLU and GELU, biases 0."""
    depth, width, activation = architecture
    sizes, layers = [64, *[width] * depth], []
    for a, b in pairwise(sizes):
        layers += [nn.Linear(a, b), ACTIVATIONS[activation]()]
    net = nn.Sequential(*layers, nn.Linear(width, 10))
    gain = 1.0 if activation == "tanh" else 2.0
    for layer in (m for m in net if isinstance(m, nn.Linear)):
        nn.init.normal_(layer.weight, std=(gain / layer.in_features) ** 0.5)
        nn.init.zeros_(layer.bias)
    return net


def run(config: Config, record: Run, progress: Progress) -> None:
    """Measure and train every architecture; recorded parts are not done again."""
    jobs = {name_of(a): _job(config, a) for a in ARCHITECTURES}
    record_all(record, jobs, progress, "architectures")
    record.finish()


def _job(config: Config, architecture: tuple[int, int, str]) -> Callable[[Tick], Tables]:
    def job(tick: Tick) -> Tables:
        before = measured(config, architecture)
        tick(0.5)
        rows = trained(config, architecture)
        return {"before": columns([before]), "trained": columns(rows)}

    return job


def measured(config: Config, architecture: tuple[int, int, str]) -> dict[str, Any]:
    """The covariance constants of the untrained network, and what follows from them."""
    task = Digits(label_noise=0.2)
    found = covariance_constants(
        lambda: build(architecture).double(),
        nn.CrossEntropyLoss(),
        (task.x["train"].double(), task.y["train"]),
        samples=config.samples,
    )
    field, depth = found.field(), architecture[0]
    return dict(
        architecture=name_of(architecture),
        depth=depth,
        weights=found.dimension,
        f0=found.f0.value,
        f1=found.f1.value,
        f2=found.f2.value,
        f2_relative_error=found.f2.standard_error / found.f2.value,
        ratio=found.f0.value * found.f2.value / found.f1.value**2,
        critical_energy=field.critical_energy / found.f0.value**0.5,
        kurtosis=found.kurtosis,
        anisotropy=found.anisotropy,
        diverging=float(found.diverging),
    )


def trained(config: Config, architecture: tuple[int, int, str]) -> list[dict[str, Any]]:
    """The grid on the choosing seeds, then fresh seeds at the best cell."""
    grid = [
        Trial(seed, lr, decay)
        for lr, decay in product(LRS, DECAYS)
        for seed in range(1000, 1000 + config.choosing)
    ]
    rows = _errors(config, architecture, grid, "grid")
    means = {
        cell: np.mean([r["validation"] for r in rows if (r["lr"], r["weight_decay"]) == cell])
        for cell in product(LRS, DECAYS)
    }
    lr, decay = min(means, key=lambda cell: means[cell])
    tuned = [Trial(seed, lr, decay) for seed in range(config.seeds)]
    return rows + _errors(config, architecture, tuned, "tuned")


def _errors(
    config: Config, architecture: tuple[int, int, str], trials: list[Trial], role: str
) -> list[dict[str, Any]]:
    task = Digits(label_noise=0.2)
    steps = config.epochs * task.steps_per_epoch
    shape = cosine(steps)
    trials = [Trial(t.seed, t.lr, t.weight_decay, rules={"lr": shape}) for t in trials]
    options: dict[str, Any] = dict(steps=steps, every=steps, chunk=len(trials), **HYPER["sgd"])
    made = train(lambda: build(architecture), task.batches, trials, optimizer="sgd", **options)
    (last,) = deque(made, maxlen=1)
    alive = last.alive.numpy()
    val, test = (
        np.where(alive, error(last.predict(task.x[part]), task.y[part]).numpy(), 0.9)
        for part in ("val", "test")
    )
    return [
        dict(
            architecture=name_of(architecture),
            lr=trial.lr,
            weight_decay=trial.weight_decay,
            seed=trial.seed,
            role=role,
            validation=float(v),
            test=float(t),
        )
        for trial, v, t in zip(trials, val, test)
    ]


def ranking(tables: Mapping[str, dict[str, np.ndarray]]) -> dict[str, Interval]:
    """Quantity -> Spearman correlation with the tuned test error, over architectures."""
    before, found = tables["before"], tables["trained"]
    names = before["architecture"].astype(str)
    tuned = found["role"].astype(str) == "tuned"
    tests = [found["test"][tuned & (found["architecture"].astype(str) == n)].mean() for n in names]
    return {quantity: spearman(before[quantity], tests) for quantity in QUANTITIES}


def tables(run: RunData) -> list[Table]:
    """The correlations as they are printed."""
    found = ranking(run.tables)
    rows = [
        (name, f"{r.value:+.2f} ({r.low:+.2f} to {r.high:+.2f})", str(r.n))
        for name, r in found.items()
    ]
    note = "by the criterion of LOG.md: " + (", ".join(passed(found)) or "none ranks")
    return [
        Table("Spearman with tuned test error", ("before training", "ρ (95 %)", "n"), rows, note)
    ]


def passed(found: Mapping[str, Interval]) -> list[str]:
    """The quantities whose interval excludes 0 and that beat the number of weights."""
    bar = abs(found["weights"].value)
    return [
        name
        for name, r in found.items()
        if name != "weights" and r.low * r.high > 0 and abs(r.value) > bar
    ]


def main(config: Config, out: Path, json_file: Path | None = None) -> None:
    """Run what ``out`` lacks and print the correlations.

    Args:
        config: The experiment.
        out: Run folder; the same folder and flags go on where they were.
        json_file: Also write everything there as one JSON file.
    """
    carry_out("rank_architectures", run, config, out, tables=tables, json_file=json_file)


if __name__ == "__main__":
    import tyro
    from tyro.conf import OmitArgPrefixes

    tyro.cli(main, config=(OmitArgPrefixes,))
