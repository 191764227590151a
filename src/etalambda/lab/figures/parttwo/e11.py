"""Experiment E11: is SGDS better than SGD with L2? Xie et al. 2022 say by 0.3 points on CIFAR-10.

SGDS is exactly L2-SGD with a momentum that differs by lr · λ/(1 - μ), relatively 5e-4 at usual
strengths, so no difference is expected. λ and lr are chosen for SGD on seeds of their own and used
for both; a second arm gives SGDS its own choice. SGDW at λ/(1 - μ) is the same decay, decoupled.

Departures from the paper: digits and small networks, with more seeds than its three.
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
from etalambda.lab.figures.style import INK, OKABE_ITO, figure, house_style
from etalambda.lab.reproduce import Bench, Figure, Jobs, Recipe, within
from etalambda.lab.reproduce.cells import by_seed, in_points, rows_where
from etalambda.lab.statistics import Interval

MOMENTUM = 0.9
ARMS = {"SGDS": "sgds", "SGDS, own choice": "sgds", "SGDW": "sgdw"}
"""What is compared with SGD, and whose optimizer it is."""


@dataclass(frozen=True, kw_only=True)
class Pairs(Recipe):
    """Models, grids, epochs, and how many seeds choose and report."""

    models: tuple[str, ...]
    lrs: tuple[float, ...]
    weight_decays: tuple[float, ...]
    epochs: int
    choosing: int
    seeds: int
    label_noise: float = 0.2


def measure(recipe: Pairs, bench: Bench) -> Iterable[Jobs]:
    """First the grids of SGD and SGDS, then every arm on the reporting seeds."""
    tuning = Tuning(recipe.epochs, recipe.label_noise, recipe.choosing, bench.device)
    settings = list(product(recipe.lrs, recipe.weight_decays))
    yield tuning.grid(dict.fromkeys(product(recipe.models, ("sgd", "sgds")), settings))
    grid, report = bench.tables()["grid"], {}
    for model in recipe.models:
        lr, decay = chosen(grid, model, "sgd")
        ways = {
            "SGD": ("sgd", lr, decay),
            "SGDS": ("sgds", lr, decay),
            "SGDS, own choice": ("sgds", *chosen(grid, model, "sgds")),
            "SGDW": ("sgdw", lr, decay / (1 - MOMENTUM)),
        }
        for arm, (optimizer, *at) in ways.items():
            cells = [tuning.cell(model, arm, seed, *at) for seed in range(recipe.seeds)]
            part = f"report.{model}.{arm.replace(', ', '-').replace(' ', '-')}"
            report[part] = tuning.job(model, optimizer, cells)
    yield report


def estimate(tables: Tables) -> Mapping[str, Interval]:
    """Each arm minus SGD, in points of test error, for each model."""
    cells = tables["cells"]
    return {
        f"{arm}, {model}": in_points(
            cells, dict(model=model, arm=arm), dict(model=model, arm="SGD")
        )
        for model, arm in product(dict.fromkeys(cells["model"]), ARMS)
    }


@house_style
def draw(tables: Tables) -> Any:
    """Paired differences of every seed, their means and intervals."""
    cells = tables["cells"]
    models = list(dict.fromkeys(cells["model"]))
    fig, axes = figure(8.0, 3.8, len(models), sharey=True)
    for axis, model in zip(axes, models):
        base = rows_where(cells, model=model, arm="SGD")
        axis.axhline(0, color=INK, lw=0.8)
        axis.axhspan(-0.3, 0.3, color="0.92", zorder=0)
        for place, (arm, color) in enumerate(zip(ARMS, OKABE_ITO)):
            ours = rows_where(cells, model=model, arm=arm)
            points = 100 * (by_seed(ours) - by_seed(base))
            spread = np.linspace(-0.15, 0.15, len(points))
            axis.plot(place + spread, points, ".", color=color, alpha=0.5)
            found = in_points(cells, dict(model=model, arm=arm), dict(model=model, arm="SGD"))
            ends = found.whiskers
            axis.errorbar([place + 0.28], [found.value], ends, fmt="o", color=color, capsize=3)
        axis.set_xticks(range(len(ARMS)), [arm.replace(", ", ",\n") for arm in ARMS], fontsize=8)
        axis.set_title(f"{model}, n = {len(base['seed'])}")
    axes[0].set_ylabel("test error minus SGD's, points")
    return fig


FIGURE = Figure(
    "parttwo-e11",
    shows="Part II, E11",
    claim="SGDS and SGD with L2 do not differ by more than 0.3 points of test error.",
    criteria={
        f"{arm}, {model}": within(f"{arm} minus SGD, {model}, points", -0.3, 0.3)
        for model, arm in product(("mlp", "cnn"), ARMS)
    },
    recipes={
        "smoke": Pairs(
            minutes=0.1, models=("mlp", "cnn"), lrs=(0.1,), weight_decays=(1e-3, 1e-2), epochs=1,
            choosing=1, seeds=2, departures=("one epoch, two seeds",),
        ),
        "cpu": Pairs(
            minutes=30,
            models=("mlp", "cnn"),
            lrs=(0.05, 0.1, 0.2, 0.4),
            weight_decays=log_grid(1e-3, 0.1, 5),
            epochs=40,
            choosing=16,
            seeds=32,
            departures=("600 digits with a fifth of the labels wrong",),
        ),
    },
    measure=measure,
    estimate=estimate,
    draw=draw,
)  # fmt: skip
