"""E5: on which tensors should weight decay follow the learning rate?

Defazio 2025 (*Why gradients rapidly increase near the end of training*): where a normalization
follows a weight w, ‖g‖/‖w‖ settles at √(2λ/η). As η falls at constant λ it must grow, and with
λ ∝ η (matched decay, AdamC) it stays. That holds for such weights only, so only they should match;
timm matches all, and one library matches the norms' own gains.

Tensors fall into classes: scale-invariant matrices, as `scale_invariant_parameters` finds them,
other matrices, gains. An arm gives each class a course. **Every class that decays spends the same
K in every arm**: λ₀ follows from it, else the arm with less decay would be compared, not the one
that matches. K is chosen for each arm on seeds of their own; gradients are compared at one K.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from etalambda.lab.engine import Batches, Snapshot, Trial, train
from etalambda.lab.engine.pool import Tick
from etalambda.lab.experiments.parts import Job, Tables, columns
from etalambda.lab.reproduce import Bench, Jobs, Recipe
from etalambda.lab.reproduce.cells import Cell, along, best_by, choosing, labels_of, rows_where
from etalambda.schedule import constant, cosine, linear, scale_invariant_parameters, trapezoid
from etalambda.theory import budget

SHAPES: dict[str, Callable[[int], Any]] = {
    "cosine": cosine,
    "linear": linear,
    "wsd": lambda steps: trapezoid(steps, warmup=0.05, cooldown=0.2),
}
"""Name -> the lr's rule for a number of steps; its peak is 1. "wsd" warms up, holds, and falls."""

ARMS: dict[str, dict[str, bool]] = {
    "invariant": {"weight_decay": True, "others": False},
    "all": {"weight_decay": True, "others": True},
    "none": {"weight_decay": False, "others": False},
    "gains": {"weight_decay": False, "others": False, "gains": True},
}
"""What matches -> by class whether its decay follows the lr. Gains decay in the last arm only."""

NO_DECAY = "undecayed"


@dataclass(frozen=True, kw_only=True)
class Scope(Recipe):
    """Shapes of the lr, budgets to choose from, the one for gradients, seeds, size of a run."""

    shapes: tuple[str, ...]
    budgets: tuple[float, ...]
    common: float  # K at which the arms' gradients are compared
    choosing: int
    seeds: int
    lr: float
    steps: int


@dataclass(frozen=True)
class World:
    """A task: its network and optimizer, an input to find what is invariant, and the scores."""

    make: Callable[[], nn.Module]
    batch: Tensor
    batches: Batches
    optimizer: str
    hyper: Mapping[str, Any]
    scores: Callable[[Snapshot], Mapping[str, np.ndarray]]  # val and test
    chunk: int | None = None


def classes_of(world: World) -> Callable[[str, Tensor], str]:
    """Scale-invariant matrices take ``weight_decay``; then others, gains, and what is exempt."""
    invariant = scale_invariant_parameters(world.make(), world.batch)

    def class_of(name: str, tensor: Tensor) -> str:
        if tensor.dim() > 1:
            return "weight_decay" if name in invariant else "others"
        return "gains" if name.endswith("weight") else "exempt"

    return class_of


def measuring(worlds: Callable[[Scope, Bench], World]) -> Callable[[Scope, Bench], Iterable[Jobs]]:
    """The measurement of one task: every arm's K, then every arm at its own and the common one."""

    def measure(recipe: Scope, bench: Bench) -> Iterable[Jobs]:
        world = worlds(recipe, bench)
        plan = _Plan(recipe, world, bench.device)
        arms = list(product(recipe.shapes, ARMS))
        yield {
            f"grid.{shape}.{arm}": plan.job(
                "grid",
                [
                    plan.cell(shape, arm, K, seed)
                    for K in recipe.budgets
                    for seed in choosing(recipe.choosing)
                ],
            )
            for shape, arm in arms
        }
        grid = bench.tables()["grid"]
        budgets = {at: {recipe.common, best_budget(grid, *at)} for at in arms}
        budgets |= {(shape, NO_DECAY): {0.0} for shape in recipe.shapes}
        yield {
            f"cells.{shape}.{arm}.{K:g}": plan.job(
                "cells", [plan.cell(shape, arm, K, seed) for seed in range(recipe.seeds)]
            )
            for (shape, arm), chosen in budgets.items()
            for K in sorted(chosen)
        }

    return measure


def best_budget(grid: Mapping[str, np.ndarray], shape: str, arm: str) -> float:
    """K of an arm with the lowest held-out loss on the seeds that choose."""
    return best_by(rows_where(grid, shape=shape, arm=arm), "budget")["budget"]


class _Plan:
    """λ₀ of every class at a budget, and jobs from cells."""

    def __init__(self, recipe: Scope, world: World, device: str) -> None:
        self.recipe, self.world, self.device = recipe, world, device
        self.classes = classes_of(world)
        form = budget.form(world.optimizer)
        self.gain = budget.gain(form, momentum=world.hyper.get("momentum", 0.0))

    def base(self, lr: Any, course: Any, K: float) -> float:
        """λ₀ at which a course spends K under an lr."""
        unit = sum(lr(step) * course(step) for step in range(self.recipe.steps))
        return K / (self.gain * self.recipe.lr * unit)

    def cell(self, shape: str, arm: str, K: float, seed: int) -> Cell:
        """One network."""
        lr = SHAPES[shape](self.recipe.steps)
        follows = ARMS.get(arm, ARMS["none"])
        courses = {name: lr if match else constant() for name, match in follows.items()}
        decays = {name: self.base(lr, course, K) for name, course in courses.items()}
        trial = Trial(
            seed,
            self.recipe.lr,
            decays.pop("weight_decay"),
            rules={"lr": lr} | courses,
            decays=decays,
        )
        common = self.recipe.common == K
        return Cell({"shape": shape, "arm": arm, "budget": K, "common": common}, trial)

    def job(self, table: str, cells: Sequence[Cell]) -> Job:
        """Train the cells; a row each, and the gradient norms on the way."""
        steps, every = self.recipe.steps, max(1, self.recipe.steps // 240)

        def run(tick: Tick) -> Tables:
            made = train(
                self.world.make,
                self.world.batches,
                [cell.trial for cell in cells],
                optimizer=self.world.optimizer,
                steps=steps,
                every=every,
                device=self.device,
                chunk=self.world.chunk,
                classes=self.classes,
                **self.world.hyper,
            )
            rows, curves, norms = [], [], []
            alone = self.world.chunk == 1
            with nullcontext() if alone else sdpa_kernel(SDPBackend.MATH):  # many can share it
                for ours, seen in along(made, cells, steps, tick):
                    if seen.step == 0:
                        norms = []
                    norms.append((seen.step / steps, seen.gradient_norm.numpy()))
                    about = labels_of(ours)
                    curves.append(about | dict(step=seen.step, gradient_norm=norms[-1][1]))
                    if seen.step == steps:
                        numbers = dict(K=seen.K.numpy(), norm=seen.norm.numpy(), rise=rise(norms))
                        rows.append(about | numbers | dict(self.world.scores(seen)))
            found = {table: columns(rows)}
            return found if table == "grid" else found | {"curves": columns(curves)}

        return run


def rise(norms: Sequence[tuple[float, np.ndarray]]) -> np.ndarray:
    """Mean over the last 5 % of a run, over the mean of its middle fifth; (T,).

    >>> shares = [i / 100 for i in range(101)]
    >>> rise([(share, np.array([1.0, 3.0 if share > 0.9 else 1.0])) for share in shares])
    array([1., 3.])
    """
    at = np.array([share for share, _ in norms])
    values = np.stack([value for _, value in norms])
    return values[at > 0.95].mean(0) / values[(at > 0.4) & (at <= 0.6)].mean(0)
