"""Does descending the complexity help? Gradient descent on landscapes whose answers are known.

Richemond & Guo 2019 left the empirical half of complexity gradient descent to a Part II. Here all
ways of it start at one point of one drawn landscape (ε just below -0.3 after plain descent) and
spend 600 steps: the literal and the ridge descent of Σ, the L2 schedules that the paper
derives from them, constant L2, and the controls no L2 and two plain steps a step. Then each takes
200 plain steps. What needs f(0), f'(0), f''(0) runs twice: with the landscape's own constants, and
with those that `etalambda.diagnose.covariance_constants` measures of the draw.

Landscapes: the pure 3-spin sphere, N = 100, and the flat rational-quadratic field, d = 40. The
measure is the paired difference of the final energy density ε to plain descent; ways that spend two
gradients a step are compared with the control that does too. A way is better if the 95 % interval
of its paired difference lies below 0. Also: the gradients spent until ε is 0.95 of the threshold
max(ε_c, -E₀), the saddles met (local minima of |∇φ| with a negative eigenvalue), |x|²/N.

Tables: ``ends`` (case, way, seed, energy, index, mean_eigenvalue, norm2, saddles,
calls_to_threshold; NaN calls: never), ``constants`` (case, seed, f0, f1, f2 as measured, critical
and its known value) and ``summary`` (a row a case and way).

Run it: ``python -m etalambda.lab.experiments.complexity_descent --out FOLDER``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from etalambda._common import check_positive
from etalambda.lab.configs import check_counts
from etalambda.lab.engine.pool import Tick
from etalambda.lab.experiments.alone import carry_out
from etalambda.lab.experiments.parts import Progress, Tables, columns, record_all, rows_of
from etalambda.lab.experiments.ways_down import WAYS, Case, Runner
from etalambda.lab.records import Run, RunData, read
from etalambda.lab.report.tables import Table, number
from etalambda.lab.statistics import mean_sd, paired_difference
from etalambda.theory.random_field import RandomFourierField
from etalambda.theory.spin_glass import SphericalSpinGlass


@dataclass(frozen=True)
class ComplexityDescentConfig:
    """Complexity gradient descent against its controls, on landscapes with known answers."""

    seeds: int = 32
    """Draws of each landscape, from seed 0 on; all ways share each."""
    steps: int = 600
    """Steps of every way."""
    polish: int = 200
    """Plain steps at the end, so that a way is judged by the basin that it has chosen."""
    spins: int = 100
    """N of the 3-spin sphere."""
    dimensions: int = 40
    """d of the flat field."""
    samples: int = 400
    """Points from which a draw's constants are measured, 9 energies and 2 derivatives each."""
    l2_scale: float = 1.0
    """Factor on every λ₀. On the sphere 2 is the pole of cosine annealing."""
    only: str = ""
    """A part of a case's name (sphere or flat); empty for both."""

    def __post_init__(self) -> None:
        check_counts(steps=self.steps, polish=self.polish, spins=self.spins, samples=self.samples)
        check_positive(l2_scale=self.l2_scale)
        if self.seeds < 2:
            raise ValueError(f"seeds must be at least 2 for a standard error, got {self.seeds}")
        if not cases(self):
            raise ValueError(f"only must be a part of a case's name, got {self.only!r}; try flat")


def cases(config: ComplexityDescentConfig) -> list[Case]:
    """The landscapes that a config asks for."""
    spins, size, scale = config.spins, config.dimensions, config.l2_scale
    known = [
        Case(
            f"3-spin sphere, N = {spins}",
            lambda seed: SphericalSpinGlass({3: 1.0}, spins, seed=seed),
            0.05,
            2.5 * scale,
        ),
        Case(
            f"flat rational quadratic, d = {size}",
            lambda seed: RandomFourierField(size, features=2000, seed=seed),
            0.1,
            0.7 * scale,
        ),
    ]
    return [case for case in known if config.only in case.name]


def run(config: ComplexityDescentConfig, record: Run, progress: Progress) -> None:
    """Every draw of every case; recorded ones are skipped."""
    jobs = {
        f"{case.name.split()[0]}.seed={seed}": partial(_draw, config, case, seed)
        for case in cases(config)
        for seed in range(config.seeds)
    }
    record_all(record, jobs, progress, "complexity descent")
    if "summary" not in record.done:
        record.add("summary", summary=columns(summary(read(record.folder).tables["ends"])))
    record.finish()


def _draw(config: ComplexityDescentConfig, case: Case, seed: int, tick: Tick) -> Tables:
    how = dict(steps=config.steps, polish=config.polish, samples=config.samples)
    runner = Runner(case, seed, **how)
    where = {"case": case.name, "seed": seed}
    ends = columns(where | {"way": way.name} | end for way, end in zip(WAYS, runner.run(tick)))
    field = runner.measured
    constants = {"f0": field.f0, "f1": field.f1, "f2": field.f2}
    constants |= {"critical": field.critical_energy, "known": runner.known.critical_energy}
    return {"ends": ends, "constants": columns([where | constants])}


def summary(ends: dict[str, np.ndarray]) -> list[dict[str, Any]]:
    """A row a case and way: means over seeds, and the paired difference to the way's control."""
    rows = []
    for case in dict.fromkeys(ends["case"]):
        here = {way.name: _by_seed(ends, case, way.name) for way in WAYS}
        for way in WAYS:
            control = WAYS[0 if way.calls == 1 else 1].name
            end = here[way.name]
            mean, sd, n = mean_sd(end["energy"])
            gap = paired_difference(end["energy"], here[control]["energy"])
            twin = here[way.name.removesuffix(", measured")]["energy"]
            apart = paired_difference(end["energy"], twin if way.measured else math.nan * twin)
            calls = end["calls_to_threshold"]
            reached = np.isfinite(calls)
            rows.append(
                {
                    "case": case,
                    "way": way.name,
                    "control": control,
                    "n": n,
                    "energy": mean,
                    "energy_se": sd / n**0.5,
                    "difference": gap.value,
                    "low": gap.low,
                    "high": gap.high,
                    "to_known": apart.value,
                    "to_known_low": apart.low,
                    "to_known_high": apart.high,
                    "saddles": float(end["saddles"].mean()),
                    "index": float(end["index"].mean()),
                    "norm2": float(end["norm2"].mean()),
                    "reached": int(reached.sum()),
                    "median_calls": float(np.median(calls[reached])) if reached.any() else math.nan,
                }
            )
    return rows


def _by_seed(ends: dict[str, np.ndarray], case: str, way: str) -> dict[str, np.ndarray]:
    ours = (ends["case"] == case) & (ends["way"] == way)
    order = np.argsort(ends["seed"][ours])
    return {name: column[ours][order] for name, column in ends.items()}


def tables(run: RunData) -> list[Table]:
    """The summary as it is printed, a table a case."""
    rows: dict[str, list[tuple[str, ...]]] = {}
    for row in rows_of(run.tables["summary"]):
        rows.setdefault(row["case"], []).append(
            (
                row["way"],
                f"{row['energy']:.4f} ± {row['energy_se']:.4f}",
                f"{row['difference']:+.4f} ({row['low']:+.4f} to {row['high']:+.4f})",
                number(row["saddles"]),
                f"{row['reached']}/{row['n']}",
                number(row["median_calls"]),
            )
        )
    heads = ("way", "final ε", "to its control (95 %)", "saddles", "reached", "calls")
    note = "Negative is better. Two gradients a step are compared with two plain steps a step."
    return [Table(case, heads, lines, note) for case, lines in rows.items()]


def main(config: ComplexityDescentConfig, out: Path, json_file: Path | None = None) -> None:
    """Run what ``out`` lacks and print the table.

    Args:
        config: The experiment.
        out: Run folder; the same folder and flags go on where they were.
        json_file: Also write everything there as one JSON file.
    """
    name = "complexity_descent"
    carry_out(name, run, config, out, tables=tables, json_file=json_file)


if __name__ == "__main__":
    import tyro
    from tyro.conf import OmitArgPrefixes

    tyro.cli(main, config=(OmitArgPrefixes,))
