"""The stylized facts of Richemond & Guo 2019, section 3.4: does their theory imply them?

One number a fact, measured where the theory is exact (3-spin landscapes on the sphere, GOE
matrices) or where it claims to reach (networks). A fact holds if the number is what it would make
of it; C2, C5 and C8 do not follow from the theory, and their criteria are free to fail.

    C1  L2 raises the effective lr: tan of a projected step's angle, with L2 over without
    C2  L2 is of the order of lr: what two runs differ by whose λ/η are 100 times apart but whose
        losses are scaled so that ηλ is equal (the fact: they differ)
    C3  exponentially many critical points: slope of ln count on N
    C4  curvature increases in training: slope of tr H/N on ε along descent (-p = -3)
    C5  critical points cluster: sd of the overlaps of minima over that of random points
    C6  many local minima: distinct minima that 20 descents reach
    C7  power laws: exponent of the index at the edge (3/2)
    C8  Gaussian formulas reach networks: share of ReLU networks whose f''(0) is finite

Departures from the paper, which tests none of them: all of this is ours.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from etalambda._common import need
from etalambda.diagnose import covariance_constants
from etalambda.lab.engine.pool import Tick
from etalambda.lab.experiments.parts import Tables
from etalambda.lab.figures.style import INK, OKABE_ITO, house_style
from etalambda.lab.reproduce import Bench, Figure, Jobs, Recipe, above, within
from etalambda.lab.statistics import Interval, mean_interval, mean_sd, slope
from etalambda.theory import critical_points
from etalambda.theory.spin_glass import SphericalSpinGlass


@dataclass(frozen=True, kw_only=True)
class Facts(Recipe):
    """Draws, N of the landscapes, sizes at which critical points are counted, and N of the GOE."""

    draws: int
    spins: int
    counted: tuple[int, ...]
    starts: int
    matrix: int
    samples: int


def measure(recipe: Facts, bench: Bench) -> list[Jobs]:
    """One part a fact."""
    return [{name: _job(recipe, name, one) for name, one in FACTS.items()}]


def _job(recipe: Facts, name: str, one: Callable[[Facts, int], float]) -> Callable[[Tick], Tables]:
    def job(tick: Tick) -> Tables:
        values = []
        for seed in range(recipe.draws):
            values.append(one(recipe, seed))
            tick((seed + 1) / recipe.draws)
        names = np.full(len(values), name, dtype=object)
        return {"facts": dict(fact=names, seed=np.arange(len(values)), value=np.array(values))}

    return job


def _glass(size: int, seed: int) -> SphericalSpinGlass:
    return SphericalSpinGlass({3: 1.0}, size, seed=seed)


def raises_lr(recipe: Facts, seed: int, lr: float = 0.02, decay: float = 5.0) -> float:
    """C1, at a random point: λ = decay / 2."""
    glass = _glass(recipe.spins, seed)
    x = glass.sample(1, seed=seed)
    gradient = glass.gradient(x)

    def tangent(weight_decay: float) -> float:
        moved = x * (1 - lr * weight_decay) - lr * gradient
        along = (moved * x).sum() / x.norm()
        across = (moved - along * x / x.norm()).norm()
        return float(across / along)

    return tangent(decay) / tangent(0.0)


def same_order(recipe: Facts, seed: int, scale: float = 10.0) -> float:
    """C2: projected descent on φ with (η, λ) and on 10 φ with (η/10, 10 λ)."""
    glass = _glass(recipe.spins, seed)
    start = glass.sample(1, seed=seed)

    def end(times: float) -> Tensor:
        x, lr, decay = start, 0.02 / times, 0.5 * times
        for _ in range(100):
            x = x * (1 - lr * decay) - lr * times * glass.gradient(x)
            x = critical_points.retract(glass, x)
        return x

    return float((end(1.0) - end(scale)).norm() / end(1.0).norm())


def distinct(points: Tensor, within_overlap: float = 0.999) -> Tensor:
    """The rows of (k, N) on the sphere that no earlier row is equal to."""
    overlap = points @ points.T / points.shape[1]
    earlier = torch.tril(overlap, diagonal=-1) > within_overlap
    return points[~earlier.any(1)]


def exponentially_many(recipe: Facts, seed: int) -> float:
    """C3: the slope of ln(number of distinct critical points found) on N."""
    counts = []
    for size in recipe.counted:
        glass = _glass(size, 100 * seed + size)
        found = critical_points.find(glass, glass.sample(recipe.starts, seed=seed), steps=60)
        counts.append(len(distinct(found.points)))
    return slope(recipe.counted, np.log(counts)).value


def curvature_increases(recipe: Facts, seed: int) -> float:
    """C4: along 60 steps of descent, slope of the mean eigenvalue on ε."""
    glass = _glass(recipe.spins, seed)
    x, energies, curvatures = glass.sample(1, seed=seed), [], []
    for _ in range(20):
        seen = critical_points.measure(glass, x)
        energies.append(float(seen.energies))
        curvatures.append(float(seen.mean_eigenvalues))
        x = critical_points.descend(glass, x, 3)
    return slope(energies, curvatures).value


def _minima(recipe: Facts, seed: int, count: int = 20) -> Tensor:
    glass = _glass(recipe.spins, seed)
    rough = critical_points.descend(glass, glass.sample(count, seed=seed), 150)
    found = critical_points.find(glass, rough, steps=40)
    return distinct(found.where(found.indices == 0).points)


def clusters(recipe: Facts, seed: int) -> float:
    """C5: overlaps of minima of one landscape; random points have sd 1/√N."""
    minima = _minima(recipe, seed)
    overlaps = (minima @ minima.T / minima.shape[1])[np.triu_indices(len(minima), 1)]
    return float(overlaps.std() * minima.shape[1] ** 0.5) if len(overlaps) > 1 else float("nan")


def many_minima(recipe: Facts, seed: int) -> float:
    """C6: distinct minima."""
    return float(len(_minima(recipe, seed)))


def edge_exponent(recipe: Facts, seed: int) -> float:
    """C7: log-log slope of the share of GOE eigenvalues below the edge + 2d on d."""
    random = np.random.default_rng(seed)
    size = recipe.matrix
    gauss = random.normal(size=(size, size)) / size**0.5
    eigenvalues = np.linalg.eigvalsh((gauss + gauss.T) / 2**0.5)
    distances = np.geomspace(0.08, 0.5, 8)
    share = [float((eigenvalues < -2 + 2 * d).mean()) for d in distances]
    met = np.array(share) > 0
    return slope(np.log(distances[met]), np.log(np.array(share)[met])).value


def finite_curvature(recipe: Facts, seed: int) -> float:
    """C8: 1 if f''(0) of a ReLU network does not grow without bound at small angles."""
    made = torch.Generator().manual_seed(seed)
    x = torch.randn(64, 10, generator=made, dtype=torch.float64)
    y = torch.randint(3, (64,), generator=made)

    def make() -> nn.Module:
        return nn.Sequential(nn.Linear(10, 16), nn.ReLU(), nn.Linear(16, 3)).double()

    found = covariance_constants(
        make, nn.CrossEntropyLoss(), (x, y), samples=recipe.samples, seed=seed
    )
    return float(not found.diverging)


FACTS: dict[str, Callable[[Facts, int], float]] = {
    "C1": raises_lr,
    "C2": same_order,
    "C3": exponentially_many,
    "C4": curvature_increases,
    "C5": clusters,
    "C6": many_minima,
    "C7": edge_exponent,
    "C8": finite_curvature,
}
CRITERIA = {
    "C1": above("C1 L2 raises the effective lr: ratio of step angles", 1.0),
    "C2": above("C2 λ is of η's order: distance of runs with λ/η 100 times apart", 1e-3),
    "C3": above("C3 many critical points: slope of ln count on N", 0.1),
    "C4": within("C4 curvature increases: slope of tr H/N on ε (-3)", -3.3, -2.7),
    "C5": above("C5 minima cluster: sd of overlaps over that of random points", 1.2),
    "C6": above("C6 many minima: distinct ones from 20 descents", 1.5),
    "C7": within("C7 power law at the edge: exponent (3/2)", 1.35, 1.65),
    "C8": above("C8 formulas reach ReLU nets: share with finite f''(0)", 0.5),
}


def estimate(tables: Tables) -> Mapping[str, Interval]:
    """The mean of each fact's number over the draws."""
    facts = tables["facts"]
    return {name: mean_interval(facts["value"][facts["fact"] == name]) for name in FACTS}


@house_style
def draw(tables: Tables) -> Any:
    """A panel a fact: one dot a draw, mean and sd, and the margin as lines."""
    made = need("matplotlib.figure", "lab").Figure((13.0, 5.2), layout="constrained")
    facts = tables["facts"]
    for axis, (name, criterion) in zip(made.subplots(2, 4).flat, CRITERIA.items()):
        values = facts["value"][facts["fact"] == name]
        places = np.linspace(-0.3, 0.3, len(values))
        axis.plot(places, values, "o", ms=4, alpha=0.6, color=OKABE_ITO[0])
        mean, sd, _ = mean_sd(values)
        axis.errorbar(0.5, mean, yerr=sd, fmt="o", color=INK, capsize=3)
        for bound in (criterion.low, criterion.high):
            if np.isfinite(bound):
                axis.axhline(bound, color=OKABE_ITO[1], ls="--", lw=1.0)
        axis.set(xlim=(-0.6, 0.8), xticks=[])
        said = criterion.says.partition(": ")
        axis.set_title(said[0], fontsize=9)
        axis.set_ylabel(said[2], fontsize=8)
    return made


OURS = "the paper tests none of its facts; 3-spin landscapes of N = {}, GOE matrices of N = {}"

FIGURE = Figure(
    name="richemond2019-facts",
    shows="Section 3.4, stylized facts",
    claim="Complexity gradients match the stylized facts C1 to C8 of training.",
    criteria=CRITERIA,
    recipes={
        "smoke": Facts(
            minutes=0.06,
            draws=3,
            spins=12,
            counted=(3, 4, 5),
            starts=30,
            matrix=80,
            samples=6,
            departures=(OURS.format(12, 80),),
        ),
        "cpu": Facts(
            minutes=2.0,
            draws=10,
            spins=40,
            counted=(4, 6, 8, 10),
            starts=400,
            matrix=400,
            samples=60,
            departures=(OURS.format(40, 400),),
        ),
    },
    measure=measure,
    estimate=estimate,
    draw=draw,
)
