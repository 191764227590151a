"""Does descending the complexity help? Gradient descent on landscapes whose answers are known.

Richemond & Guo 2019 left the empirical half of complexity gradient descent to a Part II. Here all
ways of it start at one point of one drawn landscape (ε just below -0.3 after plain descent) and
spend 600 steps: the literal and the ridge descent of Σ, the L2 schedules that the paper
derives from them, constant L2, and the controls no L2 and two plain steps a step. Then each takes
200 plain steps.

Landscapes: the pure 3-spin sphere, N = 100, and the flat rational-quadratic field, d = 40. The
measure is the paired difference of the final energy density ε to plain descent; ways that spend two
gradients a step are compared with the control that does too. A way is better if the 95 % interval
of its paired difference lies below 0. Also: the gradients spent until ε is 0.95 of the threshold
max(ε_c, -E₀), the saddles met (local minima of |∇φ| with a negative eigenvalue), |x|²/N.

Run it: ``python -m etalambda.lab.experiments.complexity_descent --out FILE --seeds 32``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from etalambda.schedule import MatchedAnnealing, cosine_restarts, power_law
from etalambda.theory import complexity_descent as cgd
from etalambda.theory import critical_points
from etalambda.theory.gaussian_field import GaussianField
from etalambda.theory.random_field import RandomFourierField
from etalambda.theory.spin_glass import SphericalSpinGlass


@dataclass(frozen=True)
class Way:
    """One way down: the λ rule ("" for none), the direction, and the second half of each step."""

    name: str
    l2: str = ""
    direction: str = "plain"
    second: str = ""

    @property
    def calls(self) -> int:
        """Gradients a step; the raw direction's trace counts as a second one."""
        return 1 + (self.second != "" or self.direction == "raw")


WAYS = (
    Way("plain"),
    Way("plain, two steps a step", second="twice"),
    Way("raw complexity descent", direction="raw"),
    Way("ridge complexity descent", direction="ridge"),
    Way("ridge L2 (flat only)", l2="ridge"),
    Way("matched annealing, L - L_c", l2="matched"),
    Way("cosine L2", l2="cosine"),
    Way("constant L2", l2="constant"),
    Way("power-law L2", l2="power"),
    Way("two-step, literal", l2="power", second="literal"),
    Way("two-step, relative", l2="power", second="relative"),
)


POLISH = 200  # plain steps at the end, so that a way is judged by the basin that it has chosen


@dataclass(frozen=True)
class Case:
    """A landscape, how to draw it, and the step size and λ₀ that all ways share."""

    draw: Callable[[int], Any]
    lr: float
    l2: float
    steps: int


CASES = {
    "3-spin sphere, N = 100": Case(
        lambda seed: SphericalSpinGlass({3: 1.0}, 100, seed=seed), 0.05, 2.5, 600
    ),
    "flat rational quadratic, d = 40": Case(
        lambda seed: RandomFourierField(40, features=2000, seed=seed), 0.1, 0.7, 600
    ),
}


def factors(way: Way, field: GaussianField, steps: int) -> Callable[[int, float], float]:
    """step, ε -> the factor on λ₀ of a way's rule, by the schedule room's own rules."""
    if way.l2 == "matched":
        rule = MatchedAnnealing(reference=field.critical_energy)
        state = rule.init()

        def matched(step: int, energy: float) -> float:
            nonlocal state
            factor, state = rule.update(state, {"loss": energy, "initial": 1.0})
            return factor

        return matched
    if way.l2 == "ridge":
        return lambda step, energy: float(cgd.missing_convexity(field, energy))
    plans: dict[str, Callable[[int], float]] = {
        "": lambda step: 0.0,
        "constant": lambda step: 1.0,
        "cosine": cosine_restarts(steps),
        "power": power_law(),
    }
    return lambda step, energy: plans[way.l2](step)


class Runner:
    """All ways on one landscape at once, one row of ``x`` a way."""

    def __init__(self, case: Case, seed: int) -> None:
        self.case, self.landscape = case, case.draw(seed)
        field = self.landscape.field
        size = self.landscape.size
        self.measured = GaussianField(field.f0, field.f1, field.f2, field.geometry, size)
        self.rules = [factors(way, field, case.steps) for way in WAYS]
        self.x = self._start(seed).repeat(len(WAYS), 1)
        self.before = [0.0] * len(WAYS)

    def _start(self, seed: int) -> Tensor:
        x = self.landscape.sample(1, seed=10_000 + seed)
        while self.landscape.energy(x).item() / self.landscape.size > -0.3:
            x = critical_points.descend(self.landscape, x, 1, self.case.lr)
        return x

    def run(self) -> list[dict[str, float]]:
        """Every way for all its steps; what each met, one dict a way."""
        target = 0.95 * cgd.stop_energy(self.landscape.field)
        hit = [math.inf] * len(WAYS)
        saddles = torch.zeros(len(WAYS))
        norms: list[Tensor] = []
        points: list[Tensor] = []
        for step in range(self.case.steps):
            energy, gradient = self._look()
            points, norms = [*points[-1:], self.x], [*norms, self._tangent(gradient)]
            if step > 1:
                saddles += self._at_a_saddle(norms[-3:], points[0])
            for i, way in enumerate(WAYS):
                if energy[i] <= target:
                    hit[i] = min(hit[i], step * way.calls)
            self._step(step, energy, gradient)
        self.x = critical_points.descend(self.landscape, self.x, POLISH, self.case.lr)
        seen = critical_points.measure(self.landscape, self.x)
        columns = {
            "energy": seen.energies.tolist(),
            "index": seen.indices.tolist(),
            "mean_eigenvalue": seen.mean_eigenvalues.tolist(),
            "norm2": (self.x.square().sum(-1) / self.landscape.size).tolist(),
            "saddles": saddles.tolist(),
            "calls_to_threshold": hit,
        }
        return [{key: column[i] for key, column in columns.items()} for i in range(len(WAYS))]

    def _look(self) -> tuple[list[float], Tensor]:
        energy = self.landscape.energy(self.x) / self.landscape.size
        return energy.tolist(), self.landscape.gradient(self.x)

    def _tangent(self, gradient: Tensor) -> Tensor:
        if self.landscape.on_sphere:
            radial = (gradient * self.x).sum(-1, keepdim=True) / self.landscape.size
            gradient = gradient - radial * self.x
        return gradient.norm(dim=-1)

    def _at_a_saddle(self, norms: list[Tensor], x: Tensor) -> Tensor:
        low = (norms[1] < norms[0]) & (norms[1] < norms[2])
        found = torch.zeros(len(WAYS))
        if low.any():
            found[low] = (critical_points.measure(self.landscape, x[low]).indices > 0).float()
        return found

    def _step(self, step: int, energy: list[float], gradient: Tensor) -> None:
        lr, size = self.case.lr, self.landscape.size
        l2 = [self.case.l2 * rule(step, e) for rule, e in zip(self.rules, energy)]
        move, rates = gradient.clone(), torch.ones(len(WAYS), 1).double()
        for i, way in enumerate(WAYS):
            if way.direction == "raw":
                raw = cgd.raw_direction(self.landscape, self.x[i : i + 1], self.measured)[0]
                move[i] = -raw * (gradient[i].norm() / raw.norm())
            elif way.direction == "ridge":
                rates[i] = cgd.ridge_rate(self.landscape.field, energy[i])
        shrink = 2 * torch.tensor(l2).double()[:, None]
        x = self.x - lr * (rates * move + shrink * self.x)
        second = [i for i, way in enumerate(WAYS) if way.second]
        sizes = [
            self._second_size(WAYS[i], l2[i], self.before[i] if step else l2[i]) for i in second
        ]
        again = self.landscape.gradient(x[second]) + shrink[second] * x[second]
        x[second] = x[second] - lr * torch.tensor(sizes).double()[:, None] * again
        self.before = l2
        self.x = x * (size**0.5 / x.norm(dim=-1, keepdim=True)) if self.landscape.on_sphere else x

    @staticmethod
    def _second_size(way: Way, now: float, before: float) -> float:
        if way.second == "twice":
            return 1.0
        if way.second == "literal":
            return now - before
        return min(1.0, abs(now - before) / before) if before else 0.0


def table(rows: list[list[dict[str, float]]]) -> list[dict[str, Any]]:
    """One row a way: means over seeds and paired differences to its control with 95 % intervals."""
    energy = torch.tensor([[way["energy"] for way in seed] for seed in rows]).double()
    found = []
    for i, way in enumerate(WAYS):
        control = 0 if way.calls == 1 else 1
        column = {key: [seed[i][key] for seed in rows] for key in rows[0][0]}
        difference = energy[:, i] - energy[:, control]
        n = len(rows)
        reached = [calls for calls in column["calls_to_threshold"] if calls < math.inf]
        found.append(
            {
                "way": way.name,
                "control": WAYS[control].name,
                "n": n,
                "energy": energy[:, i].mean().item(),
                "energy_se": energy[:, i].std().item() / n**0.5,
                "difference": difference.mean().item(),
                "difference_se": difference.std().item() / n**0.5,
                "saddles": sum(column["saddles"]) / n,
                "index": sum(column["index"]) / n,
                "norm2": sum(column["norm2"]) / n,
                "reached": len(reached),
                "median_calls": sorted(reached)[len(reached) // 2] if reached else None,
            }
        )
    return found


def main(out: Path, seeds: int = 32, l2_scale: float = 1.0, only: str = "") -> dict[str, Any]:
    """Run each case whose name holds ``only`` for ``seeds`` draws; tables and energies to ``out``.

    Args:
        out: A JSON file.
        seeds: Draws of each landscape, from seed 0 on.
        l2_scale: Factor on every λ₀. On the sphere 2 is the pole of cosine annealing.
        only: A part of a case's name; empty for all.
    """
    if seeds < 2:
        raise ValueError(f"seeds must be at least 2 for a standard error, got {seeds}")
    torch.set_num_threads(1)
    result: dict[str, Any] = {"seeds": seeds, "l2_scale": l2_scale}
    for name, case in CASES.items():
        if only not in name:
            continue
        case = Case(case.draw, case.lr, case.l2 * l2_scale, case.steps)
        rows = []
        for seed in range(seeds):
            rows.append(Runner(case, seed).run())
            print(f"\r{name}: seed {seed + 1}/{seeds}", end="", flush=True)
        print()
        energies = {w.name: [round(r[i]["energy"], 5) for r in rows] for i, w in enumerate(WAYS)}
        shared = {"lr": case.lr, "l2": case.l2, "steps": case.steps}
        result[name] = {**shared, "table": table(rows), "energies": energies}
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(result, indent=1) + "\n")
    return result


if __name__ == "__main__":
    import tyro

    tyro.cli(main)
