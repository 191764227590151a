"""The ways down a landscape that `complexity_descent` compares, all of them on one draw at once.

A way is a rule for λ, a direction and what the second half of each step does. Its constants f(0),
f'(0), f''(0) are the landscape's own, or those that `measured_constants` finds on the draw.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from etalambda.lab.engine.pool import Tick
from etalambda.lab.experiments.measured_constants import field_of, measure
from etalambda.schedule import MatchedAnnealing, cosine_restarts, power_law
from etalambda.theory import complexity_descent as cgd
from etalambda.theory import critical_points
from etalambda.theory.gaussian_field import GaussianField


@dataclass(frozen=True)
class Way:
    """One way down: the λ rule ("" for none), the direction, and the second half of each step."""

    name: str
    l2: str = ""
    direction: str = "plain"
    second: str = ""
    measured: bool = False

    @property
    def calls(self) -> int:
        """Gradients a step; the raw direction's trace counts as a second one."""
        return 1 + (self.second != "" or self.direction == "raw")


WAYS = (
    Way("plain"),
    Way("plain, two steps a step", second="twice"),
    Way("raw complexity descent", direction="raw"),
    Way("raw complexity descent, measured", direction="raw", measured=True),
    Way("ridge complexity descent", direction="ridge"),
    Way("ridge complexity descent, measured", direction="ridge", measured=True),
    Way("ridge L2 (flat only)", l2="ridge"),
    Way("ridge L2 (flat only), measured", l2="ridge", measured=True),
    Way("matched annealing, L - L_c", l2="matched"),
    Way("matched annealing, L - L_c, measured", l2="matched", measured=True),
    Way("cosine L2", l2="cosine"),
    Way("constant L2", l2="constant"),
    Way("power-law L2", l2="power"),
    Way("two-step, literal", l2="power", second="literal"),
    Way("two-step, relative", l2="power", second="relative"),
)


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


@dataclass(frozen=True)
class Case:
    """A landscape, how to draw it, and the step size and λ₀ that all ways share."""

    name: str
    draw: Callable[[int], Any]
    lr: float
    l2: float


class Runner:
    """All ways on one landscape at once, one row of ``x`` a way.

    Args:
        case: The landscape's kind.
        seed: The draw.
        steps: Of every way.
        polish: Plain steps at the end, so that a way is judged by the basin that it has chosen.
        samples: Points from which the draw's constants are measured.
    """

    def __init__(self, case: Case, seed: int, *, steps: int, polish: int, samples: int) -> None:
        self.case, self.landscape = case, case.draw(seed)
        self.steps, self.polish = steps, polish
        self.known = self.landscape.field
        found = measure(self.landscape, samples, seed=30_000 + seed)
        self.measured = field_of(self.landscape, found)
        self.rules = [factors(way, self._field(way), steps) for way in WAYS]
        self.x = self._start(seed).repeat(len(WAYS), 1)
        self.before = [0.0] * len(WAYS)

    def _field(self, way: Way) -> GaussianField:
        return self.measured if way.measured else self.known

    def _start(self, seed: int) -> Tensor:
        x = self.landscape.sample(1, seed=10_000 + seed)
        while self.landscape.energy(x).item() / self.landscape.size > -0.3:
            x = critical_points.descend(self.landscape, x, 1, self.case.lr)
        return x

    def run(self, tick: Tick = lambda share: None) -> list[dict[str, float]]:
        """Every way for all its steps; what each met, one dict a way."""
        target = 0.95 * cgd.stop_energy(self.known)
        hit = [math.nan] * len(WAYS)
        saddles = torch.zeros(len(WAYS))
        norms: list[Tensor] = []
        points: list[Tensor] = []
        for step in range(self.steps):
            if step % 20 == 0:
                tick(step / self.steps)
            energy, gradient = self._look()
            points, norms = [*points[-1:], self.x], [*norms, self._tangent(gradient)]
            if step > 1:
                saddles += self._at_a_saddle(norms[-3:], points[0])
            for i, way in enumerate(WAYS):
                if energy[i] <= target and math.isnan(hit[i]):
                    hit[i] = step * way.calls
            self._step(step, energy, gradient)
        self.x = critical_points.descend(self.landscape, self.x, self.polish, self.case.lr)
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

    def _sized(self, way: Way) -> GaussianField:
        """With N, so that Q > 0 on the sphere, too."""
        f = self._field(way)
        return GaussianField(f.f0, f.f1, f.f2, f.geometry, self.landscape.size)

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
                raw = cgd.raw_direction(self.landscape, self.x[i : i + 1], self._sized(way))[0]
                move[i] = -raw * (gradient[i].norm() / raw.norm())
            elif way.direction == "ridge":
                rates[i] = cgd.ridge_rate(self._field(way), energy[i])
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
