"""Figures 1c and S9 of Lewkowycz & Gur-Ari 2020: AutoL2 beside constant λ, constant lr.

Departures from the paper: a fully connected network on digits, not a Wide ResNet on CIFAR-10; loss
and error that AutoL2 reads are those of the minibatch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from etalambda.lab.experiments.parts import Tables
from etalambda.lab.figures.lewkowycz2020._budgets import AUTO, measure, reached, runs_of
from etalambda.lab.figures.lewkowycz2020.fig4 import RECIPES
from etalambda.lab.figures.style import figure, house_style, shades
from etalambda.lab.reproduce import Figure, above, below
from etalambda.lab.statistics import Interval, paired_difference


def estimate(tables: Tables) -> Mapping[str, Interval]:
    """Best accuracy against the tuned λ's, and the epochs until its level is reached."""
    auto, tuned = _pairs(tables)
    levels = [run["test"].max() - 0.005 for run in tuned]
    firsts = [
        [np.log(max(_first(run, level), run["epoch"][1])) for run, level in zip(side, levels)]
        for side in (auto, tuned)
    ]
    best = [[run["test"].max() for run in side] for side in (auto, tuned)]
    return {"best": paired_difference(*best), "sooner": paired_difference(*firsts)}


def _first(run: dict[str, np.ndarray], level: float) -> float:
    """The epoch at which a run first reaches a level; twice its length if it never does."""
    there = np.flatnonzero(run["test"] >= level)
    return float(run["epoch"][there[0]] if there.size else 2 * run["epoch"][-1])


def _pairs(tables: Tables) -> tuple[list[Any], list[Any]]:
    """AutoL2's runs and, seed by seed, those of the λ that is best on the other seeds."""
    curves = tables["curves"]
    decays, table = reached(curves, float(curves["epoch"].max()))
    chosen = decays[(table.sum(1, keepdims=True) - table).argmax(0)]
    constant, auto = runs_of(curves), runs_of(curves, AUTO)
    seeds = sorted(seed for _, seed in auto)
    tuned = [constant[float(decay), seed] for decay, seed in zip(chosen, seeds)]
    return [run for _, run in sorted(auto.items())], tuned


@house_style
def draw(tables: Tables) -> Any:
    """Test accuracy and training loss against epochs, means over seeds."""
    made, axes = figure(10.0, 3.9, columns=2)
    curves = tables["curves"]
    constant, auto = runs_of(curves), runs_of(curves, AUTO)
    decays, table = reached(curves, float(curves["epoch"].max()))
    best = int(table.mean(1).argmax())
    shown = [decays[i] for i in sorted({0, best, min(best + 3, len(decays) - 1)})]
    lines = [(f"λ {d:.2g}", [r for (o, _), r in constant.items() if o == d]) for d in shown]
    colours = [*shades(len(lines)), "#D55E00"]
    for (name, runs), colour in zip([*lines, (AUTO, list(auto.values()))], colours):
        epochs = runs[0]["epoch"][1:]
        for axis, column, percent in zip(axes, ("test", "loss"), (100, 1)):
            mean = np.mean([run[column] for run in runs], 0)[1:]
            axis.plot(epochs, percent * mean, color=colour, label=name)
    axes[0].set(xscale="log", xlabel="epoch", title="test accuracy %")
    axes[1].set(xscale="log", xlabel="epoch", yscale="log", title="training loss without L2")
    axes[0].legend(fontsize=8)
    return made


FIGURE = Figure(
    name="lewkowycz2020-fig1c",
    shows="Figures 1c, S9",
    claim="At a constant lr AutoL2 trains faster than the tuned constant λ and ends better.",
    criteria={
        "best": above("best accuracy, AutoL2 minus the tuned λ", 0.0),
        "sooner": below("log epochs to the tuned λ's peak, AutoL2 minus tuned", 0.0),
    },
    recipes=RECIPES,
    measure=measure,
    estimate=estimate,
    draw=draw,
    measured_by="lewkowycz2020-fig4",
)
