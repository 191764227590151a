"""Theorem 1 of Xie et al. 2022: decay that the lr does not multiply, under an lr that changes.

θ = (1 - λ') θ - η_t ∇L, eq. (1), on the quadratic L = ½ (θ - 1)². The lr keeps changing by at
least δ within bounds (Theorem 1 says: no convergence); it drops twice, as in training; or it is the
unbounded one under which eq. (1) does converge though the lr changes by more than ½ each step. The
control is L2 (the lr multiplies the decay, eq. (2)) under the first.

Departures from the paper: the theorem as printed has no bound on the lr, and is false without one;
its condition is that |η_t - η_{t+1}| >= δ for ever, which step and cosine schedules do not meet.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from etalambda.lab.engine.pool import Tick
from etalambda.lab.experiments.parts import Tables, columns
from etalambda.lab.figures.style import OKABE_ITO, by_group, figure, house_style
from etalambda.lab.reproduce import Bench, Figure, Jobs, Recipe, above, below
from etalambda.lab.statistics import Interval, exact, mean_interval
from etalambda.theory import quadratic_adaptive

DECAY, LOW, HIGH, DELTA = 0.1, 0.1, 0.6, 0.1
ARMS = {
    "changing": "(1), lr changes for ever",
    "control": "(2), the same lr",
    "drops": "(1), lr drops twice",
    "unbounded": "(1), unbounded lr",
}


@dataclass(frozen=True, kw_only=True)
class Paths(Recipe):
    """Draws of the changing lr, and steps of every path."""

    seeds: int
    steps: int


def measure(recipe: Paths, bench: Bench) -> list[Jobs]:
    """One part a draw, and one for the two schedules without chance."""
    jobs = {f"seed={seed}": _draw(recipe.steps, seed) for seed in range(recipe.seeds)}
    return [{**jobs, "schedules": lambda tick: {"paths": schedules(recipe.steps)}}]


def changing(steps: int, seed: int) -> torch.Tensor:
    """η_t in [LOW, HIGH], uniform where it is at least DELTA from the one before."""
    generator = np.random.default_rng(seed)
    found = [generator.uniform(LOW, HIGH)]
    while len(found) < steps:
        lr = generator.uniform(LOW, HIGH)
        if abs(lr - found[-1]) >= DELTA:
            found.append(lr)
    return torch.tensor(found, dtype=torch.float64)


def _draw(steps: int, seed: int) -> Any:
    def job(tick: Tick) -> Tables:
        lrs = changing(steps, seed)
        plain = quadratic_adaptive.unstable_path(1.0, 1.0, 0.0, DECAY, lrs)
        # (2) is (1) on L + (λ/2)θ²: its own minimum is 1/(1 + λ), and its λ' is 0.
        coupled = quadratic_adaptive.unstable_path(1 + DECAY, 1 / (1 + DECAY), 0.0, 0.0, lrs)
        return {
            "paths": columns(
                [_row("changing", seed, lrs, plain), _row("control", seed, lrs, coupled)]
            )
        }

    return job


def schedules(steps: int) -> dict[str, np.ndarray]:
    """Two drops of the lr by 3, and the counterexample, whose path is exact in closed form."""
    share = torch.arange(steps) / steps
    drops = 0.5 * torch.where(share < 1 / 3, 1.0, torch.where(share < 2 / 3, 1 / 3, 1 / 9)).double()
    path = quadratic_adaptive.unstable_path(1.0, 1.0, 0.0, DECAY, drops)
    lrs, there = quadratic_adaptive.theorem1_counterexample(steps, DECAY)
    return columns([_row("drops", 0, drops, path), _row("unbounded", 0, lrs, there)])


def _row(arm: str, seed: int, lrs: torch.Tensor, path: torch.Tensor) -> dict[str, Any]:
    step = np.arange(len(lrs))
    return dict(arm=arm, seed=seed, step=step, lr=lrs.numpy(), theta=path[1:].numpy())


def estimate(tables: Tables) -> Mapping[str, Interval]:
    """Movement over the last tenth of each path, and how far the lr drops moved the end."""
    seen = by_group(tables["paths"], "arm", "seed")
    late = {key: _late(rows) for key, rows in seen.items()}
    moving = [value for (arm, _), value in late.items() if arm == "changing"]
    control = [value for (arm, _), value in late.items() if arm == "control"]
    drops, unbounded = seen["drops", 0], seen["unbounded", 0]
    n = len(drops["step"])
    before = drops["theta"][n // 3 - 1]
    residual = unbounded["theta"][1:] - (
        (1 - DECAY) * unbounded["theta"][:-1] - unbounded["lr"][1:] * (unbounded["theta"][:-1] - 1)
    )
    changes = np.abs(np.diff(unbounded["lr"])).min()
    return {
        "changing": mean_interval(moving),
        "control": exact(max(control), len(control)),
        "unbounded": exact(max(abs(unbounded["theta"][-1] - 1), np.abs(residual).max()), n),
        "unbounded_changes": exact(changes, n - 1),
        "drops": exact(late["drops", 0], n),
        "moved": exact(abs(drops["theta"][-1] - before), n),
    }


def _late(rows: dict[str, np.ndarray]) -> float:
    """Range of θ over the last tenth."""
    return float(np.ptp(rows["theta"][-max(2, len(rows["theta"]) // 10) :]))


@house_style
def draw(tables: Tables) -> Any:
    """The paths of θ; the optimum without decay is 1."""
    made, axes = figure(13.0, 3.9, columns=3)
    seen = by_group(tables["paths"], "arm", "seed")
    groups = (("changing", "control"), ("drops",), ("unbounded",))
    for axis, names in zip(axes, groups):
        for name in names:
            colour = OKABE_ITO[list(ARMS).index(name)]
            rows = seen[name, 0]
            shown = slice(0, 120 if name in groups[0] else None)
            axis.plot(rows["step"][shown], rows["theta"][shown], color=colour, label=ARMS[name])
        axis.set(xlabel="step", ylabel="θ")
    axes[0].set_title("The lr changes: (1) never settles")
    axes[1].set_title("The lr drops: (1) settles elsewhere")
    axes[2].set_title("Unbounded lr: (1) converges")
    for axis in axes:
        axis.axhline(1.0, color="black", lw=0.8, ls=":")
        axis.legend()
    return made


TOY = "a quadratic in one dimension, λ' = 0.1; the theorem has no experiment of its own"

FIGURE = Figure(
    name="xie2022-theorem1",
    shows="Theorem 1",
    claim="Weight decay that the learning rate does not multiply cannot converge to a non-zero "
    "point while the learning rate keeps changing, if the learning rates are bounded.",
    criteria={
        "changing": above("range of θ over the last tenth, lr changing for ever", 0.05),
        "control": below("the same under L2, which the lr multiplies", 1e-9),
        "unbounded": below("distance from 1 at the end of the counterexample", 1e-2),
        "unbounded_changes": above("smallest change of its lr", 0.5),
        "drops": below("range of θ over the last tenth, lr dropped twice", 1e-3),
        "moved": above("how far the two drops moved the end point", 0.05),
    },
    recipes={
        "smoke": Paths(minutes=0.02, seeds=3, steps=300, departures=(TOY, "fewer steps and draws")),
        "cpu": Paths(minutes=0.05, seeds=10, steps=600, departures=(TOY,)),
    },
    measure=measure,
    estimate=estimate,
    draw=draw,
)
