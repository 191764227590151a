"""Do saddles have the index that the theory says? Critical points of drawn 3-spin landscapes.

Richemond & Guo 2019, eq. (11): a critical point at energy ε has the share α(ε) of negative
curvatures. On the sphere the constants need the sphere's own curvature; the printed ones are flat.
Critical points are found by Levenberg's method from random starts and from starts after some
descent. The measure is the rms of α - α(ε), which falls as 1/N, and the same for the printed
formula, which stays. Pass: the 95 % interval of the fitted exponent (1000 bootstraps over draws)
holds -1, and at the largest N the printed formula errs more than 5 times as much.

The 1/N has a logarithm: the number of negative eigenvalues of such a matrix fluctuates with the
variance ln N/π² + c (Mehta; one end of the interval in the bulk), so that N² times the mean square
grows with slope 1/π² in ln N. The fit says both.

Tables: ``points`` (size, seed, energy, mean_eigenvalue, index, theory, printed), ``summary`` (size,
draws, n, rms, low, high, rms_printed, slope of λ̄ on ε, which is -3) and ``fit`` (of: exponent or
log_slope, value, low, high, theory).

Run it: ``python -m etalambda.lab.experiments.saddle_index --out FOLDER``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from etalambda.lab.configs import check_counts
from etalambda.lab.engine.pool import Tick
from etalambda.lab.experiments.alone import carry_out
from etalambda.lab.experiments.parts import Progress, Tables, columns, record_all, rows_of
from etalambda.lab.records import Run, RunData, read
from etalambda.lab.report.tables import Table, number
from etalambda.theory import critical_points
from etalambda.theory.gaussian_field import GaussianField
from etalambda.theory.spin_glass import SphericalSpinGlass

DESCENTS = (0, 5, 15, 40)  # steps before the search, a quarter of the starts each


@dataclass(frozen=True)
class SaddleIndexConfig:
    """Index against energy at critical points of the 3-spin sphere, as N grows."""

    sizes: tuple[int, ...] = (20, 40, 70, 100)
    """N of each landscape."""
    budget: int = 1200
    """Spins of all draws of a size: it has budget / N landscapes."""
    starts: int = 32
    """Starts a draw, a multiple of 4."""
    steps: int = 120
    """Steps of each search; points that have not converged by then are left out."""

    def __post_init__(self) -> None:
        check_counts(steps=self.steps, **{f"sizes[{i}]": n for i, n in enumerate(self.sizes)})
        if self.starts < 4 or self.starts % 4:
            raise ValueError(f"starts must be a multiple of 4, got {self.starts}")
        if len(self.sizes) < 2:
            raise ValueError(f"sizes must hold two or more for an exponent, got {self.sizes}")
        if self.budget < 2 * max(self.sizes):
            raise ValueError(
                f"budget must be at least twice the largest size, got {self.budget} for "
                f"{self.sizes}: an interval needs two draws"
            )


def run(config: SaddleIndexConfig, record: Run, progress: Progress) -> None:
    """Every draw of every size; recorded ones are skipped."""
    jobs = {
        f"size={size}.seed={seed}": partial(_draw, config, size, seed)
        for size in sorted(config.sizes, reverse=True)
        for seed in range(config.budget // size)
    }
    record_all(record, jobs, progress, "saddles")
    if "summary" not in record.done:
        by_size, fit = summary(read(record.folder).tables["points"])
        record.add("summary", summary=columns(by_size), fit=columns(fit))
    record.finish()


def _draw(config: SaddleIndexConfig, size: int, seed: int, tick: Tick) -> Tables:
    glass = SphericalSpinGlass({3: 1.0}, size, seed=seed)
    parts = glass.sample(config.starts, seed=100 + seed).chunk(len(DESCENTS))
    ways = [critical_points.descend(glass, x, n, 0.02) for x, n in zip(parts, DESCENTS)]
    tick(0.1)
    found = critical_points.find(glass, torch.cat(ways), steps=config.steps)
    printed = GaussianField.p_spin(3, geometry="flat")
    row = {
        "size": size,
        "seed": seed,
        "energy": found.energies.numpy(),
        "mean_eigenvalue": found.mean_eigenvalues.numpy(),
        "index": found.indices.numpy(),
        "theory": glass.field.index_at_energy(found.energies).numpy(),
        "printed": printed.index_at_energy(found.energies).numpy(),
    }
    return {"points": columns([row])}


def summary(points: dict[str, np.ndarray]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """A row a size, and the two fits in N, with intervals by bootstrap over draws."""
    sizes = np.unique(points["size"])
    generator = np.random.default_rng(0)
    rows, levels = [], []
    for size in sizes:
        ours = {name: column[points["size"] == size] for name, column in points.items()}
        squares = (ours["index"] - ours["theory"]) ** 2
        draws = [squares[ours["seed"] == seed] for seed in np.unique(ours["seed"])]
        picks = generator.integers(len(draws), size=(1000, len(draws)))
        level = [np.sqrt(np.concatenate([draws[i] for i in pick]).mean()) for pick in picks]
        levels.append(level)
        low, high = np.quantile(level, [0.025, 0.975])
        energy = ours["energy"]
        rows.append(
            {
                "size": int(size),
                "draws": len(draws),
                "n": len(energy),
                "rms": float(np.sqrt(squares.mean())),
                "low": float(low),
                "high": float(high),
                "rms_printed": float(np.sqrt(((ours["index"] - ours["printed"]) ** 2).mean())),
                "slope": float((ours["mean_eigenvalue"] * energy).sum() / (energy**2).sum()),
            }
        )
    rms = np.hstack([np.array([[row["rms"]] for row in rows]), np.array(levels)])
    exponents = np.polyfit(np.log(sizes), np.log(rms), 1)[0]
    slopes = np.polyfit(np.log(sizes), (rms * sizes[:, None]) ** 2, 1)[0]
    fits = [_fit("exponent", exponents, -1.0), _fit("log_slope", slopes, 1 / np.pi**2)]
    return rows, fits


def _fit(name: str, values: np.ndarray, theory: float) -> dict[str, Any]:
    """The first value with the interval of the others."""
    low, high = np.quantile(values[1:], [0.025, 0.975])
    ends = {"low": float(low), "high": float(high)}
    return {"of": name, "value": float(values[0]), **ends, "theory": theory}


def tables(run: RunData) -> list[Table]:
    """The summary as it is printed."""
    rows = [
        (
            str(row["size"]),
            str(row["draws"]),
            str(row["n"]),
            f"{number(row['rms'])} ({number(row['low'])} to {number(row['high'])})",
            number(row["rms_printed"]),
            f"{row['slope']:.3f}",
        )
        for row in rows_of(run.tables["summary"])
    ]
    fit = run.tables["fit"]
    lines = zip(fit["of"], fit["value"], fit["low"], fit["high"], fit["theory"])
    note = "; ".join(
        f"{of} {v:.3f} ({a:.3f} to {b:.3f}), theory {t:.3f}" for of, v, a, b, t in lines
    )
    heads = ("N", "draws", "points", "rms (95 %)", "as printed", "λ̄/ε")
    return [Table("Index of saddles, 3-spin sphere", heads, rows, note)]


def main(config: SaddleIndexConfig, out: Path, json_file: Path | None = None) -> None:
    """Run what ``out`` lacks and print the table.

    Args:
        config: The experiment.
        out: Run folder; the same folder and flags go on where they were.
        json_file: Also write everything there as one JSON file.
    """
    carry_out("saddle_index", run, config, out, tables=tables, json_file=json_file)


if __name__ == "__main__":
    import tyro
    from tyro.conf import OmitArgPrefixes

    tyro.cli(main, config=(OmitArgPrefixes,))
