"""Experiment E1: how does the best λ fall with the length of training, T?

λ* ∝ T^-1 (Lewkowycz & Gur-Ari 2020; Xie et al. 2022, Table 3), T^-1/2 (Loshchilov & Hutter 2019),
or T^0 (Wang & Aitchison 2024, for epochs of one data set)? One network, two optimizers, constant
and falling lr, a grid of λ at each length. λ* is the minimum of a parabola in log λ through the
best mean validation error and its neighbours; the exponent is the slope of log λ* on log T, its
interval the 95 % percentiles of a bootstrap over seeds. A length at which decay does not help
(the best mean is not two standard errors below that of no decay) has no λ* and is left out.

Departures from the paper: digits and a small network; the papers trained on CIFAR.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from etalambda.lab.configs import log_grid
from etalambda.lab.engine import Trial
from etalambda.lab.experiments.parts import HYPER, Tables
from etalambda.lab.figures.style import OKABE_ITO, figure, house_style
from etalambda.lab.reproduce import Bench, Figure, Jobs, Recipe, within
from etalambda.lab.reproduce.cells import Cell, by_seed, digits_job, rows_where
from etalambda.lab.statistics import Interval, bootstrapped
from etalambda.schedule import constant, cosine
from etalambda.theory import budget

LRS = {"sgd": 0.05, "adamw": 3e-3}
SHAPES = ("constant", "cosine")
PER_EPOCH = 12  # steps: 600 images, 50 a step


@dataclass(frozen=True, kw_only=True)
class Lengths(Recipe):
    """Epochs, λ grids and seeds; each length is trained for each optimizer and lr shape."""

    epochs: tuple[int, ...]
    sgd: tuple[float, ...]
    adamw: tuple[float, ...]
    seeds: int
    label_noise: float = 0.2


def measure(recipe: Lengths, bench: Bench) -> list[Jobs]:
    """One part a length, optimizer and shape of the lr."""
    jobs = {}
    for optimizer, kind, epochs in product(LRS, SHAPES, recipe.epochs):
        steps = PER_EPOCH * epochs
        rules = {"lr": cosine(steps) if kind == "cosine" else constant()}
        labels = {"optimizer": optimizer, "shape": kind, "epochs": epochs}
        cells = [
            Cell(labels, Trial(seed, LRS[optimizer], decay, rules=rules))
            for decay in (0.0, *getattr(recipe, optimizer))
            for seed in range(recipe.seeds)
        ]
        settings: dict[str, Any] = dict(label_noise=recipe.label_noise, device=bench.device)
        jobs[f"{optimizer}.{kind}.epochs={epochs}"] = digits_job(
            cells, model="mlp", optimizer=optimizer, epochs=epochs, **settings
        )
    return [jobs]


def error_table(
    cells: Mapping[str, np.ndarray], optimizer: str, shape: str, epochs: int
) -> tuple[np.ndarray, np.ndarray]:
    """λ above 0, and validation errors (1 + λs, seeds), no decay first."""
    ours = rows_where(cells, optimizer=optimizer, shape=shape, epochs=epochs)
    decays = np.unique(ours["weight_decay"])
    rows = [rows_where(ours, weight_decay=decay) for decay in decays]
    return decays[1:], np.stack([by_seed(row, "val") for row in rows])


def optimum(decays: np.ndarray, errors: np.ndarray) -> float:
    """λ*: the minimum of a parabola in log λ through the best mean and its two neighbours.

    At the border of the grid, the border.

    >>> round(optimum(np.array([0.1, 1.0, 10.0]), np.array([1.0, 0.0, 1.0])), 3)
    1.0
    """
    best = int(errors.argmin())
    if best in (0, len(decays) - 1):
        return float(decays[best])
    x, y = np.log(decays[best - 1 : best + 2]), errors[best - 1 : best + 2]
    bend, slant, _ = np.polyfit(x - x[1], y, 2)
    return float(np.exp(x[1] - slant / (2 * bend))) if bend > 0 else float(decays[best])


def helps(errors: np.ndarray) -> bool:
    """Whether the best λ beats no decay by two standard errors, paired by seed."""
    gain = errors[0] - errors[1:][errors[1:].mean(1).argmin()]
    return bool(gain.mean() > 2 * gain.std(ddof=1) / len(gain) ** 0.5)


def exponent(cells: Mapping[str, np.ndarray], optimizer: str, shape: str) -> Interval:
    """The slope of log λ* on log T, with the percentiles of a bootstrap over seeds."""
    lengths = [int(e) for e in np.unique(cells["epochs"])]
    tables = {e: error_table(cells, optimizer, shape, e) for e in lengths}
    used = [e for e in lengths if helps(tables[e][1])]
    seeds = next(iter(tables.values()))[1].shape[1]
    if len(used) < 3:
        return Interval(*(float("nan"),) * 3, n=seeds)

    def slope(chosen: np.ndarray) -> float:
        best = [optimum(tables[e][0], tables[e][1][1:, chosen].mean(1)) for e in used]
        return float(np.polyfit(np.log(used), np.log(best), 1)[0])

    return bootstrapped(slope, seeds)


def peak_budgets(cells: Mapping[str, np.ndarray]) -> dict[int, tuple[float, float, float]]:
    """Epochs -> λ* as a decay budget at the peak lr, gain · η λ* T: its middle, least and most.

    The middle is the geometric mean over optimizers and shapes of the lr. At the peak, because the
    two shapes then agree (within a fifth from 40 epochs on), while K over the schedule is halved by
    the cosine. λ* where decay does not help is the best of the grid all the same.
    """
    found = {}
    for epochs in (int(e) for e in np.unique(cells["epochs"])):
        logs = []
        for optimizer, shape in product(LRS, SHAPES):
            decays, errors = error_table(cells, optimizer, shape, epochs)
            gain = budget.gain(budget.form(optimizer), **HYPER.get(optimizer, {}))
            rate = gain * LRS[optimizer] * optimum(decays, errors[1:].mean(1))
            logs.append(np.log(rate * PER_EPOCH * epochs))
        middle, least, most = np.exp([np.mean(logs), np.min(logs), np.max(logs)]).tolist()
        found[epochs] = middle, least, most
    return found


def estimate(tables: Tables) -> Mapping[str, Interval]:
    """The exponent of each optimizer and shape."""
    return {f"{o}, {s}": exponent(tables["cells"], o, s) for o, s in product(LRS, SHAPES)}


@house_style
def draw(tables: Tables) -> Any:
    """λ* against the epochs, with lines of slope -1, -1/2 and 0."""
    cells = tables["cells"]
    fig, axes = figure(9.0, 3.8, 2)
    for axis, optimizer in zip(axes, LRS):
        lengths = np.unique(cells["epochs"])
        start = (1.0, 1.0)
        for color, shape in zip(OKABE_ITO, SHAPES):
            tables_of = [error_table(cells, optimizer, shape, int(e)) for e in lengths]
            best = np.array([optimum(d, e[1:].mean(1)) for d, e in tables_of])
            there = np.array([helps(e) for _, e in tables_of])
            axis.plot(lengths[there], best[there], "o-", color=color, label=f"lr {shape}")
            axis.plot(lengths[~there], best[~there], "o", color=color, mfc="none")
            start = (float(lengths[-1]), float(best[-1]))
        for power, dash in ((-1, ":"), (-0.5, "--"), (0, "-")):
            line = start[1] * (lengths / start[0]) ** power
            axis.plot(lengths, line, dash, color="0.6", lw=1, label=f"T^{power:g}")
        axis.set(xscale="log", yscale="log", xlabel="epochs", ylabel="best weight decay λ*")
        axis.set_title(optimizer)
    axes[0].legend(fontsize=8)
    return fig


FIGURE = Figure(
    "parttwo-e1",
    shows="Part II, E1",
    claim="The best weight decay is inversely proportional to the length of training, λ* ∝ 1/T.",
    criteria={
        f"{o}, {s}": within(f"exponent of λ* in T, {o}, {s} lr", -1.25, -0.75)
        for o, s in product(LRS, SHAPES)
    },
    recipes={
        "smoke": Lengths(
            minutes=0.1, epochs=(2, 4), sgd=(1e-3, 0.01), adamw=(0.3, 3.0), seeds=2,
            departures=("two short lengths",),
        ),
        "cpu": Lengths(
            minutes=8,
            epochs=(10, 20, 40, 80, 160, 320),
            sgd=log_grid(1e-4, 0.1, 10),
            adamw=log_grid(0.03, 30, 10),
            seeds=8,
            departures=("600 digits with a fifth of the labels wrong, MLP 64-64-64-10",),
        ),
    },
    measure=measure,
    estimate=estimate,
    draw=draw,
)  # fmt: skip
