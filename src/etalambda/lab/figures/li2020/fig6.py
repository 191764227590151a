"""Figures 6 and 7 of Li, Lyu & Arora 2020: averages along a trajectory, and how far it goes.

In equilibrium the mean of two weights of one trajectory classifies better than either, so the
trajectory looks local; yet ‖W_T - W_{T+Δ}‖ keeps growing with Δ, where an Ornstein-Uhlenbeck
process around a minimum would be at its constant. Means of two different trajectories are worse.

Departures from the paper: at cpu scale a BatchNorm network on digits with 20 % wrong labels, not
PreResNet32 on CIFAR-10; Δ up to 32/(ηλ); momentum (Figure 7) is an arm.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from etalambda.lab.engine.pool import Tick
from etalambda.lab.experiments.parts import Tables, columns
from etalambda.lab.figures.style import OKABE_ITO, figure, house_style
from etalambda.lab.reproduce import Bench, Figure, Jobs, above, below
from etalambda.lab.reproduce.classifiers import OnDigits, one_a_seed, steps_of
from etalambda.lab.reproduce.pairs import a_seed, hull, mean_curve, rows
from etalambda.lab.statistics import Interval, mean_interval, paired_difference

ARMS = {"vanilla": 0.0, "momentum": 0.9}


@dataclass(frozen=True, kw_only=True)
class Pairs(OnDigits):
    """Steps to equilibrium and the largest Δ, both in 1/(ηλ); η is divided by 1/(1 - β)."""

    lr: float = 0.1
    weight_decay: float = 0.1
    warm: float = 8.0
    longest: int = 32


def measure(recipe: Pairs, bench: Bench) -> list[Jobs]:
    """One part an arm."""
    return [{name: _job(recipe, bench, name) for name in ARMS}]


def _job(recipe: Pairs, bench: Bench, name: str) -> Any:
    def job(tick: Tick) -> Tables:
        task, momentum = recipe.task(bench), ARMS[name]
        unit = round(1 / (recipe.lr * recipe.weight_decay))  # 1/(ηλ) with the effective η
        start = round(recipe.warm * unit)
        lr = recipe.lr * (1 - momentum)
        trials = one_a_seed(range(recipe.seeds), lr, recipe.weight_decay)
        run = dict(steps=start + recipe.longest * unit, every=max(1, unit // 4), tick=tick)
        first: list[Tensor] = []
        found = []
        for look in steps_of(recipe.net, task, trials, momentum=momentum, **run):
            if look.seen.step < start:
                continue
            now = [p.clone() for p in look.nets.params]
            first = first or now
            delta = (look.seen.step - start) / unit
            found.append({"delta": delta} | _compare(look.nets, first, now, task))
        label = {"arm": np.array([name], dtype=object), "seed": np.arange(recipe.seeds)}
        return {"pairs": columns(label | row for row in found)}

    return job


def _compare(nets: Any, first: list[Tensor], now: list[Tensor], task: Any) -> dict[str, np.ndarray]:
    """Distance and errors of each trial's first weights, its weights now, and their mean."""
    other = [p.roll(1, 0) for p in first]  # another trial's

    def error(params: list[Tensor]) -> np.ndarray:
        x = task.x["test"].expand(len(params[0]), -1, -1)
        with torch.no_grad():
            outputs = nets(params, x, training=False)
        return (outputs.argmax(-1) != task.y["test"]).double().mean(-1).cpu().numpy()

    def norm(params: list[Tensor]) -> np.ndarray:
        squares = torch.stack([p.flatten(1).double().square().sum(1) for p in params])
        return squares.sum(0).sqrt().cpu().numpy()

    return dict(
        distance=norm([b - a for a, b in zip(first, now)]),
        norm=norm(now),
        error=error(now),
        averaged=error([(a + b) / 2 for a, b in zip(first, now)]),
        across=error([(a + b) / 2 for a, b in zip(other, now)]),
    )


def estimate(tables: Tables) -> Mapping[str, Interval]:
    """Growth of the distance late, and what averaging gains along and across trajectories."""
    pairs = tables["pairs"]
    growth, gain, loss = [], [], []
    longest = pairs["delta"].max()
    for arm in ARMS:
        ours = rows(pairs, arm=arm)
        late = _window(ours, 0.75 * longest, longest)
        middle = _window(ours, 0.125 * longest, 0.25 * longest)
        logs = [np.log(a_seed(table, "distance")) for table in (late, middle)]
        growth.append(paired_difference(*logs))
        near = _window(ours, 0.5, 2.0)
        gain.append(paired_difference(a_seed(near, "averaged"), a_seed(near, "error")))
        loss.append(paired_difference(a_seed(near, "across"), a_seed(near, "error")))
    norm = np.log(a_seed(late, "distance") / a_seed(late, "norm"))
    return {
        "grows": hull(growth),
        "averaged": hull(gain),
        "across": hull(loss),
        "mixed": mean_interval(norm),
    }


def _window(table: dict[str, np.ndarray], low: float, high: float) -> dict[str, np.ndarray]:
    ours = (table["delta"] >= low) & (table["delta"] <= high)
    return {key: column[ours] for key, column in table.items()}


@house_style
def draw(tables: Tables) -> Any:
    """Distance over Δ; errors of means along and across trajectories."""
    made, axes = figure(12.0, 3.9, columns=3)
    pairs = tables["pairs"] | {"step": tables["pairs"]["delta"]}
    for (arm, axis), colour in zip(zip(ARMS, axes[1:]), OKABE_ITO):
        ours = rows(pairs, arm=arm)
        relative = ours | {"relative": ours["distance"] / ours["norm"]}
        axes[0].plot(*mean_curve(relative, "relative"), color=colour, label=arm)
        for column, dash in (("error", ":"), ("averaged", "-"), ("across", "--")):
            delta, mean = mean_curve(ours, column)
            axis.plot(delta, 100 * mean, dash, color=colour, label=column)
        axis.set(xlabel="Δ · ηλ", title=f"test error % ({arm})")
        axis.legend(["each", "mean along", "mean across"])
    axes[0].axhline(2**0.5, color="#666666", lw=0.8, ls="--")
    axes[0].set(xlabel="Δ · ηλ", title="‖W_T - W_{T+Δ}‖ / ‖W‖ (dashed: √2)")
    axes[0].legend()
    return made


DIGITS = (
    "digits with 20 % wrong labels and a {} network with BatchNorm in place of PreResNet32 on "
    "CIFAR-10; pairs are compared up to Δ = {}/(ηλ)"
)

FIGURE = Figure(
    name="li2020-fig6",
    shows="Figures 6 and 7",
    claim="Averaging two weights of a trajectory lowers the error, while their distance keeps "
    "growing.",
    criteria={
        "averaged": below("test error of the mean along a trajectory minus that of one", 0.0),
        "across": above("test error of the mean across trajectories minus that of one", 0.0),
        "grows": above("log growth of the distance from Δ = Δmax/5 to Δmax", 0.02),
        "mixed": below("log distance over norm at the largest Δ (uncorrelated: 0.35)", 0.3),
    },
    recipes={
        "smoke": Pairs(
            minutes=0.05,
            seeds=3,
            hidden=(16, 16),
            weight_decay=1.0,
            longest=12,
            departures=(DIGITS.format("64-16-16-10", 12),),
        ),
        "cpu": Pairs(minutes=2.0, seeds=20, departures=(DIGITS.format("64-32-32-10", 32),)),
    },
    measure=measure,
    estimate=estimate,
    draw=draw,
)
