"""Does convexifying first help? Continuation in λ against direct descent on flat fields.

Richemond & Guo 2019 end section 4 on "convex optimization": make the loss convex by L2, minimize,
take the L2 away. On the flat rational-quadratic field, d = 40, from one start a draw: L-BFGS on φ;
continuation along the linear and the ridge path; and the best of as many direct descents from fresh
starts as the continuation's gradients pay for. The measure is the paired difference of ε to direct
descent and to that control; a path is better if the 95 % interval lies below 0.

Tables: ``ends`` (way, seed, energy, norm2 = |x|²/N, calls) and ``summary`` (a row a way and
control).

Run it: ``python -m etalambda.lab.experiments.convex_continuation --out FOLDER``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from etalambda.lab.configs import check_counts
from etalambda.lab.engine.pool import Tick
from etalambda.lab.experiments.alone import carry_out
from etalambda.lab.experiments.parts import Progress, Tables, columns, record_all, rows_of
from etalambda.lab.records import Run, RunData, read
from etalambda.lab.report.tables import Table, number
from etalambda.lab.statistics import mean_sd, paired_difference
from etalambda.theory import continuation
from etalambda.theory.random_field import RandomFourierField

RESTARTS = "best of restarts, same gradients"


@dataclass(frozen=True)
class ConvexContinuationConfig:
    """Continuation from a convexified flat field against direct descent."""

    seeds: int = 32
    """Draws of the field, from seed 0 on; all ways share each and its start."""
    dimensions: int = 40
    """d of the field."""
    stages: int = 20
    """Values of λ on the way to 0."""

    def __post_init__(self) -> None:
        check_counts(dimensions=self.dimensions, stages=self.stages)
        if self.seeds < 2:
            raise ValueError(f"seeds must be at least 2 for a standard error, got {self.seeds}")


def run(config: ConvexContinuationConfig, record: Run, progress: Progress) -> None:
    """Every draw; recorded ones are skipped."""
    jobs = {f"seed={seed}": partial(_draw, config, seed) for seed in range(config.seeds)}
    record_all(record, jobs, progress, "continuation")
    if "summary" not in record.done:
        record.add("summary", summary=columns(summary(read(record.folder).tables["ends"])))
    record.finish()


def _draw(config: ConvexContinuationConfig, seed: int, tick: Tick) -> Tables:
    found = ends(seed, config.dimensions, config.stages, tick)
    return {"ends": columns({"way": way, "seed": seed} | end for way, end in found.items())}


def ends(
    seed: int, size: int = 40, stages: int = 20, tick: Tick = lambda share: None
) -> dict[str, dict[str, float]]:
    """Where each way ends on one draw: ε, |x|²/N and the gradients spent."""
    field = RandomFourierField(size, seed=seed)
    start = field.sample(1, seed=10_000 + seed)[0]

    def seen(x: Tensor, calls: int) -> dict[str, float]:
        energy = field.energy(x).item() / size
        return {"energy": energy, "norm2": x.square().sum().item() / size, "calls": calls}

    found = {"direct": seen(*continuation.minimize(field, start))}
    for i, path in enumerate(continuation.PATHS):
        tick(i / 3)
        followed = continuation.follow(field, start, stages=stages, path=path)
        found[f"continuation, {path}"] = seen(followed.point, followed.calls)
    budget = found["continuation, linear"]["calls"]
    best, spent = found["direct"], found["direct"]["calls"]
    for x in field.sample(1000, seed=20_000 + seed):
        if spent >= budget:
            break
        tick((2 + spent / budget) / 3)
        now = seen(*continuation.minimize(field, x))
        spent += now["calls"]
        best = min(best, now, key=lambda end: end["energy"])
    found[RESTARTS] = {**best, "calls": spent}
    return found


def summary(ends: dict[str, np.ndarray]) -> list[dict[str, Any]]:
    """A row a way and control: means over seeds and the paired difference of ε."""
    ways = list(dict.fromkeys(ends["way"]))
    energy = {way: _column(ends, way, "energy") for way in ways}
    rows = []
    for way in ways:
        mean, sd, n = mean_sd(energy[way])
        seen = {"way": way, "n": n, "energy": mean, "energy_se": sd / n**0.5}
        seen |= {key: float(_column(ends, way, key).mean()) for key in ("norm2", "calls")}
        for control in ("direct", RESTARTS):
            gap = paired_difference(energy[way], energy[control])
            ends_of = {"difference": gap.value, "low": gap.low, "high": gap.high}
            rows.append(seen | {"control": control} | ends_of)
    return rows


def _column(ends: dict[str, np.ndarray], way: str, name: str) -> np.ndarray:
    ours = ends["way"] == way
    return ends[name][ours][np.argsort(ends["seed"][ours])]


def tables(run: RunData) -> list[Table]:
    """The summary as it is printed."""
    rows = [
        (
            row["way"],
            f"{row['energy']:.4f} ± {row['energy_se']:.4f}",
            row["control"],
            f"{row['difference']:+.4f} ({row['low']:+.4f} to {row['high']:+.4f})",
            number(row["norm2"]),
            number(row["calls"]),
        )
        for row in rows_of(run.tables["summary"])
        if row["way"] != row["control"]
    ]
    heads = ("way", "final ε", "control", "difference (95 %)", "|x|²/N", "gradients")
    return [Table("From convex to true", heads, rows, "Negative is better.")]


def main(config: ConvexContinuationConfig, out: Path, json_file: Path | None = None) -> None:
    """Run what ``out`` lacks and print the table.

    Args:
        config: The experiment.
        out: Run folder; the same folder and flags go on where they were.
        json_file: Also write everything there as one JSON file.
    """
    name = "convex_continuation"
    carry_out(name, run, config, out, tables=tables, json_file=json_file)


if __name__ == "__main__":
    import tyro
    from tyro.conf import OmitArgPrefixes

    tyro.cli(main, config=(OmitArgPrefixes,))
