"""Table 3 of Xie et al. 2022: is the best λ inversely proportional to the number of epochs?

The best λ of the base length predicts that of every other, λ₀E₀/E; as in the paper it is compared
with ten times and a tenth of itself. Figure 2 reads the same run.

Departures from the paper: digits and a small network, base length 40 epochs in place of 200; the
base λ is chosen on validation images of other seeds than those that report.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from etalambda.lab.configs import log_grid
from etalambda.lab.engine import Trial
from etalambda.lab.experiments.parts import Tables
from etalambda.lab.figures.style import OKABE_ITO, figure, house_style
from etalambda.lab.figures.xie2022._maps import CNN, NOISE, STEPS_AN_EPOCH
from etalambda.lab.reproduce import Bench, Figure, Jobs, Recipe, above, below
from etalambda.lab.reproduce.cells import Cell, best_by, choosing, digits_job, rows_where
from etalambda.lab.statistics import Interval, bootstrapped, paired_difference
from etalambda.lab.train.schedules import shape

LR = 0.05
FACTORS = (10.0, 1.0, 0.1)


@dataclass(frozen=True, kw_only=True)
class Lengths(Recipe):
    """The base length and its λ grid, the other lengths, and seeds."""

    base: int
    decays: tuple[float, ...]
    epochs: tuple[int, ...]
    choosing: int
    seeds: int
    label_noise: float = 0.2


def measure(recipe: Lengths, bench: Bench) -> Iterable[Jobs]:
    """The base sweep; then three λ at every length."""

    def job(epochs: int, decays: Iterable[float], seeds: range, table: str) -> Any:
        rules = {"lr": shape("step", epochs * STEPS_AN_EPOCH)}
        cells = [
            Cell({"epochs": epochs, "decay": decay}, Trial(seed, LR, decay, rules=rules))
            for decay in decays
            for seed in seeds
        ]
        how: dict[str, Any] = dict(label_noise=recipe.label_noise, device=bench.device, table=table)
        return digits_job(cells, model="cnn", optimizer="sgd", epochs=epochs, **how)

    yield {"base": job(recipe.base, recipe.decays, choosing(recipe.choosing), "map")}
    best = best_by(bench.tables()["map"], "decay")["decay"]
    yield {
        f"epochs={epochs}": job(
            epochs,
            [factor * best * recipe.base / epochs for factor in FACTORS],
            range(recipe.seeds),
            "cells",
        )
        for epochs in sorted(recipe.epochs, reverse=True)
    }


def table(tables: Tables) -> tuple[np.ndarray, np.ndarray]:
    """Lengths, and test errors in points: (lengths, 3 candidates from large to small λ, seeds)."""
    cells = tables["cells"]
    lengths = np.unique(cells["epochs"])
    found = []
    for epochs in lengths:
        ours = rows_where(cells, epochs=epochs)
        order = np.lexsort((ours["seed"], -ours["decay"]))
        found.append(100 * ours["test"][order].reshape(len(FACTORS), -1))
    return lengths, np.array(found)


def estimate(tables: Tables) -> Mapping[str, Interval]:
    """The predicted λ against the others over all lengths, and how many lengths it wins."""
    _, errors = table(tables)
    means = errors.mean(0)

    def won(chosen: np.ndarray) -> float:
        return float((errors[..., chosen].mean(-1).argmin(1) == 1).mean())

    return {
        "larger": paired_difference(means[1], means[0]),
        "smaller": paired_difference(means[1], means[2]),
        "lengths": bootstrapped(won, errors.shape[-1]),
    }


@house_style
def draw(tables: Tables) -> Any:
    """Test error of the three candidates against the length."""
    lengths, errors = table(tables)
    fig, (axis,) = figure(6.5, 4.0)
    names = ("10 times the predicted λ", "the predicted λ = λ₀E₀/E", "a tenth of it")
    for place, (name, color) in enumerate(zip(names, OKABE_ITO)):
        mean, sd = errors[:, place].mean(-1), errors[:, place].std(-1, ddof=1)
        axis.plot(lengths, mean, "o-", color=color, label=name)
        axis.fill_between(lengths, mean - sd, mean + sd, color=color, alpha=0.15, lw=0)
    axis.set(xscale="log", xlabel="epochs", ylabel="test error, %")
    axis.set_xticks(lengths, [f"{epochs:g}" for epochs in lengths])
    axis.minorticks_off()
    axis.set_title(f"SGD, CNN with BatchNorm, n = {errors.shape[-1]}")
    axis.legend()
    return fig


RECIPES = {
    "smoke": Lengths(
        minutes=0.1, base=2, decays=(1e-3, 1e-2), epochs=(1, 2), choosing=2, seeds=3,
        departures=(NOISE, CNN, "one and two epochs"),
    ),
    "cpu": Lengths(
        minutes=3,
        base=40,
        decays=log_grid(1e-5, 0.1, 9),
        epochs=(10, 20, 40, 80),
        choosing=16,
        seeds=16,
        departures=(NOISE, CNN, "10 to 80 epochs in place of 50 to 2000, base length 40, lr 0.05"),
    ),
}  # fmt: skip

FIGURE = Figure(
    "xie2022-table3",
    shows="Table 3",
    claim="The best weight decay is inversely proportional to the number of epochs: the predicted "
    "one beats ten times and a tenth of it at every length.",
    criteria={
        "larger": below("predicted minus ten times it, mean over lengths, points", 0.0),
        "smaller": below("predicted minus a tenth of it, mean over lengths, points", 0.0),
        "lengths": above("share of lengths at which the predicted is best", 0.99),
    },
    recipes=RECIPES,
    measure=measure,
    estimate=estimate,
    draw=draw,
)
