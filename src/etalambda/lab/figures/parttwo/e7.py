"""Experiment E7: complexity gradient descent on a network, for the first time.

Richemond & Guo 2019, Algorithms 1 to 3, against no decay and a tuned constant decay: as printed
(all weights back on the sphere of radius √N after each step), on the sphere of the initial norm,
on a sphere a matrix, and without a sphere. lr and λ₀ are chosen for each on seeds of its own.
Controls: two gradient steps a step (what Algorithm 3 costs and is compared with), and cosine decay
that rises instead of falling.

On a joint sphere L2 is nothing but the learning rate η/(1 - ηw) (CGD-S1): a twin without decay at
that lr must give the same network, in float64, to rounding. A sphere a matrix leaves the biases
free, and they do decay.

Departures from the paper: it trained nothing. Plain SGD, constant lr, digits. Its λ is w/2.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import torch

from etalambda.lab.configs import log_grid
from etalambda.lab.engine import Trial, train
from etalambda.lab.engine.pool import Tick
from etalambda.lab.experiments.parts import Tables, columns
from etalambda.lab.figures.style import INK, OKABE_ITO, figure, house_style, palette
from etalambda.lab.models import MLP
from etalambda.lab.models.stacked import seeded
from etalambda.lab.reproduce import Bench, Figure, Jobs, Recipe, below, within
from etalambda.lab.reproduce.cells import (
    Cell,
    best_by,
    choosing,
    digits_job,
    in_points,
    rows_where,
)
from etalambda.lab.statistics import Interval, exact
from etalambda.lab.tasks import Digits
from etalambda.schedule import MatchedAnnealing, cosine, cosine_restarts
from etalambda.schedule.rule import Rule

SPHERES = ("free", "a matrix", "joint", "joint √N")
PER_EPOCH = 12


@dataclass(frozen=True)
class Way:
    """A course of λ, and the second step of Algorithm 3."""

    rule: str
    two_step: str | None = None


WAYS: dict[str, Way] = {
    "constant": Way("constant"),
    "matched (A1)": Way("matched"),
    "cosine (A2)": Way("cosine"),
    "two-step, literal (A3)": Way("cosine", "literal"),
    "two-step, relative (A3)": Way("cosine", "relative"),
    "two gradient steps": Way("constant", "twice"),
    "cosine, up": Way("up"),
}


@dataclass(frozen=True, kw_only=True)
class Descent(Recipe):
    """lr and λ₀ grids, epochs, and how many seeds choose and report."""

    lrs: tuple[float, ...]
    weight_decays: tuple[float, ...]
    epochs: int
    choosing: int
    seeds: int
    label_noise: float = 0.2


def rule_of(name: str, steps: int) -> Rule | None:
    """The course of λ over the run; None is constant."""
    return {
        "constant": None,
        "matched": MatchedAnnealing(PER_EPOCH),
        "cosine": cosine_restarts(steps / 4),
        "up": lambda step: 1.0 - cosine(steps)(step),
    }[name]


def trial(recipe: Descent, way: Way, sphere: str, seed: int, lr: float, decay: float) -> Trial:
    """One network of a way on a sphere."""
    rule = rule_of(way.rule, PER_EPOCH * recipe.epochs)
    rules = {} if rule is None else {"weight_decay": rule}
    radius = {"free": None, "joint √N": root_n(seed)}.get(sphere, 1.0)
    return Trial(
        seed,
        lr,
        decay,
        rules=rules,
        sphere=radius,
        joint=sphere.startswith("joint"),
        two_step=way.two_step,
    )


def root_n(seed: int) -> float:
    """√N in units of the network's initial norm."""
    weights = [p.detach() for p in seeded(MLP, seed).parameters()]
    return float((sum(w.numel() for w in weights) / sum(w.square().sum() for w in weights)) ** 0.5)


def measure(recipe: Descent, bench: Bench) -> Iterable[Jobs]:
    """The grid of every way, every way at its choice, and the twins without decay."""

    def jobs(stage: str, cells: list[Cell]) -> Jobs:
        settings: dict[str, Any] = dict(epochs=recipe.epochs, label_noise=recipe.label_noise)
        where: dict[str, Any] = dict(device=bench.device, table=stage, hyper={})
        groups: dict[str, list[Cell]] = {}
        for cell in cells:  # a second step a step costs all that are trained with it
            steps = 1 if cell.trial.two_step is None else 2
            name = f"{stage}.{SPHERES.index(cell.labels['sphere'])}.{steps}"
            groups.setdefault(name, []).append(cell)
        return {
            name: digits_job(part, model="mlp", optimizer="sgd", **settings, **where)
            for name, part in groups.items()
        }

    def cell(sphere: str, name: str, seed: int, lr: float, decay: float) -> Cell:
        made = trial(recipe, WAYS.get(name, WAYS["constant"]), sphere, seed, lr, decay)
        return Cell({"sphere": sphere, "way": name}, made)

    seeds, decays = choosing(recipe.choosing), (0.0, *recipe.weight_decays)
    every = product(SPHERES, WAYS, seeds, recipe.lrs, decays)
    yield jobs("grid", [cell(*setting) for setting in every])
    grid, cells = bench.tables()["grid"], []
    for sphere, name in product(SPHERES, (*WAYS, "none")):
        rows = rows_where(grid, sphere=sphere, way="constant" if name == "none" else name)
        rows = rows_where(rows, weight_decay=0.0) if name == "none" else rows
        best = best_by(rows, "lr", "weight_decay")
        cells += [
            cell(sphere, name, seed, best["lr"], best["weight_decay"])
            for seed in range(recipe.seeds)
        ]
    yield {**jobs("cells", cells), "twins": twins(recipe)}


def twins(recipe: Descent) -> Any:
    """Networks on joint spheres with decay, and without it at the lr η/(1 - η w_t), in float64."""

    def job(tick: Tick) -> Tables:
        task = Digits(recipe.label_noise, 50)
        task.x = {name: x.double() for name, x in task.x.items()}
        steps = min(PER_EPOCH * recipe.epochs, 240)
        lr, decay = min(recipe.lrs), max(recipe.weight_decays)
        shape = cosine_restarts(steps / 4)
        seeds = range(max(3, min(recipe.seeds, 8)))
        trials = []
        for seed in seeds:
            same = dict(sphere=1.0, joint=True)
            trials.append(Trial(seed, lr, decay, rules={"weight_decay": shape}, **same))
            trials.append(Trial(seed, lr, 0.0, rules={"lr": _without(lr * decay, shape)}, **same))
        last = None
        for last in train(
            MLP, task.batches, trials, optimizer="sgd", steps=steps, every=20, dtype=torch.float64
        ):
            tick(last.step / steps)
        assert last is not None
        outputs = last.predict(task.x["test"])
        apart = (outputs[::2] - outputs[1::2]).abs().amax((1, 2)) / outputs[::2].abs().amax((1, 2))
        return {"twins": columns([dict(seed=np.array(seeds), apart=apart.numpy())])}

    return job


def _without(share: float, shape: Callable[[int], float]) -> Rule:
    """The factor 1/(1 - η w_t) on the lr."""
    return lambda step: 1 / (1 - share * shape(step))


def estimate(tables: Tables) -> Mapping[str, Interval]:
    """Each algorithm minus its control, in points, and the distance of the twins."""
    cells = tables["cells"]
    found = {
        f"{name}, {sphere}": in_points(
            cells, dict(sphere=sphere, way=name), dict(sphere="free", way=control_of(name))
        )
        for sphere, name in product(SPHERES, WAYS)
        if "(A" in name
    }
    apart = tables["twins"]["apart"]
    return found | {
        "twins": exact(apart.max(), len(apart)),
        "flat": in_points(
            cells, dict(sphere="joint", way="constant"), dict(sphere="joint", way="none")
        ),
    }


def control_of(name: str) -> str:
    """Constant decay at the same cost: two gradients a step for Algorithm 3."""
    return "two gradient steps" if "(A3)" in name else "constant"


def lowest(rows: Mapping[str, np.ndarray]) -> float:
    """The mean validation error at the best lr."""
    return min(rows_where(rows, lr=lr)["val"].mean() for lr in np.unique(rows["lr"]))


@house_style
def draw(tables: Tables) -> Any:
    """Error against λ₀ of every way and sphere; the chosen ones against constant decay."""
    grid, cells = tables["grid"], tables["cells"]
    fig, axes = figure(16.0, 4.4, len(SPHERES) + 1)
    colors = palette(list(WAYS))
    for axis, sphere in zip(axes, SPHERES):
        for name in WAYS:
            rows = rows_where(grid, sphere=sphere, way=name)
            decays = np.unique(rows["weight_decay"])
            means = [100 * lowest(rows_where(rows, weight_decay=d)) for d in decays]
            color, dash = colors[name]
            x = np.where(decays > 0, decays, decays[1] / 3)
            axis.plot(x, means, dash, color=color, marker=".", label=name)
        axis.set(xscale="log", xlabel="λ₀ (torch's w; left: 0)", title=f"sphere: {sphere}")
        heights = np.concatenate([line.get_ydata() for line in axis.lines])
        axis.set_ylim(0.95 * heights.min(), min(1.05 * heights.max(), 3 * heights.min()))
    axes[0].set_ylabel("validation error, %")
    axes[0].legend(fontsize=7)
    control, last = dict(sphere="free", way="constant"), axes[-1]
    names = ["none", *WAYS]
    for i, sphere in enumerate(SPHERES):
        for j, name in enumerate(names):
            found = in_points(cells, dict(sphere=sphere, way=name), control)
            place = -(j + 0.2 * (i - 1.5))
            look: dict[str, Any] = dict(fmt="o", ms=4, color=OKABE_ITO[i])
            last.errorbar([found.value], [place], xerr=found.whiskers, **look)
    last.axvline(0, color=INK, lw=0.8)
    last.set_yticks([-j for j in range(len(names))], names, fontsize=7)
    last.set(
        xlabel="test error minus constant's", title=f"chosen, n = {len(np.unique(cells['seed']))}"
    )
    for i, sphere in enumerate(SPHERES):
        last.plot([], [], "o", color=OKABE_ITO[i], label=sphere)
    last.legend(fontsize=7)
    return fig


FIGURE = Figure(
    "parttwo-e7",
    shows="Part II, E7",
    claim="Annealed weight decay (Algorithms 1-3) generalizes better than constant decay.",
    criteria={
        f"{name}, {sphere}": below(f"{name}, {sphere}, minus {control_of(name)}, points", 0.0)
        for sphere, name in product(SPHERES, WAYS)
        if "(A" in name
    }
    | {
        "twins": below("largest relative distance of twins on spheres", 1e-9),
        "flat": within("constant decay minus none on the joint sphere, points", -0.5, 0.5),
    },
    recipes={
        "smoke": Descent(
            minutes=0.1, lrs=(0.1,), weight_decays=(1e-3, 1e-2), epochs=1, choosing=1, seeds=2,
            departures=("one epoch, two seeds",),
        ),
        "cpu": Descent(
            minutes=20, lrs=(0.1, 0.4), weight_decays=log_grid(3e-4, 0.3, 7), epochs=40,
            choosing=12, seeds=16,
            departures=("600 digits with a fifth of the labels wrong, MLP 64-64-64-10",),
        ),
    },
    measure=measure,
    estimate=estimate,
    draw=draw,
)  # fmt: skip
