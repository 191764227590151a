"""Constant lr with momentum: what every λ reaches within every budget T, from one run each.

c = t*λ is measured at one large λ in a short run; λ_pred = c/T for a budget of T epochs (LG-R2).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from etalambda.lab.engine import Trial
from etalambda.lab.engine.pool import Tick
from etalambda.lab.experiments.parts import Tables, columns
from etalambda.lab.figures.lewkowycz2020._sweep import NETS, Sweep, looked
from etalambda.lab.reproduce import Bench, Jobs
from etalambda.schedule import AutoL2
from etalambda.suggest import time_to_peak, weight_decay_for

CONSTANT, AUTO = "constant", "AutoL2"


@dataclass(frozen=True, kw_only=True)
class Budgets(Sweep):
    """``budgets``: epochs, the last is trained for; ``large``: the λ that c is measured at.

    AutoL2 starts at ``start`` and looks every ``every`` steps. lr is the middle one; ``rate``,
    ``spend`` and ``fixed`` are not used.
    """

    budgets: tuple[int, ...]
    large: float
    start: float = 0.1
    every: int = 10
    momentum: float = 0.9
    rate: float = 0.0
    spend: float = 0.0
    fixed: int = 0


def measure(recipe: Budgets, bench: Bench) -> list[Jobs]:
    """One part a group of three λ, all seeds in it; and AutoL2."""

    def job(trials: list[Trial], arm: str) -> Any:
        def done(tick: Tick) -> Tables:
            task = recipe.task(bench)
            steps = recipe.budgets[-1] * task.steps_per_epoch
            every = max(1, steps // recipe.points)
            run = dict(steps=steps, every=every, tick=tick, momentum=recipe.momentum)
            seen = looked(NETS[recipe.nets[0]](recipe, task), task, trials, **run)
            kept = np.unique(np.geomspace(1, len(seen["step"]), 120).round().astype(int)) - 1
            best = np.maximum.accumulate(seen["test"], 0)
            rows = []
            for i, trial in enumerate(trials):
                t_star = time_to_peak(seen["step"].tolist(), seen["test"][:, i].tolist())
                row: dict[str, Any] = dict(arm=np.repeat(arm, len(kept)).astype(object))
                row |= dict(seed=trial.seed, weight_decay=trial.weight_decay)
                row |= dict(epoch=seen["step"][kept] / task.steps_per_epoch)
                row |= dict(t_star=t_star / task.steps_per_epoch, best=best[kept, i])
                rows.append(row | {k: seen[k][kept, i] for k in ("test", "train", "loss")})
            return {"curves": columns(rows)}

        return done

    decays = (0.0, *recipe.weight_decays)
    groups = [decays[i : i + 3] for i in range(0, len(decays), 3)]
    seeds = range(recipe.seeds)
    jobs = {
        f"weight_decay={group[0]:g}": job(
            [Trial(s, recipe.lr, d) for d in group for s in seeds], CONSTANT
        )
        for group in groups
    }
    rule = {"weight_decay": AutoL2(every=recipe.every)}
    auto = [Trial(s, recipe.lr, recipe.start, rules=rule) for s in seeds]
    settings = dict(budget=list(recipe.budgets), large=recipe.large)
    jobs["settings"] = lambda tick: {"settings": columns([settings])}
    return [jobs | {AUTO: job(auto, AUTO)}]


Table = Mapping[str, np.ndarray]


def runs_of(curves: Table, arm: str = CONSTANT) -> dict[tuple[float, int], dict[str, np.ndarray]]:
    """(λ, seed) -> the curve of that run."""
    ours = curves["arm"] == arm
    keys = np.stack([curves["weight_decay"], curves["seed"]], 1)
    return {
        (float(d), int(s)): {
            name: column[ours & (keys == (d, s)).all(1)] for name, column in curves.items()
        }
        for d, s in np.unique(keys[ours], axis=0)
    }


def reached(curves: Table, budget: float) -> tuple[np.ndarray, np.ndarray]:
    """λ above 0, and the best accuracy of each within the budget, (λ, seeds)."""
    runs = runs_of(curves)
    decays = sorted({d for d, _ in runs if d > 0})
    seeds = sorted({s for _, s in runs})

    def best(run: dict[str, np.ndarray]) -> float:
        return float(run["test"][run["epoch"] <= budget * (1 + 1e-9)].max())

    return np.array(decays), np.array([[best(runs[d, s]) for s in seeds] for d in decays])


def coefficients(tables: Tables) -> np.ndarray:
    """c = t*λ in epochs at the large λ, one a seed."""
    large = float(tables["settings"]["large"][0])
    runs = runs_of(tables["curves"])
    nearest = min({d for d, _ in runs if d > 0}, key=lambda d: abs(np.log(d / large)))
    return np.array([run["t_star"][0] * d for (d, _), run in runs.items() if d == nearest])


def predictions(tables: Tables, seed: int, times: float = 1.0) -> dict[float, float]:
    """Budget -> ``times`` c / T, with the c that this seed measured."""
    c = times * coefficients(tables)[seed]
    return {float(t): weight_decay_for(c, float(t)) for t in tables["settings"]["budget"]}
