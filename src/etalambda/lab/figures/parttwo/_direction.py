"""E2: should weight decay fall or rise along a run, and does that turn with how often data recur?

Two regimes of equal length: every row once, or a share of the rows again and again. In each, the
budget K of constant decay is tuned; every course of `_courses` then spends that K, and half, twice
and eight times as much. ``val`` chooses, ``test`` reports, on rows of their own.

The headline is the interaction: (up - down at one pass) - (up - down at many), paired by seed, with
up and down the means of two courses each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from etalambda.lab.engine import Snapshot, Trial, matrices, train
from etalambda.lab.engine.pool import Tick
from etalambda.lab.experiments.parts import Tables, columns
from etalambda.lab.figures.parttwo._courses import COURSES, Course
from etalambda.lab.reproduce import Bench, Jobs, Recipe
from etalambda.lab.reproduce.cells import Cell, along, best_by, choosing, labels_of, rows_where
from etalambda.lab.tasks import Passes
from etalambda.schedule import cosine
from etalambda.theory import budget

MULTIPLES = (0.5, 1.0, 2.0, 8.0)  # of the K that is best for constant decay
PILOTS = 2  # seeds


@dataclass(frozen=True, kw_only=True)
class Direction(Recipe):
    """Passes of the two regimes, budgets of constant decay, seeds, and the size of a run."""

    passes: tuple[int, ...]
    budgets: tuple[float, ...]
    choosing: int
    seeds: int
    lr: float
    batch_size: int
    rows: int = 0  # of the training data; 0 is all


@dataclass(frozen=True)
class World:
    """A task: its training rows, its network and optimizer, and how a snapshot is scored."""

    x: Tensor
    y: Tensor
    make: Callable[[], nn.Module]
    optimizer: str
    hyper: Mapping[str, Any]
    scores: Callable[[Snapshot], Mapping[str, np.ndarray]]  # val and test
    multiples: tuple[float, ...] = MULTIPLES
    chunk: int | None = None  # networks trained together

    def courses(self) -> dict[str, Course]:
        """Those that this task's optimizer can take."""
        ours = {"", self.optimizer} | ({"adams"} if self.optimizer == "adamw" else set())
        return {name: course for name, course in COURSES.items() if course.optimizer in ours}


Worlds = Callable[[Direction, Bench], World]


def measuring(worlds: Worlds) -> Callable[[Direction, Bench], Iterable[Jobs]]:
    """The measurement of one task: constant decay's K, pilots, all courses, the best again."""

    def measure(recipe: Direction, bench: Bench) -> Iterable[Jobs]:
        world = worlds(recipe, bench)
        plan = _Plan(recipe, world)
        grid = [
            plan.cell(passes, "constant", K, seed, plan.base(passes, "constant", K))
            for passes, K in product(recipe.passes, recipe.budgets)
            for seed in choosing(recipe.choosing)
        ]
        yield plan.jobs("grid", grid, bench)
        best = best_budgets(bench.tables()["grid"], recipe.passes)
        free = [name for name, course in world.courses().items() if not course.planned]
        pilots = [
            plan.cell(passes, name, best[passes], seed, plan.ahead(passes, name, best[passes]))
            for passes, name in product(recipe.passes, free)
            for seed in choosing(PILOTS)
        ]
        yield plan.jobs("pilots", pilots, bench)
        plan.pilots = bench.tables()["pilots"]
        names = ["none", *world.courses()]
        cells = [
            plan.cell(
                passes, name, best[passes] * m, seed, plan.base(passes, name, best[passes] * m), m
            )
            for passes, name, m in product(recipe.passes, names, world.multiples)
            if name != "none" or m == 1
            for seed in range(recipe.seeds)
        ]
        yield plan.jobs("cells", cells, bench)

    return measure


class _Plan:
    """λ₀ of every course at a budget, and jobs from cells."""

    def __init__(self, recipe: Direction, world: World) -> None:
        self.recipe, self.world = recipe, world
        self.pilots: Mapping[str, np.ndarray] = {}
        self.tasks = {
            passes: Passes(world.x, world.y, passes=passes, batch_size=recipe.batch_size)
            for passes in recipe.passes
        }
        form = budget.form(world.optimizer)
        self.gain = budget.gain(form, momentum=world.hyper.get("momentum", 0.0))

    def base(self, passes: int, name: str, K: float) -> float:
        """λ₀ at which the course spends K; that of the pilots, scaled, where only they know."""
        if name == "none" or K == 0:
            return 0.0
        course = COURSES[name]
        if not course.planned:
            if not course.scaled:
                return self.ahead(passes, name, K)
            ours = rows_where(self.pilots, passes=passes, course=name)
            return float(ours["weight_decay"].mean() * K / ours["K"].mean())
        steps = self.tasks[passes].steps
        lr, rule = cosine(steps), course.rule(steps)
        unit = sum(lr(step) * rule(step) for step in range(steps))
        return K / (self.gain * self.recipe.lr * unit)

    def ahead(self, passes: int, name: str, K: float) -> float:
        """λ₀ of a pilot."""
        return COURSES[name].ahead * self.base(passes, "constant", K)

    def cell(
        self, passes: int, name: str, K: float, seed: int, decay: float, multiple: float = 1.0
    ) -> Cell:
        """One network."""
        course = COURSES.get(name, COURSES["constant"])
        steps = self.tasks[passes].steps
        rules = {"lr": cosine(steps), "weight_decay": course.rule(steps)}
        sphere = 1.0 if course.sphere else None
        labels = {"passes": passes, "course": name, "budget": K, "multiple": multiple}
        return Cell(labels, Trial(seed, self.recipe.lr, decay, rules=rules, sphere=sphere))

    def jobs(self, stage: str, cells: list[Cell], bench: Bench) -> Jobs:
        """Cells of one regime and optimizer as one part."""
        groups: dict[tuple[int, str], list[Cell]] = {}
        for cell in cells:
            course = COURSES.get(cell.labels["course"], COURSES["constant"])
            optimizer = course.optimizer or self.world.optimizer
            groups.setdefault((cell.labels["passes"], optimizer), []).append(cell)
        return {
            f"{stage}.passes={passes}.{optimizer}": self.job(stage, part, passes, optimizer, bench)
            for (passes, optimizer), part in groups.items()
        }

    def job(self, stage: str, cells: list[Cell], passes: int, optimizer: str, bench: Bench) -> Any:
        """Train the cells together; a row each."""

        def run(tick: Tick) -> Tables:
            task, rows = self.tasks[passes], []
            alone = self.world.chunk == 1
            made = train(
                self.world.make,
                task.batches,
                [cell.trial for cell in cells],
                optimizer=optimizer,
                steps=task.steps,
                every=max(1, task.steps // 100),
                device=bench.device,
                chunk=self.world.chunk,
                classes=matrices,
                **self.world.hyper,
            )
            with nullcontext() if alone else sdpa_kernel(SDPBackend.MATH):  # many can share it
                for ours, seen in along(made, cells, task.steps, tick):
                    if seen.step == task.steps:
                        about = dict(K=seen.K.numpy(), alive=seen.alive.numpy())
                        rows.append(labels_of(ours) | about | dict(self.world.scores(seen)))
            return {stage: columns(rows)}

        return run


def best_budgets(grid: Mapping[str, np.ndarray], regimes: Iterable[int]) -> dict[int, float]:
    """K of constant decay with the lowest mean ``val`` in each regime; of those above 0.

    Courses can only differ where something is spent; whether none is better is told by ``none``.
    """
    spending = {name: column[grid["budget"] > 0] for name, column in grid.items()}
    return {p: best_by(rows_where(spending, passes=p), "budget")["budget"] for p in regimes}
