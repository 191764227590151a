"""Figure S8 of Lewkowycz & Gur-Ari 2020: ResNet-50 on ImageNet, where a longer run does not help.

(a) What matters is ηλ; (b) at a fixed lr a smaller λ does not catch up, however long it trains.
Declared, not run here: the paper scale needs ImageNet's folder as ``--data-dir`` and months of a
GPU. The smoke scale runs the same comparison on digits.

Departures from the paper: pictures as the task ``folder`` serves them; the lr falls by ten at 0.4
and 0.8 of the run, which the paper does not say; 90 to 900 epochs, not 14,232.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from etalambda.lab.engine.pool import Tick
from etalambda.lab.experiments.parts import Job, Tables, columns
from etalambda.lab.figures.style import figure, house_style, shades
from etalambda.lab.reproduce import Bench, Figure, Jobs, Recipe, above, rates, within
from etalambda.lab.reproduce.alone import trained
from etalambda.lab.reproduce.cells import GUESS, rows_where
from etalambda.lab.statistics import Interval, mean_interval, paired_difference
from etalambda.lab.train import TrainConfig


@dataclass(frozen=True, kw_only=True)
class Folder(Recipe):
    """lr and λ each times and over ``ratio``; at the middle lr, λ/ratio for ratio · epochs too."""

    task: str
    model: str
    batch_size: int
    epochs: int
    lr: float
    weight_decay: float
    ratio: float
    seeds: int
    amp: str = ""


STEPS = (-1, 0, 1)  # powers of the ratio


def measure(recipe: Folder, bench: Bench) -> list[Jobs]:
    """A part a run: the nine of (a), then the longer one of (b)."""
    cells = [(i, j, 1) for i in STEPS for j in STEPS] + [(0, -1, round(recipe.ratio))]
    return [
        {
            f"lr={i}.decay={j}.long={longer}.seed={seed}": _job(recipe, bench, i, j, longer, seed)
            for i, j, longer in cells
            for seed in range(recipe.seeds)
        }
    ]


def _job(recipe: Folder, bench: Bench, i: int, j: int, longer: int, seed: int) -> Job:
    config = TrainConfig(
        task=recipe.task,
        data_dir=str(bench.data or ""),
        model=recipe.model,
        optimizer="sgd",
        epochs=recipe.epochs * longer,
        batch_size=recipe.batch_size,
        lr=recipe.lr * recipe.ratio**i,
        weight_decay=recipe.weight_decay * recipe.ratio**j,
        decay="all",
        lr_schedule="step",
        seed=seed,
        device=bench.device,
        amp=recipe.amp,
        channels_last=bool(recipe.amp),
        monitor_every=10**9,
    )

    def job(tick: Tick) -> Tables:
        result = trained(config, bench, f"{i}.{j}.{longer}.{seed}", tick)
        last = {name: values[0] for name, values in result.summary.items()}
        lost = bool(last["diverged"]) or not np.isfinite(last["test_error"])
        test = GUESS if lost else last["test_error"]
        return {"cells": columns([dict(lr=i, decay=j, longer=longer, seed=seed, test=test)])}

    return job


def _errors(tables: Tables, lr: int, decay: int, longer: bool = False) -> np.ndarray:
    """Test error by seed of one cell, lr and λ as powers of the ratio."""
    cells = rows_where(tables["cells"], lr=lr, decay=decay)
    ours = (cells["longer"] > 1) == longer
    return cells["test"][ours][np.argsort(cells["seed"][ours])]


def estimate(tables: Tables) -> Mapping[str, Interval]:
    """Along ηλ, across it, and the smaller λ after a longer run."""
    middle = _errors(tables, 0, 0)
    along = [(_errors(tables, i, -i) - middle) for i in (-1, 1)]
    across = [(_errors(tables, i, i) - middle) for i in (-1, 1)]
    return {
        "along": mean_interval(np.mean(along, 0)),
        "across": mean_interval(np.mean(across, 0)),
        "longer": paired_difference(_errors(tables, 0, -1, True), middle),
    }


@house_style
def draw(tables: Tables) -> Any:
    """Mean test error against λ for each lr, and the longer run."""
    made, axes = figure(6.5, 4.2)
    for i, colour in zip(STEPS, shades(len(STEPS))):
        errors = [100 * _errors(tables, i, j).mean() for j in STEPS]
        axes[0].plot(np.array(STEPS) + i, errors, "o-", color=colour, label=f"lr · ratio^{i}")
    longer = 100 * _errors(tables, 0, -1, True).mean()
    axes[0].plot(-1, longer, "*", ms=12, color="#D55E00", label="smaller λ, longer run")
    axes[0].set(xlabel="log of lr · λ, in powers of the ratio", title="test error %")
    axes[0].set_xticks(range(-2, 3))
    axes[0].legend(fontsize=9)
    return made


FIGURE = Figure(
    name="lewkowycz2020-figs8",
    shows="Figure S8",
    claim="On ImageNet the error depends on ηλ, and a smaller λ does not reach it by training "
    "longer.",
    criteria={
        "along": within("test error at the same ηλ, minus the middle", -0.01, 0.01),
        "across": above("test error at ηλ times and over ratio², minus the middle", 0.01),
        "longer": above("λ / ratio trained ratio times as long, minus the middle", 0.002),
    },
    recipes={
        "smoke": Folder(
            minutes=0.1,
            task="digits",
            model="mlp",
            batch_size=50,
            epochs=1,
            lr=0.03,
            weight_decay=0.01,
            ratio=3.0,
            seeds=3,
            departures=("digits and an MLP in place of ImageNet and ResNet-50, 1 and 3 epochs",),
        ),
        "paper": Folder(
            minutes=19_000,
            task="folder",
            model="resnet50",
            batch_size=256,
            epochs=90,
            lr=0.1,
            weight_decay=1e-4,
            ratio=10.0,
            seeds=3,
            amp="bf16",
            departures=("90 and 900 epochs, not 14,232", "lr falls at 0.4 and 0.8 of the run"),
            reckoned=f"27 runs of 90 and 3 of 900 epochs {rates.IMAGENET}",
        ),
    },
    measure=measure,
    estimate=estimate,
    draw=draw,
)
