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
from etalambda.lab.engine import Trial
from etalambda.lab.experiments.parts import Tables
from etalambda.lab.figures.style import INK, OKABE_ITO, figure, house_style
from etalambda.lab.reproduce import Bench, Figure, Jobs, Recipe, within
from etalambda.lab.reproduce.cells import (
    Cell,
    best_by,
    choosing,
    digits_job,
    in_points,
    rows_where,
)
from etalambda.lab.statistics import Interval
from etalambda.schedule import cosine

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
    steps = 12 * recipe.epochs

    def job(model: str, optimizer: str, cells: list[Cell], table: str) -> Any:
        settings: dict[str, Any] = dict(epochs=recipe.epochs, label_noise=recipe.label_noise)
        where: dict[str, Any] = dict(device=bench.device, table=table)
        return digits_job(cells, model=model, optimizer=optimizer, **settings, **where)

    def cell(model: str, arm: str, seed: int, lr: float, decay: float) -> Cell:
        labels = {"model": model, "arm": arm}
        return Cell(labels, Trial(seed, lr, decay, rules={"lr": cosine(steps)}))

    yield {
        f"grid.{model}.{optimizer}": job(
            model,
            optimizer,
            [
                cell(model, optimizer, seed, lr, decay)
                for lr, decay in product(recipe.lrs, recipe.weight_decays)
                for seed in choosing(recipe.choosing)
            ],
            "grid",
        )
        for model, optimizer in product(recipe.models, ("sgd", "sgds"))
    }
    grid, report = bench.tables()["grid"], {}
    for model in recipe.models:
        best = {
            optimizer: best_by(rows_where(grid, model=model, arm=optimizer), "lr", "weight_decay")
            for optimizer in ("sgd", "sgds")
        }
        lr, decay = best["sgd"]["lr"], best["sgd"]["weight_decay"]
        chosen = {
            "SGD": ("sgd", lr, decay),
            "SGDS": ("sgds", lr, decay),
            "SGDS, own choice": ("sgds", best["sgds"]["lr"], best["sgds"]["weight_decay"]),
            "SGDW": ("sgdw", lr, decay / (1 - MOMENTUM)),
        }
        for arm, (optimizer, own_lr, own_decay) in chosen.items():
            cells = [cell(model, arm, seed, own_lr, own_decay) for seed in range(recipe.seeds)]
            report[f"report.{model}.{arm.replace(', ', '-').replace(' ', '-')}"] = job(
                model, optimizer, cells, "cells"
            )
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
        order = np.argsort(base["seed"])
        axis.axhline(0, color=INK, lw=0.8)
        axis.axhspan(-0.3, 0.3, color="0.92", zorder=0)
        for place, (arm, color) in enumerate(zip(ARMS, OKABE_ITO)):
            ours = rows_where(cells, model=model, arm=arm)
            points = 100 * (ours["test"][np.argsort(ours["seed"])] - base["test"][order])
            spread = np.linspace(-0.15, 0.15, len(points))
            axis.plot(place + spread, points, ".", color=color, alpha=0.5)
            found = in_points(cells, dict(model=model, arm=arm), dict(model=model, arm="SGD"))
            ends = [[found.value - found.low], [found.high - found.value]]
            axis.errorbar([place + 0.28], [found.value], ends, fmt="o", color=color, capsize=3)
        axis.set_xticks(range(len(ARMS)), [arm.replace(", ", ",\n") for arm in ARMS], fontsize=8)
        axis.set_title(f"{model}, n = {len(order)}")
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
