"""Is a network of depth p a p-spin model? ξ(q) of perceptrons of depth 1 to 5, fitted by q^p.

Richemond & Guo 2019, section 3.1, after Choromanska et al. 2015. The cross-entropy of untrained
perceptrons on the digits' training images, no biases, width 24, as a function of the overlap of
two initializations; weights a_p >= 0 of the monomials and the misfit in standard errors, with
`etalambda.diagnose.fit_mixture`. The claim would be a_depth near 1 and the others near 0.

Tables: ``covariance`` (activation, depth, q, xi, error), ``mixture`` (activation, depth, degree,
weight, misfit, mean_degree).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from torch import nn

from etalambda.diagnose import fit_mixture, overlap_covariance
from etalambda.lab.configs import check_counts
from etalambda.lab.engine.pool import Tick
from etalambda.lab.experiments.alone import carry_out
from etalambda.lab.experiments.parts import Progress, Tables, columns, record_all
from etalambda.lab.records import Run, RunData
from etalambda.lab.report.tables import Table
from etalambda.lab.tasks import Digits

DEPTHS = (1, 2, 3, 4, 5)
ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "linear": nn.Identity,
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
}
DEGREES = tuple(range(9))


@dataclass(frozen=True)
class Config:
    """ξ(q) of perceptrons of depth 1 to 5, and the mixture of pure spin models that fits it."""

    samples: int = 1000
    """Pairs of initializations a value of q."""
    overlaps: int = 20
    """Values of q between 0 and 0.98."""
    width: int = 24
    """Of the hidden layers."""

    def __post_init__(self) -> None:
        check_counts(samples=self.samples, overlaps=self.overlaps, width=self.width)


def build(depth: int, width: int, activation: str) -> nn.Module:
    """``depth`` linear layers without biases, weights N(0, gain/fan_in), in float64."""
    sizes, layers = [64, *[width] * (depth - 1), 10], []
    gain = 2.0 if activation == "relu" else 1.0
    for a, b in pairwise(sizes):
        layer = nn.Linear(a, b, bias=False)
        nn.init.normal_(layer.weight, std=(gain / a) ** 0.5)
        layers += [layer, ACTIVATIONS[activation]()]
    return nn.Sequential(*layers[:-1]).double()


def run(config: Config, record: Run, progress: Progress) -> None:
    """Measure every depth and activation; recorded parts are not measured again."""
    jobs = {f"{a}-{d}": _job(config, a, d) for a in ACTIVATIONS for d in DEPTHS}
    record_all(record, jobs, progress, "mixtures")
    record.finish()


def _job(config: Config, activation: str, depth: int) -> Callable[[Tick], Tables]:
    def job(tick: Tick) -> Tables:
        task = Digits()
        found = overlap_covariance(
            lambda: build(depth, config.width, activation),
            nn.CrossEntropyLoss(),
            (task.x["train"].double(), task.y["train"]),
            np.linspace(0, 0.98, config.overlaps).tolist(),
            samples=config.samples,
            seed=depth,
        )
        fitted = fit_mixture(found.overlaps, found.values, found.standard_errors, DEGREES)
        which = dict(activation=activation, depth=depth)
        series = dict(q=found.overlaps, xi=found.values, error=found.standard_errors)
        total = sum(fitted.weights.values()) or math.nan  # of nothing but noise, no weight is left
        parts = dict(
            degree=np.array(DEGREES),
            weight=np.array([fitted.weights[p] / total for p in DEGREES]),
            misfit=fitted.misfit,
            mean_degree=fitted.mean_degree,
        )
        return {"covariance": columns([which | series]), "mixture": columns([which | parts])}

    return job


def tables(run: RunData) -> list[Table]:
    """Weights and misfit of every network."""
    found, rows = run.tables["mixture"], []
    for activation in ACTIVATIONS:
        for depth in DEPTHS:
            mine = (found["activation"].astype(str) == activation) & (found["depth"] == depth)
            weights = [f"{w:.2f}" for w in found["weight"][mine]]
            mean, misfit = found["mean_degree"][mine][0], found["misfit"][mine][0]
            rows.append((f"{activation} {depth}", *weights, f"{mean:.2f}", f"{misfit:.2f}"))
    heads = ("network, depth", *(f"a_{p}" for p in DEGREES), "mean degree", "misfit, s.e.")
    return [Table("ξ(q) as a mixture of q^p, shares", heads, rows)]


def main(config: Config, out: Path, json_file: Path | None = None) -> None:
    """Run what ``out`` lacks and print the weights.

    Args:
        config: The experiment.
        out: Run folder; the same folder and flags go on where they were.
        json_file: Also write everything there as one JSON file.
    """
    carry_out("depth_mixture", run, config, out, tables=tables, json_file=json_file)


if __name__ == "__main__":
    import tyro
    from tyro.conf import OmitArgPrefixes

    tyro.cli(main, config=(OmitArgPrefixes,))
