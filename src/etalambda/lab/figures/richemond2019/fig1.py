"""Figure 1 of Richemond & Guo 2019: index and energy of the critical points of a Gaussian field.

Three panels: (a) the density of Hessian eigenvalues at a critical point, a semicircle around λ̄;
(b) the index α against λ̄, eq. (9); (c) α against the energy ε, eq. (11), with ε_c dashed. The
claim is tested twice: the drawn curves against quadrature, and the curve of panel (c) against the
critical points that Levenberg's method finds in drawn 3-spin landscapes.

Departures from the paper: it does not name its field, ours is the rational quadratic one (flat); on
the sphere its flat constants do not apply, so the spin glasses are compared with the corrected
ones (CGD-E10s), and the printed ones must do worse.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from etalambda.lab.engine.pool import Tick
from etalambda.lab.experiments.parts import Tables
from etalambda.lab.figures.style import FAINT, OKABE_ITO, figure, house_style
from etalambda.lab.reproduce import Bench, Figure, Jobs, Recipe, above, below
from etalambda.lab.statistics import Interval, exact, mean_interval, paired_difference
from etalambda.theory import critical_points
from etalambda.theory.figure_1 import panels
from etalambda.theory.gaussian_field import GaussianField
from etalambda.theory.spin_glass import SphericalSpinGlass


@dataclass(frozen=True, kw_only=True)
class Curves(Recipe):
    """Points of a curve; size, draws and starts of the 3-spin landscapes."""

    points: int
    size: int
    draws: int
    starts: int


def measure(recipe: Curves, bench: Bench) -> list[Jobs]:
    """The curves of the flat field, and the critical points of every drawn landscape."""
    draws = {f"draw={seed}": _draw(recipe, seed) for seed in range(recipe.draws)}
    return [{"curves": lambda tick: {"curves": curves(recipe.points)}} | draws]


def curves(points: int) -> dict[str, np.ndarray]:
    """The three panels as one table, with the index by quadrature beside the drawn one."""
    field = GaussianField.rational_quadratic()
    drawn = panels(field, mean_eigenvalue=0.5 * field.f2**0.5, points=points)
    shift = (np.asarray(drawn[1].x), np.asarray(field.mean_eigenvalue(drawn[2].x)))
    control = [np.full(points, np.nan), *(_quadrature(s / field.radius) for s in shift)]
    pieces = zip("abc", drawn, control)
    rows = [
        dict(
            panel=np.full(points, letter, dtype=object),
            x=panel.x.numpy(),
            y=panel.y.numpy(),
            control=by_quadrature,
            critical_energy=np.full(points, field.critical_energy),
        )
        for letter, panel, by_quadrature in pieces
    ]
    return {key: np.concatenate([row[key] for row in rows]) for key in rows[0]}


def _quadrature(x: np.ndarray) -> np.ndarray:
    """Eq. (9), (2/π) ∫ from x to 1 of √(1 - t²) dt, by quadrature in the angle."""
    from scipy.integrate import quad

    def one(start: float) -> float:
        angle = np.arccos(np.clip(start, -1, 1))
        return quad(lambda a: np.sin(a) ** 2, 0, angle, epsabs=1e-13)[0]

    return np.array([2 / np.pi * one(start) for start in x])


def _draw(recipe: Curves, seed: int) -> Any:
    def job(tick: Tick) -> Tables:
        glass = SphericalSpinGlass({3: 1.0}, recipe.size, seed=seed)
        found = []
        for group in range(4):  # starts from high to low, so that all indices are met
            start = glass.sample(recipe.starts, seed=1000 * seed + group)
            start = critical_points.descend(glass, start, 3 * group)
            found.append(critical_points.find(glass, start, steps=100))
            tick((group + 1) / 4)
        energy = torch.cat([points.energies for points in found]).numpy()
        index = torch.cat([points.indices for points in found]).numpy()
        sphere, flat = (
            GaussianField.p_spin(3, geometry=geometry).index_at_energy(energy).numpy()
            for geometry in ("sphere", "flat")
        )
        columns = dict(energy=energy, index=index, sphere=sphere, flat=flat)
        return {"points": {"draw": np.full(len(energy), seed)} | columns}

    return job


def estimate(tables: Tables) -> Mapping[str, Interval]:
    """Error of the curves, and the rms distance of the critical points from either formula."""
    drawn, points = tables["curves"], tables["points"]
    ours = np.isfinite(drawn["control"])
    error = np.abs(drawn["y"] - drawn["control"])[ours]
    seeds = np.unique(points["draw"])
    rms = {name: [_rms(points, points["draw"] == s, name) for s in seeds] for name in GEOMETRIES}
    return {
        "curves": exact(error.max(), int(ours.sum())),
        "points": mean_interval(rms["sphere"]),
        "printed": paired_difference(rms["flat"], rms["sphere"]),
    }


GEOMETRIES = ("sphere", "flat")


def _rms(points: dict[str, np.ndarray], ours: np.ndarray, name: str) -> float:
    return float(np.sqrt(np.mean((points["index"][ours] - points[name][ours]) ** 2)))


@house_style
def draw(tables: Tables) -> Any:
    """The paper's three panels; the critical points of the spin glasses in a fourth."""
    made, axes = figure(14.0, 3.7, columns=4)
    drawn, points = tables["curves"], tables["points"]
    labels = {
        "a": ("Hessian eigenvalue x", "density ρ(x)", "(a) around λ̄"),
        "b": ("mean eigenvalue λ̄", "index α", "(b) index and mean curvature"),
        "c": ("energy ε", "index α", "(c) index and energy"),
    }
    for axis, (panel, (x, y, title)) in zip(axes, labels.items()):
        ours = drawn["panel"] == panel
        axis.plot(drawn["x"][ours], drawn["y"][ours], color=OKABE_ITO[0])
        axis.set(xlabel=x, ylabel=y, title=title)
    spectrum = drawn["panel"] == "a"
    x, rho = drawn["x"][spectrum], drawn["y"][spectrum]
    axes[0].fill_between(x, rho, where=x <= 0, color=OKABE_ITO[1], alpha=0.3, lw=0, label="α")
    axes[2].axvline(drawn["critical_energy"][0], color="red", linestyle="--", label="ε_c")
    order = np.argsort(points["energy"])
    axes[3].plot(points["energy"], points["index"], ".", color=FAINT, label="critical points")
    for name, colour in zip(GEOMETRIES, OKABE_ITO):
        label = "theory, sphere" if name == "sphere" else "as printed (flat)"
        axes[3].plot(points["energy"][order], points[name][order], color=colour, label=label)
    axes[3].set(xlabel="energy ε", ylabel="index α", title="3-spin on the sphere")
    for axis in (axes[0], axes[2], axes[3]):
        axis.legend()
    return made


SPIN = "the paper names no field: rational quadratic in (a)-(c), 3-spin with N = {} in the fourth"

FIGURE = Figure(
    name="richemond2019-fig1",
    shows="Figure 1",
    claim="The index of a critical point is the integrated semicircle, and falls with its energy.",
    criteria={
        "curves": below("largest error of the drawn α against quadrature", 1e-9),
        "points": below("rms distance of critical points' index from α(ε)", 0.05),
        "printed": above("how much worse the printed constants do on the sphere", 0.0),
    },
    recipes={
        "smoke": Curves(
            minutes=0.02, points=41, size=12, draws=3, starts=4, departures=(SPIN.format(12),)
        ),
        "cpu": Curves(
            minutes=1.0, points=401, size=40, draws=10, starts=10, departures=(SPIN.format(40),)
        ),
    },
    measure=measure,
    estimate=estimate,
    draw=draw,
)
