"""Figures 4, 1b, S3 and S4 of Lewkowycz & Gur-Ari 2020: the best λ of a budget, predicted as c/T.

Departures from the paper: a fully connected network on digits, not a Wide ResNet on CIFAR-10; no
augmentation; c is read off the whole run at one large λ, not its first 2 epochs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from etalambda.lab.configs import log_grid
from etalambda.lab.experiments.parts import Tables
from etalambda.lab.figures.lewkowycz2020._budgets import (
    Budgets,
    coefficients,
    measure,
    predictions,
    reached,
    runs_of,
)
from etalambda.lab.figures.style import OKABE_ITO, figure, house_style, shades
from etalambda.lab.reproduce import Figure, above, within
from etalambda.lab.reproduce.pairs import hull
from etalambda.lab.statistics import Interval, mean_interval


def estimate(tables: Tables) -> Mapping[str, Interval]:
    """Over budgets: the tuned λ over the predicted one, and what the prediction costs."""
    ratios, costs = _compared(tables, 1.0)
    twice = _compared(tables, 2.0)[1]
    return {
        "within ten": hull(mean_interval(row) for row in ratios),
        "cost": _least(costs),
        "cost at 2c": _least(twice),
    }


def _compared(tables: Tables, times: float) -> tuple[np.ndarray, np.ndarray]:
    """(budgets, seeds): log10(tuned / predicted λ), and accuracy at the predicted minus tuned λ.

    Tuned is the best on the mean over the other seeds; the prediction is the nearest λ trained.
    """
    budgets = tables["settings"]["budget"].astype(float)
    seeds = len(coefficients(tables))
    ratios, costs = np.empty((2, len(budgets), seeds))
    for row, budget in enumerate(budgets):
        decays, table = reached(tables["curves"], budget)
        others = table.sum(1, keepdims=True) - table
        for seed in range(seeds):
            tuned, predicted = (
                int(others[:, seed].argmax()),
                predictions(tables, seed, times)[budget],
            )
            nearest = int(np.abs(np.log(decays / predicted)).argmin())
            ratios[row, seed] = np.log10(decays[tuned] / predicted)
            costs[row, seed] = table[nearest, seed] - table[tuned, seed]
    return ratios, costs


def _least(costs: np.ndarray) -> Interval:
    """The interval of the budget whose mean is lowest."""
    return min((mean_interval(row) for row in costs), key=lambda found: found.low)


@house_style
def draw(tables: Tables) -> Any:
    """Accuracy against tλ, tuned beside predicted λ, and accuracy against λ by budget."""
    made, axes = figure(13.0, 3.9, columns=3)
    runs = runs_of(tables["curves"])
    decays = sorted({d for d, _ in runs if d > 0})
    for decay, colour in zip(decays, shades(len(decays))):
        ours = [run for (d, _), run in runs.items() if d == decay]
        mean = np.mean([run["test"] for run in ours], 0)
        label = f"λ {decay:.2g}" if decay in decays[:: max(1, len(decays) // 4)] else None
        axes[0].plot(ours[0]["epoch"][1:] * decay, 100 * mean[1:], color=colour, label=label)
    c = coefficients(tables)
    axes[0].axvline(c.mean(), ls=":", color="0.3")
    axes[0].set(
        xscale="log", xlabel="epochs · λ", title=f"test accuracy %; dots: c = {c.mean():.2g}"
    )
    budgets = tables["settings"]["budget"].astype(float)
    axes[1].plot(budgets, c.mean() / budgets, "--", color="0.3", label="predicted, c/T")
    for budget, colour in zip(budgets, shades(len(budgets))):
        found, table = reached(tables["curves"], budget)
        mean = table.mean(1)
        near = found[mean >= mean.max() - 0.001]
        axes[1].plot([budget] * 2, [near.min(), near.max()], color=OKABE_ITO[1], lw=1)
        axes[1].plot(budget, found[mean.argmax()], "o", color=OKABE_ITO[1])
        axes[2].plot(found, 100 * mean, "o-", ms=3, color=colour, label=f"T = {budget:g}")
        axes[2].axvline(c.mean() / budget, ls=":", lw=0.8, color=colour)
    axes[1].set(xscale="log", yscale="log", xlabel="budget T, epochs")
    axes[1].set_title("best λ, and those within 0.1 %")
    axes[2].set(xscale="log", xlabel="weight_decay λ", title="best in T, %; dots: c/T")
    top = 100 * max(reached(tables["curves"], budgets[-1])[1].mean(1).max(), 0.2)
    axes[2].set_ylim(top - 12, top + 1)
    for axis in axes:
        axis.legend(fontsize=8)
    return made


RECIPES = {
    "smoke": Budgets(
        minutes=0.05,
        seeds=3,
        lrs=(0.05,),
        weight_decays=log_grid(1e-3, 0.1, 3),
        budgets=(3, 10),
        large=0.1,
        width=16,
        points=30,
        departures=("digits, width 16, 10 epochs at most",),
    ),
    "cpu": Budgets(
        minutes=4.0,
        seeds=5,
        lrs=(0.02,),
        weight_decays=log_grid(1e-4, 0.1, 13),
        budgets=(5, 10, 25, 50, 100, 250, 500),
        large=0.0316,
        width=64,
        departures=(
            "600 digits and a fully connected network of width 64, batches of 50, lr 0.02, 5 to "
            "500 epochs, in place of a Wide ResNet on CIFAR-10, lr 0.2, 50 to 2000 epochs",
        ),
    ),
}

FIGURE = Figure(
    name="lewkowycz2020-fig4",
    shows="Figures 4, 1b, S3, S4",
    claim="The best λ for a budget T is within a factor of ten of c/T, with c measured in a short "
    "run at a large λ, and c/T performs nearly as well.",
    criteria={
        "within ten": within("log10 of tuned over predicted λ, worst budget", -1.0, 1.0),
        "cost": above("accuracy at c/T minus the tuned λ's, worst budget", -0.01),
        "cost at 2c": above("accuracy at 2c/T minus the tuned λ's, worst budget", -0.01),
    },
    recipes=RECIPES,
    measure=measure,
    estimate=estimate,
    draw=draw,
)
