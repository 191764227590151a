"""Figures 1a and S10 of Lewkowycz & Gur-Ari 2020: λ under a falling lr, T fixed or T ∝ 1/λ.

The lr falls by 0.2 at 0.3, 0.6 and 0.9 of T; momentum 0.9. AutoL2 runs with the same schedule.

Departures from the paper: a fully connected network on digits, not a Wide ResNet on CIFAR-10; no
augmentation; the final accuracy of T = ``product``/λ epochs, for the λ whose T is affordable.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from etalambda.lab.configs import log_grid
from etalambda.lab.engine import Trial
from etalambda.lab.engine.pool import Tick
from etalambda.lab.experiments.parts import Job, Tables, columns
from etalambda.lab.figures.lewkowycz2020._peaks import by_seed
from etalambda.lab.figures.lewkowycz2020._sweep import NETS, Sweep, looked
from etalambda.lab.figures.style import OKABE_ITO, figure, house_style
from etalambda.lab.reproduce import Bench, Figure, Jobs, above
from etalambda.lab.reproduce.pairs import rows
from etalambda.lab.statistics import Interval, paired_difference
from etalambda.schedule import AutoL2, multi_step

FIXED, SCALED, AUTO = "T fixed", "T ∝ 1/λ", "AutoL2"


@dataclass(frozen=True, kw_only=True)
class Falling(Sweep):
    """``epochs``: the fixed T. ``product``: Tλ of the others, trained up to ``longest`` epochs."""

    epochs: int
    product: float
    longest: int
    start: float = 0.1
    momentum: float = 0.9
    rate: float = 0.0
    spend: float = 0.0
    fixed: int = 0


def measure(recipe: Falling, bench: Bench) -> list[Jobs]:
    """All λ and AutoL2 for the fixed T, and one part for each λ with a T of its own."""
    decays = (0.0, *recipe.weight_decays)
    jobs = {"fixed": _job(recipe, bench, recipe.epochs, decays, FIXED)}
    for decay in recipe.weight_decays:
        epochs = max(1, round(recipe.product / decay))
        if epochs <= recipe.longest:
            jobs[f"scaled.{decay:g}"] = _job(recipe, bench, epochs, (decay,), SCALED)
    jobs["auto"] = _job(recipe, bench, recipe.epochs, (recipe.start,), AUTO)
    return [jobs]


def _job(recipe: Falling, bench: Bench, epochs: int, decays: tuple[float, ...], arm: str) -> Job:
    def job(tick: Tick) -> Tables:
        task = recipe.task(bench)
        steps = epochs * task.steps_per_epoch
        rules: dict[str, Any] = {
            "lr": multi_step({round(share * steps): 0.2 for share in (0.3, 0.6, 0.9)})
        }
        if arm == AUTO:
            rules["weight_decay"] = AutoL2()
        trials = [
            Trial(seed, recipe.lr, decay, rules=rules)
            for decay in decays
            for seed in range(recipe.seeds)
        ]
        every = max(1, steps // recipe.points)
        run = dict(steps=steps, every=every, tick=tick, momentum=recipe.momentum)
        seen = looked(NETS[recipe.nets[0]](recipe, task), task, trials, **run)
        labels = dict(
            arm=np.repeat(arm, len(trials)).astype(object),
            seed=np.array([trial.seed for trial in trials]),
            weight_decay=np.array([trial.weight_decay for trial in trials]),
        )
        ends = dict(epochs=epochs, final=seen["test"][-1])
        return {"runs": columns([labels | ends])}

    return job


def _table(runs: Mapping[str, np.ndarray], arm: str) -> tuple[np.ndarray, np.ndarray]:
    """λ above 0, and the final accuracy of each, (λ, seeds)."""
    ours = rows(dict(runs), arm=arm)
    decays = np.unique(ours["weight_decay"])
    decays = decays[decays > 0]
    return decays, np.stack([by_seed(ours, "final", weight_decay=decay) for decay in decays])


def estimate(tables: Tables) -> Mapping[str, Interval]:
    """The optimum of a fixed T, the plateau of T ∝ 1/λ, and AutoL2 beside the tuned λ."""
    runs = tables["runs"]
    _, fixed = _table(runs, FIXED)
    _, scaled = _table(runs, SCALED)
    others = (fixed.sum(1, keepdims=True) - fixed).argmax(0)
    tuned = fixed[others, np.arange(fixed.shape[1])]
    auto = rows(runs, arm=AUTO)
    return {
        "optimum": paired_difference(tuned, fixed[0]),
        "plateau": paired_difference(scaled[0], tuned),
        "auto": paired_difference(tuned, auto["final"][np.argsort(auto["seed"])]),
    }


@house_style
def draw(tables: Tables) -> Any:
    """Final accuracy against λ, mean and spread over seeds."""
    made, axes = figure(7.0, 4.2)
    runs = tables["runs"]
    for arm, colour in zip((FIXED, SCALED), OKABE_ITO):
        decays, table = _table(runs, arm)
        means, spread = 100 * table.mean(1), 100 * table.std(1, ddof=1)
        axes[0].errorbar(decays, means, spread, fmt="o-", ms=4, capsize=2, color=colour, label=arm)
    auto = rows(runs, arm=AUTO)["final"]
    axes[0].axhline(100 * auto.mean(), ls="--", color=OKABE_ITO[2], label="AutoL2, T fixed")
    none = runs["final"][(runs["arm"] == FIXED) & (runs["weight_decay"] == 0)]
    axes[0].axhline(100 * none.mean(), ls=":", color="0.4", label="λ = 0, T fixed")
    axes[0].set(xscale="log", xlabel="weight_decay λ", title="final test accuracy %")
    axes[0].legend()
    return made


FIGURE = Figure(
    name="lewkowycz2020-fig1a",
    shows="Figures 1a, S10",
    claim="With a falling lr a fixed T has an optimal λ, while T proportional to 1/λ keeps the "
    "accuracy down to the smallest λ; AutoL2 does not keep up with the tuned λ.",
    criteria={
        "optimum": above("T fixed: final accuracy at the tuned λ minus the smallest", 0.002),
        "plateau": above("smallest λ of T ∝ 1/λ minus the tuned λ of T fixed", -0.01),
        "auto": above("T fixed: the tuned λ minus AutoL2", 0.0),
    },
    recipes={
        "smoke": Falling(
            minutes=0.05,
            seeds=3,
            lrs=(0.05,),
            weight_decays=log_grid(0.001, 0.1, 3),
            epochs=6,
            product=0.06,
            longest=10,
            width=16,
            points=12,
            departures=("digits, width 16, 6 epochs",),
        ),
        "cpu": Falling(
            minutes=2.0,
            seeds=5,
            lrs=(0.02,),
            weight_decays=log_grid(1e-4, 0.1, 10),
            epochs=50,
            product=0.1,
            longest=1000,
            points=100,
            departures=(
                "600 digits and a fully connected network of width 64, batches of 50, lr 0.02, T "
                "50 or 0.1/λ epochs, in place of a Wide ResNet on CIFAR-10, lr 0.2, T 200 or 0.1/λ",
            ),
        ),
    },
    measure=measure,
    estimate=estimate,
    draw=draw,
)
