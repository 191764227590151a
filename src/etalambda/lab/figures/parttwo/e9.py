"""Experiment E9: does cautious decay choose well, or does it only decay less?

Chen et al. 2025 (arXiv 2510.12402) decay a weight only where the step moves it towards 0 as well.
About half of the entries decay, so at equal λ it is weaker decay, and a gain may be that of a
smaller λ. The controls: a mask of the same share at every step, drawn at random; and AdamW itself,
whose grid of λ holds every λ/2. All three are tuned over one grid of lr and λ, on seeds of their
own; then also cautious decay at AdamW's best λ and at twice it.

AdamW on MNIST with a fifth of the labels wrong, one pass or twenty over a twentieth.

Departures from the paper: pictures and a small network; Chen et al. train language models and ViTs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any

import numpy as np

from etalambda.lab.engine import AT_RANDOM, CAUTIOUS, Mask, Trial, matrices, train
from etalambda.lab.engine.pool import Tick
from etalambda.lab.experiments.parts import Job, Tables, columns
from etalambda.lab.figures.parttwo.e2images import pictures
from etalambda.lab.figures.style import INK, OKABE_ITO, figure, house_style, plain_log_ticks
from etalambda.lab.models import MLP
from etalambda.lab.reproduce import Bench, Figure, Jobs, Recipe, below
from etalambda.lab.reproduce.cells import (
    Cell,
    along,
    best_by,
    by_seed,
    choosing,
    labels_of,
    rows_where,
)
from etalambda.lab.statistics import Interval, paired_difference
from etalambda.lab.tasks import Passes
from etalambda.lab.tasks.digits import error
from etalambda.schedule import cosine

MASKS: dict[str, Mask | None] = {"AdamW": None, "cautious": CAUTIOUS, "random": AT_RANDOM}
CONTROLS = ("AdamW", "random")
REGIMES = ("one pass", "many passes")


@dataclass(frozen=True, kw_only=True)
class Masked(Recipe):
    """Passes of the two regimes, the grid of lr and K, seeds, and the size of a run."""

    passes: tuple[int, ...]
    lrs: tuple[float, ...]
    budgets: tuple[float, ...]  # K = Σ lr · λ, as if every entry decayed
    choosing: int
    seeds: int
    batch_size: int
    width: int
    rows: int = 0  # of the training data; 0 is all


@dataclass(frozen=True)
class Setting:
    """What is trained: a mask at an lr and a K."""

    mask: str
    lr: float
    budget: float


def measure(recipe: Masked, bench: Bench) -> Iterable[Jobs]:
    """The grid of every mask in both regimes; then what `settings_of` names, on other seeds."""
    plan = _Plan(recipe, bench)
    yield {
        f"grid.{passes}.{mask}.{lr:g}": plan.job(
            "grid",
            passes,
            [Setting(mask, lr, K) for K in recipe.budgets],
            choosing(recipe.choosing),
        )
        for passes, mask, lr in product(recipe.passes, MASKS, recipe.lrs)
    }
    grid = bench.tables()["grid"]
    stage = {}
    for passes in recipe.passes:
        wanted = dict.fromkeys(settings_of(rows_where(grid, passes=passes)).values())
        for mask in MASKS:
            ours = [setting for setting in wanted if setting.mask == mask]
            name = f"cells.{passes}.{mask}"
            stage[name] = plan.job("cells", passes, ours, range(recipe.seeds))
    yield stage


def settings_of(grid: Mapping[str, np.ndarray]) -> dict[str, Setting]:
    """What is reported of one regime: every mask at its own best, and beside AdamW's best λ."""
    own = {}
    for mask in MASKS:
        at = best_by(rows_where(grid, mask=mask), "lr", "budget")
        own[mask] = Setting(mask, at["lr"], at["budget"])
    lr, K = own["AdamW"].lr, own["AdamW"].budget
    return own | {
        "cautious, λ": Setting("cautious", lr, K),
        "cautious, 2λ": Setting("cautious", lr, 2 * K),
        "random, λ": Setting("random", lr, K),
        "AdamW, λ/2": Setting("AdamW", lr, K / 2),
        "undecayed": Setting("AdamW", lr, 0.0),
    }


class _Plan:
    """The data in both regimes, and jobs from settings."""

    def __init__(self, recipe: Masked, bench: Bench) -> None:
        self.recipe, self.device = recipe, bench.device
        (x, y), val, test = pictures(bench, recipe.rows)
        size = recipe.batch_size
        self.held = {"val": val, "test": test}
        self.tasks = {p: Passes(x, y, passes=p, batch_size=size) for p in recipe.passes}
        self.make = partial(MLP, (x.shape[1], recipe.width, 10))

    def job(self, table: str, passes: int, settings: list[Setting], seeds: Iterable[int]) -> Job:
        """Train settings of one mask together; a row each."""
        task, mask = self.tasks[passes], MASKS[settings[0].mask]
        cells = [self.cell(passes, setting, seed) for setting in settings for seed in seeds]

        def run(tick: Tick) -> Tables:
            rows = []
            made = train(
                self.make,
                task.batches,
                [cell.trial for cell in cells],
                optimizer="adamw",
                steps=task.steps,
                every=max(1, task.steps // 100),
                device=self.device,
                classes=matrices,
                mask=mask,
            )
            for ours, seen in along(made, cells, task.steps, tick):
                if seen.step == task.steps:
                    held = self.held.items()
                    errors = {n: 100 * error(seen.predict(a), b).numpy() for n, (a, b) in held}
                    numbers = dict(K=seen.K.numpy(), norm=seen.norm.numpy())
                    rows.append(labels_of(ours) | numbers | errors)
            return {table: columns(rows)}

        return run

    def cell(self, passes: int, setting: Setting, seed: int) -> Cell:
        """One network."""
        steps = self.tasks[passes].steps
        lr = cosine(steps)
        unit = setting.lr * sum(lr(step) for step in range(steps))
        labels = {"passes": passes, "mask": setting.mask, "budget": setting.budget}
        return Cell(labels, Trial(seed, setting.lr, setting.budget / unit, rules={"lr": lr}))


def scored(cells: Mapping[str, np.ndarray], setting: Setting) -> np.ndarray:
    """Test errors of a setting in one regime, by seed."""
    rows = rows_where(cells, mask=setting.mask, lr=setting.lr, budget=setting.budget)
    return by_seed(rows)


def regimes(tables: Tables) -> Iterable[tuple[str, Tables]]:
    """The tables of each regime, by its name."""
    for name, passes in zip(REGIMES, np.unique(tables["cells"]["passes"])):
        parts = {key: rows_where(tables[key], passes=passes) for key in ("grid", "cells")}
        yield name, parts


def best_control(grid: Mapping[str, np.ndarray]) -> str:
    """The control whose best setting has the lowest error on the seeds that choose."""

    def lowest(mask: str) -> float:
        rows = rows_where(grid, mask=mask)
        return float(rows_where(rows, **best_by(rows, "lr", "budget"))["val"].mean())

    return min(CONTROLS, key=lowest)


def estimate(tables: Tables) -> Mapping[str, Interval]:
    """Cautious decay minus the better of its controls, in points of test error."""
    found = {}
    for name, part in regimes(tables):
        settings = settings_of(part["grid"])
        control = settings[best_control(part["grid"])]
        pair = (scored(part["cells"], each) for each in (settings["cautious"], control))
        found[name] = paired_difference(*pair)
    return found


@house_style
def draw(tables: Tables) -> Any:
    """Error against K by mask in both regimes; and every setting minus AdamW's best."""
    fig, axes = figure(15.0, 4.8, 3)
    colors = dict(zip(MASKS, OKABE_ITO))
    for axis, color, (name, part) in zip(axes, OKABE_ITO[3:], regimes(tables)):
        for mask in MASKS:
            ours = rows_where(part["grid"], mask=mask)
            ours = rows_where(ours, lr=best_by(ours, "lr", "budget")["lr"])
            budgets = np.unique(ours["budget"])
            means = [rows_where(ours, budget=K)["val"].mean() for K in budgets]
            axis.plot(budgets, means, "o-", ms=4, color=colors[mask], label=mask)
        axis.set(xscale="log", yscale="log", title=name)
        axis.set_xlabel("K = Σ lr · λ, all entries counted")
        plain_log_ticks(axis.yaxis, (1, 1.5, 2, 3, 5, 7))
        axis.set_xticks(budgets, [f"{K:g}" for K in budgets])
        axis.minorticks_off()
        _beside(axes[2], part, name, color)
    axes[0].set_ylabel("error on the seeds that choose, %")
    axes[0].legend()
    axes[2].axvline(0, color=INK, lw=0.8)
    axes[2].set_title(f"minus AdamW's best, n = {len(np.unique(tables['cells']['seed']))}")
    axes[2].set_xlabel("points of test error")
    axes[2].legend(fontsize=8)
    return fig


def _beside(axis: Any, part: Tables, name: str, color: str) -> None:
    """Every setting of one regime minus AdamW's best."""
    settings = settings_of(part["grid"])
    base, shift = scored(part["cells"], settings.pop("AdamW")), 0.12 * REGIMES.index(name)
    for place, setting in enumerate(settings.values()):
        each = paired_difference(scored(part["cells"], setting), base)
        look: dict[str, Any] = dict(fmt="o", ms=4, capsize=2, color=color)
        axis.errorbar([each.value], [-place - shift], xerr=each.whiskers, **look)
    axis.plot([], [], "o", color=color, label=name)
    labels = [f"{label}, own λ" if label in MASKS else label for label in settings]
    axis.set_yticks([-place for place in range(len(labels))], labels, fontsize=9)


FIGURE = Figure(
    "parttwo-e9",
    shows="Part II, E9",
    claim="Cautious decay generalizes better than the best of its controls: AdamW with a smaller "
    "λ, or as many entries decayed at random.",
    criteria={
        name: below(f"cautious minus its best control, {name}, points", 0.0) for name in REGIMES
    },
    recipes={
        "smoke": Masked(
            minutes=0.1, passes=(1, 2), lrs=(3e-3,), budgets=(0.25, 0.5), choosing=1, seeds=2,
            batch_size=50, width=8, rows=200, departures=("four steps on 8x8 digits",),
        ),
        "cpu": Masked(
            minutes=14,
            passes=(1, 20),
            lrs=(1e-3, 3e-3, 6e-3, 1.2e-2),
            budgets=(0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0),
            choosing=4,
            seeds=12,
            batch_size=100,
            width=64,
            departures=("MNIST with a fifth of the labels wrong, MLP 784-64-10, 600 steps",),
        ),
    },
    measure=measure,
    estimate=estimate,
    draw=draw,
)  # fmt: skip
