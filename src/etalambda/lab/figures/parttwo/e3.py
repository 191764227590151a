"""Experiment E3: does stable weight decay survive tuning? AdamS against AdamW, equal grids.

Xie et al. 2022 compare at λ fixed by hand. AdamS differs from AdamW in the strength of its decay,
λ/√v̄ with √v̄ of 1e-3, and in its course over time. Both are tuned over as many cells; then AdamW
repeats what AdamS decayed: its mean λ/√v̄, its trace step by step, and its trace shuffled. If the
mean does as well as the trace, the course does nothing.

Departures from the paper: digits and small networks; both optimizers tuned on seeds of their own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from etalambda.lab.configs import log_grid
from etalambda.lab.experiments.parts import Tables
from etalambda.lab.figures.parttwo._tuning import Tuning, chosen
from etalambda.lab.figures.style import OKABE_ITO, figure, house_style, strip
from etalambda.lab.reproduce import Bench, Figure, Jobs, Recipe, below
from etalambda.lab.reproduce.cells import in_points, rows_where
from etalambda.lab.statistics import Interval
from etalambda.schedule import replay

MODELS = ("mlp", "cnn")
CONTROLS = ("AdamW", "mean of AdamS", "trace of AdamS", "shuffled trace")


@dataclass(frozen=True, kw_only=True)
class Tuned(Recipe):
    """Grids of both optimizers, epochs, and how many seeds choose and report."""

    lrs: tuple[float, ...]
    adams: tuple[float, ...]
    adamw: tuple[float, ...]
    epochs: int
    choosing: int
    seeds: int
    label_noise: float = 0.2


def measure(recipe: Tuned, bench: Bench) -> Iterable[Jobs]:
    """The grids; then AdamS with its trace and AdamW tuned; then AdamW repeating AdamS."""
    tuning = Tuning(recipe.epochs, recipe.label_noise, recipe.choosing, bench.device)
    grids = {name: list(product(recipe.lrs, getattr(recipe, name))) for name in ("adams", "adamw")}
    both = list(product(MODELS, grids))
    yield tuning.grid({(model, name): grids[name] for model, name in both})
    grid = bench.tables()["grid"]
    best = {(model, name): chosen(grid, model, name) for model, name in both}
    stage = {}
    for model, (arm, optimizer) in product(MODELS, (("AdamS", "adams"), ("AdamW", "adamw"))):
        at = best[model, optimizer]
        cells = [tuning.cell(model, arm, seed, *at) for seed in range(recipe.seeds)]
        stage[f"report.{model}.{arm}"] = tuning.job(model, optimizer, cells, trace=arm == "AdamS")
    yield stage
    traces, shape = bench.tables()["traces"], tuning.shape
    stage = {}
    for model in MODELS:
        (lr, _), cells = best[model, "adams"], []
        for seed in range(recipe.seeds):
            course, mean = decays(traces, model, seed, lr, shape)
            mixed = course[np.random.RandomState(seed).permutation(len(course))]
            mixed = mixed * spent(course, lr, shape) / spent(mixed, lr, shape)  # the same K
            cells.append(tuning.cell(model, "mean of AdamS", seed, lr, mean))
            for arm, values in (("trace of AdamS", course), ("shuffled trace", mixed)):
                rule = replay(values.tolist(), initial=mean)
                cells.append(tuning.cell(model, arm, seed, lr, mean, weight_decay=rule))
        stage[f"replay.{model}"] = tuning.job(model, "adamw", cells)
    yield stage


def decays(
    traces: Mapping[str, np.ndarray], model: str, seed: int, lr: float, shape: Any
) -> tuple[np.ndarray, float]:
    """λ_t/√v̄ of one AdamS network at every step, and the constant λ of the same K."""
    rows = rows_where(traces, model=model, seed=seed)
    total = rows["K"][np.argsort(rows["step"])]
    rates = lr * np.array([shape(step) for step in range(len(total) - 1)])
    course = np.where(rates > 0, np.diff(total) / np.where(rates > 0, rates, 1), 0.0)
    return course, float(total[-1] / rates.sum())


def spent(course: np.ndarray, lr: float, shape: Any) -> float:
    """K of a course of λ."""
    return float(sum(lr * shape(step) * decay for step, decay in enumerate(course)))


def estimate(tables: Tables) -> Mapping[str, Interval]:
    """AdamS minus each control, in points of test error."""
    cells = tables["cells"]
    return {
        f"{arm}, {model}": in_points(
            cells, dict(model=model, arm="AdamS"), dict(model=model, arm=arm)
        )
        for model, arm in product(MODELS, CONTROLS)
    }


@house_style
def draw(tables: Tables) -> Any:
    """Test error of every arm, and the courses of λ/√v̄."""
    cells, traces = tables["cells"], tables["traces"]
    fig, axes = figure(11.0, 3.8, 3)
    arms = ("AdamS", *CONTROLS)
    for axis, model in zip(axes, MODELS):
        for place, (arm, color) in enumerate(zip(arms, OKABE_ITO)):
            points = 100 * rows_where(cells, model=model, arm=arm)["test"]
            strip(axis, place, points, color)
        names = [
            arm.replace(" of AdamS", "\nof AdamS").replace(" trace", "\ntrace") for arm in arms
        ]
        axis.set_xticks(range(len(arms)), names, fontsize=7)
        axis.set_title(f"{model}, n = {len(points)}")
        axis.set_ylabel("test error, %")
    for model, color in zip(MODELS, OKABE_ITO):
        rows = rows_where(traces, model=model, seed=0)
        rate = np.diff(rows["K"]) / np.maximum(np.diff(rows["K"]).max(), 1e-30)
        axes[2].plot(rows["step"][1:], rate, color=color, label=model)
    axes[2].set(xlabel="step", title="AdamS: lr · λ/√v̄, share of its peak")
    axes[2].legend()
    return fig


def compact(tables: Tables) -> Tables:
    """All rows, and the traces of seed 0 only."""
    traces = rows_where(tables["traces"], seed=0)
    return {name: t for name, t in tables.items() if name != "traces"} | {"traces": traces}


FIGURE = Figure(
    "parttwo-e3",
    shows="Part II, E3",
    claim="AdamS generalizes better than AdamW because its decay follows the second moment.",
    criteria={
        f"{arm}, {model}": below(f"AdamS minus {arm}, {model}, points", 0.0)
        for model, arm in product(MODELS, CONTROLS)
    },
    recipes={
        "smoke": Tuned(
            minutes=0.1, lrs=(3e-3,), adams=(1e-3, 1e-2), adamw=(0.3, 1.0), epochs=1, choosing=1,
            seeds=2, departures=("one epoch, two seeds",),
        ),
        "cpu": Tuned(
            minutes=25,
            lrs=(1e-3, 3e-3, 1e-2),
            adams=log_grid(1e-4, 0.1, 7),
            adamw=log_grid(0.03, 30, 7),
            epochs=40,
            choosing=16,
            seeds=16,
            departures=("600 digits with a fifth of the labels wrong",),
        ),
    },
    measure=measure,
    estimate=estimate,
    draw=draw,
    compact=compact,
)  # fmt: skip
