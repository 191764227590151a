"""Experiment E8: is weight decay a schedule of angles? AdamW against steps of a prescribed angle.

In equilibrium AdamW turns its matrices by √(2 lr λ (1 - β1)/(1 + β1)) a step, whatever their norm.
If that is all that decay does, a twin whose matrices keep their norm and turn by that angle,
without decay and without any tuning, ends alike: constant λ is then an angle that falls as the root
of the lr, matched λ one that falls as the lr. A second twin lets the norm follow lr and λ with its
lag, from where the weights start. Both are tried under a constant and a falling lr, on a network
that its normalization makes scale invariant, and on one without, for which nothing is promised.

Departures from the paper: none of the papers tested this; digits and small networks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any

import numpy as np
import torch
from torch import Tensor

from etalambda.lab.engine import Trial, cross_entropy
from etalambda.lab.engine.many import Many
from etalambda.lab.engine.pool import Tick
from etalambda.lab.experiments.parts import Tables, columns
from etalambda.lab.figures.parttwo._rotation import by_angle, following, measured, settled
from etalambda.lab.figures.style import figure, house_style, palette
from etalambda.lab.models import MLP, Stacked
from etalambda.lab.reproduce import Bench, Figure, Jobs, Recipe, below, within
from etalambda.lab.reproduce.cells import Cell, by_seed, labels_of, rows_where, scores
from etalambda.lab.reproduce.classifiers import BatchNormMLP
from etalambda.lab.reproduce.pairs import hull
from etalambda.lab.statistics import Interval, mean_interval, paired_difference
from etalambda.lab.tasks import Digits
from etalambda.schedule import constant, cosine

NETS = {"normalized": partial(BatchNormMLP, (64, 64, 64)), "plain": MLP}
PLANS: dict[str, tuple[Callable[[int], Any], Callable[[int], Any]]] = {
    "constant lr": (lambda steps: constant(), lambda steps: constant()),
    "cosine": (cosine, lambda steps: constant()),
    "matched": (cosine, cosine),
}
"""Plan -> the rules of lr and of λ for a length."""

TWINS = ("settled", "following")
HALF = "half"  # the control: half the settled angle, under cosine
LATE = 0.75  # of the run: from here on a constant lr has settled
EVERY = 5  # steps between two measurements of an angle


@dataclass(frozen=True, kw_only=True)
class Angles(Recipe):
    """lr and budgets K of both networks, epochs, seeds."""

    lr: float
    budgets: tuple[float, ...]
    plain_lr: float
    plain_budget: float
    epochs: int
    seeds: int
    label_noise: float = 0.2
    looks: int = 16

    @property
    def steps(self) -> int:
        """Of a run: 600 images, 50 a step."""
        return 12 * self.epochs


def measure(recipe: Angles, bench: Bench) -> list[Jobs]:
    """One part a network, plan, K and form."""
    jobs = {}
    for plan, K in product(PLANS, recipe.budgets):
        forms = ("AdamW", *TWINS, *((HALF,) if plan == "cosine" else ()))
        for form in forms:
            where = ("normalized", plan, K, form)
            jobs[_part(*where)] = _job(recipe, bench, *where, recipe.lr)
    for form in ("AdamW", *TWINS):
        where = ("plain", "cosine", recipe.plain_budget, form)
        jobs[_part(*where)] = _job(recipe, bench, *where, recipe.plain_lr)
    return [jobs]


def _part(net: str, plan: str, K: float, form: str) -> str:
    return f"{net}.{plan}.K={K:g}.{form}".replace(" ", "-")


def _job(recipe: Angles, bench: Bench, net: str, plan: str, K: float, form: str, lr: float) -> Any:
    def job(tick: Tick) -> Tables:
        task = Digits(recipe.label_noise, device=bench.device)
        cells = _cells(recipe, net, plan, K, form, lr)
        trials = [cell.trial for cell in cells]
        make: Any = NETS[net]
        nets = Stacked.build(make, [trial.seed for trial in trials], device=bench.device)
        many = Many(nets, trials, task.batches(trials), cross_entropy, "adamw", recipe.steps)
        angles, turns = _angles(many), []
        update = many.update if form == "AdamW" else by_angle(many.update, angles[form])
        many.update = measured(update, turns, EVERY)
        looks = []
        for seen in many.run(max(1, recipe.steps // recipe.looks)):
            tick(seen.step / recipe.steps)
            looks.append({"step": seen.step, "loss": _loss(seen, task)} | scores(seen, task))
        about, turned = labels_of(cells), torch.stack(turns).double()
        over = {f"over_{name}": turned / angles[name][::EVERY] for name in TWINS}
        row = _end(looks, LATE * recipe.steps, plan == "constant lr")
        row |= {name: x[int(LATE * len(x)) :].mean(0).numpy() for name, x in over.items()}
        known = angles | {"turn": turned.repeat_interleave(EVERY, 0)}
        return {"cells": columns([about | row]), "curves": _means(about, looks, known)}

    return job


def _cells(recipe: Angles, net: str, plan: str, K: float, form: str, lr: float) -> list[Cell]:
    """A network a seed; λ spends K."""
    rules = {n: rule(recipe.steps) for n, rule in zip(("lr", "weight_decay"), PLANS[plan])}
    unit = sum(rules["lr"](step) * rules["weight_decay"](step) for step in range(recipe.steps))
    about = {"net": net, "plan": plan, "budget": K, "form": form}
    decay = K / (lr * unit)
    return [Cell(about, Trial(seed, lr, decay, rules=rules)) for seed in range(recipe.seeds)]


def _angles(many: Many) -> dict[str, Tensor]:
    """What AdamW should turn by at every step, (steps, T), by both laws; and half of the first."""
    rates = many.schedules.lr, many.schedules.weight_decay
    matrices = [p for p in many.nets.params if p.dim() > 2]
    start = float(np.mean([float(p.square().mean()) for p in matrices]))
    equilibrium = settled(*rates)
    return {
        "settled": equilibrium,
        "following": following(*rates, start),
        HALF: 0.5 * equilibrium,
    }


def _end(looks: list[dict[str, Any]], late: float, averaged: bool) -> dict[str, np.ndarray]:
    """Test error in points, log training loss, a number a seed: last, or the mean of late ones."""
    used = [look for look in looks if look["step"] >= late] if averaged else looks[-1:]
    return {
        "test": 100 * np.mean([look["test"] for look in used], 0),
        "loss": np.mean([np.log(look["loss"]) for look in used], 0),
    }


def _means(
    about: Mapping[str, np.ndarray], looks: list[dict[str, Any]], known: Mapping[str, Tensor]
) -> dict[str, np.ndarray]:
    """Curves of the means over seeds: errors, losses, and angles of the step."""
    first = {name: about[name][:1] for name in ("net", "plan", "budget", "form")}
    rows = []
    for look in looks:
        step = min(look["step"], len(known["settled"]) - 1)
        angles = {name: float(table[step].mean()) for name, table in known.items()}
        means = {name: float(np.mean(look[name])) for name in ("test", "loss")}
        rows.append(first | {"step": look["step"]} | means | angles)
    return columns(rows)


def _loss(seen: Any, task: Digits) -> np.ndarray:
    """On all training images and their labels, wrong ones included."""
    outputs = seen.predict(task.x["train"])
    labels = task.y["train"].expand(len(outputs), -1)
    return cross_entropy(outputs, labels).double().cpu().numpy()


def ended(
    cells: Mapping[str, np.ndarray], what: str, net: str, plan: str, K: float, form: str
) -> np.ndarray:
    """One number a seed, in the order of seeds."""
    ours = rows_where(cells, net=net, plan=plan, budget=K, form=form)
    return by_seed(ours, what)


def compared(cells: Mapping[str, np.ndarray]) -> list[tuple[str, str, float]]:
    """Network, plan and K of every comparison, in the order of the table."""
    rows = zip(cells["net"].tolist(), cells["plan"].tolist(), cells["budget"].tolist())
    return list(dict.fromkeys(rows))


def estimate(tables: Tables) -> Mapping[str, Interval]:
    """Twin minus AdamW, over both K the one further from 0; the angles; the control."""
    cells, found = tables["cells"], {}
    for net, plan in (*product(("normalized",), PLANS), ("plain", "cosine")):
        budgets = [K for n, p, K in compared(cells) if (n, p) == (net, plan)]
        for twin, what in product(TWINS, ("test", "loss")):
            pairs = [
                paired_difference(
                    *(ended(cells, what, net, plan, K, form) for form in (twin, "AdamW"))
                )
                for K in budgets
            ]
            found[f"{what}, {net}, {plan}, {twin}"] = hull(pairs)
        if net == "normalized":
            for twin in TWINS:
                over = [ended(cells, f"over_{twin}", net, plan, K, "AdamW") for K in budgets]
                found[f"angle, {plan}, {twin}"] = _far_from_one(over)
    low = min(K for net, _, K in compared(cells) if net == "normalized")
    ends = [ended(cells, "loss", "normalized", "cosine", low, form) for form in (HALF, "settled")]
    return found | {"control": paired_difference(*ends)}


def _far_from_one(over: list[np.ndarray]) -> Interval:
    """The log of a ratio, over both K: the hull."""
    return hull(mean_interval(np.log(ratio)) for ratio in over)


@house_style
def draw(tables: Tables) -> Any:
    """Along the run: test error of AdamW and its twins; AdamW's angle, and the two predictions."""
    curves = tables["curves"]
    shown = compared(curves)
    fig, axes = figure(3.1 * len(shown), 6.4, len(shown), 2)
    for column, (net, plan, K) in enumerate(shown):
        errors, angles = axes[column], axes[len(shown) + column]
        for form, (color, dash) in palette(("AdamW", *TWINS, HALF)).items():
            ours = rows_where(curves, net=net, plan=plan, budget=K, form=form)
            if len(ours["step"]):
                errors.plot(ours["step"], 100 * ours["test"], dash, color=color, label=form)
            if form == "AdamW":
                angles.plot(ours["step"], ours["turn"], color=color, label="AdamW, measured")
                for twin in TWINS:
                    shade = palette(("AdamW", *TWINS))[twin][0]
                    angles.plot(ours["step"], ours[twin], "--", color=shade, label=twin)
        errors.set(ylim=(0, 40), title=f"{net}\n{plan}, K = {K:g}")
        angles.set(xlabel="step", yscale="log", ylim=(1e-4, 1))
    axes[0].set_ylabel("test error, %")
    axes[len(shown)].set_ylabel("radians a step")
    drawn = dict(zip(*axes[2].get_legend_handles_labels()[::-1]))  # a cosine has all forms
    axes[0].legend(drawn.values(), drawn.keys(), fontsize=8, loc="lower right")
    axes[len(shown)].legend(fontsize=8, loc="lower left")
    return fig


def criteria() -> dict[str, Any]:
    """Equal within a point and a tenth of a log; AdamW's late angle within a tenth of a log."""
    found: dict[str, Any] = {}
    for net, plan in (*product(("normalized",), PLANS), ("plain", "cosine")):
        for twin in TWINS:
            ends = f"{twin} angle minus AdamW, {net} network, {plan}"
            found[f"test, {net}, {plan}, {twin}"] = within(f"{ends}: points of test error", -1, 1)
            found[f"loss, {net}, {plan}, {twin}"] = within(f"{ends}: log training loss", -0.1, 0.1)
            if net == "normalized":
                says = f"log of AdamW's late angle over the {twin} one, {plan}"
                found[f"angle, {plan}, {twin}"] = within(says, -0.1, 0.1)
    says = "control: half the settled angle minus the angle, cosine: log training loss"
    return found | {"control": below(says, -0.1)}


FIGURE = Figure(
    "parttwo-e8",
    shows="Part II, E8",
    claim="AdamW's weight decay is a schedule of angles: constant norms and its angle do the same.",
    criteria=criteria(),
    recipes={
        "smoke": Angles(
            minutes=0.1, lr=1e-2, budgets=(1.0, 2.0), plain_lr=1e-2, plain_budget=1.0, epochs=2,
            seeds=2, looks=4, departures=("two epochs, two seeds",),
        ),
        "cpu": Angles(
            minutes=2,
            lr=5e-3,
            budgets=(8.0, 32.0),
            plain_lr=1e-2,
            plain_budget=8.0,
            epochs=60,
            seeds=16,
            departures=("600 digits with a fifth of the labels wrong, 64-64-64-10",),
        ),
    },
    measure=measure,
    estimate=estimate,
    draw=draw,
)  # fmt: skip
