"""Experiment E10: which rule carries a tuned lr and λ to another batch size, at fixed epochs?

k times the batch leaves 1/k of the steps. Xie et al. 2022 scale λ by k and keep the lr (Rule 2);
the linear rule scales the lr (Rule 1); nanochat scales both by √k. All three keep the decay budget
K = Σ lr · λ. lr and K are tuned at every batch size over one grid, on seeds of their own; what a
rule makes of the base batch's choice is compared with what tuning finds there: its regret. Where
the lr is tuned anew, K or λ can be kept: two more arms. Changing nothing is the control.

Departures from the paper: digits and a small network; Adam's betas and SGD's momentum stay.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any

import numpy as np

from etalambda.lab.configs import log_grid
from etalambda.lab.engine import Trial
from etalambda.lab.experiments.parts import HYPER, Tables
from etalambda.lab.figures.style import INK, figure, house_style, palette, plain_log_ticks
from etalambda.lab.models import MLP
from etalambda.lab.reproduce import Bench, Figure, Jobs, Recipe, above, below
from etalambda.lab.reproduce.cells import (
    Cell,
    best_by,
    by_seed,
    choosing,
    digits_job,
    in_points,
    rows_where,
)
from etalambda.lab.statistics import Interval, bootstrapped
from etalambda.lab.tasks.digits import SIZES
from etalambda.schedule import cosine
from etalambda.suggest import scale_with_batch
from etalambda.theory import budget

NET = partial(MLP, (64, 64, 10))
OPTIMIZERS = ("sgd", "adamw")
RULES = {"lr × k": "lr", "λ × k": "weight_decay", "both × √k": "sqrt"}
LR_TUNED = ("K kept, lr tuned", "λ kept, lr tuned")
ARMS = (*RULES, *LR_TUNED, "nothing")
LIMIT = 1.0  # points of test error


@dataclass(frozen=True, kw_only=True)
class Batches(Recipe):
    """Batch sizes, the one that the rules start from, the grids, and how many seeds."""

    batches: tuple[int, ...]
    base: int
    sgd: tuple[float, ...]
    adamw: tuple[float, ...]
    budgets: tuple[float, ...]
    epochs: int
    choosing: int
    seeds: int
    label_noise: float = 0.2

    def steps(self, batch: int) -> int:
        """Of a whole run."""
        return self.epochs * -(-SIZES["train"] // batch)

    def unit(self, optimizer: str, batch: int) -> float:
        """K of a run at lr 1 and λ 1."""
        steps = self.steps(batch)
        shape = cosine(steps)
        gain = budget.gain(budget.form(optimizer), **HYPER.get(optimizer, {}))
        return gain * sum(shape(step) for step in range(steps))


def measure(recipe: Batches, bench: Bench) -> Iterable[Jobs]:
    """The grid of lr and K at every batch; the lrs at the base's λ; every arm on other seeds."""
    both = list(product(OPTIMIZERS, recipe.batches))

    def job(optimizer: str, batch: int, cells: list[Cell], table: str) -> Any:
        settings: dict[str, Any] = dict(epochs=recipe.epochs, label_noise=recipe.label_noise)
        where: dict[str, Any] = dict(device=bench.device, table=table)
        return digits_job(
            cells, model=NET, optimizer=optimizer, batch_size=batch, **settings, **where
        )

    def cell(optimizer: str, batch: int, seed: int, lr: float, decay: float, **labels: Any) -> Cell:
        rules = {"lr": cosine(recipe.steps(batch))}
        about = {"optimizer": optimizer, "batch": batch} | labels
        return Cell(about, Trial(seed, lr, decay, rules=rules))

    yield {
        f"grid.{optimizer}.{batch}": job(
            optimizer,
            batch,
            [
                cell(optimizer, batch, seed, lr, K / (lr * recipe.unit(optimizer, batch)), budget=K)
                for lr, K in product(getattr(recipe, optimizer), recipe.budgets)
                for seed in choosing(recipe.choosing)
            ],
            "grid",
        )
        for optimizer, batch in both
    }
    grid = bench.tables()["grid"]
    bases = {
        optimizer: best_by(
            rows_where(grid, optimizer=optimizer, batch=recipe.base), "lr", "weight_decay", "budget"
        )
        for optimizer in OPTIMIZERS
    }
    yield {
        f"same-decay.{optimizer}.{batch}": job(
            optimizer,
            batch,
            [
                cell(optimizer, batch, seed, lr, bases[optimizer]["weight_decay"])
                for lr in getattr(recipe, optimizer)
                for seed in choosing(recipe.choosing)
            ],
            "same_decay",
        )
        for optimizer, batch in both
        if batch != recipe.base
    }
    same = bench.tables()["same_decay"]
    yield {
        f"report.{optimizer}.{batch}": job(
            optimizer,
            batch,
            [
                cell(optimizer, batch, seed, lr, decay, arm=arm)
                for arm, (lr, decay) in settings_of(
                    rows_where(grid, optimizer=optimizer, batch=batch),
                    rows_where(same, optimizer=optimizer, batch=batch),
                    bases[optimizer],
                    batch / recipe.base,
                ).items()
                for seed in range(recipe.seeds)
            ],
            "cells",
        )
        for optimizer, batch in both
    }


def settings_of(
    grid: Mapping[str, np.ndarray],
    same: Mapping[str, np.ndarray],
    base: Mapping[str, float],
    k: float,
) -> dict[str, tuple[float, float]]:
    """lr and λ of every arm at one batch: tuned there, by the rules, or with K or λ kept."""

    def best(table: Mapping[str, np.ndarray]) -> tuple[float, float]:
        at = best_by(table, "lr", "weight_decay")
        return at["lr"], at["weight_decay"]

    found = {"tuned": best(grid)}
    if k == 1:
        return found
    lr, decay = base["lr"], base["weight_decay"]
    found |= {arm: tuple(scale_with_batch(lr, decay, k, rule=rule)) for arm, rule in RULES.items()}
    kept = (best(rows_where(grid, budget=base["budget"])), best(same))
    return found | dict(zip(LR_TUNED, kept)) | {"nothing": (lr, decay)}


def regrets(cells: Mapping[str, np.ndarray], optimizer: str, arm: str) -> np.ndarray:
    """Test error minus that of the tuned, in points, (batches without the base, seeds)."""
    ours, tuned = (rows_where(cells, optimizer=optimizer, arm=a) for a in (arm, "tuned"))
    by_batch = []
    for batch in np.unique(ours["batch"]):
        pair = [rows_where(rows, batch=batch) for rows in (ours, tuned)]
        a, b = map(by_seed, pair)
        by_batch.append(100 * (a - b))
    return np.stack(by_batch)


def worst(cells: Mapping[str, np.ndarray], optimizer: str, arm: str) -> Interval:
    """The largest mean regret over the batches, with a bootstrap over seeds."""
    table = regrets(cells, optimizer, arm)
    return bootstrapped(lambda chosen: float(table[:, chosen].mean(1).max()), table.shape[1])


def estimate(tables: Tables) -> Mapping[str, Interval]:
    """The worst regret of every arm and optimizer."""
    return {f"{arm}, {o}": worst(tables["cells"], o, arm) for o, arm in product(OPTIMIZERS, ARMS)}


@house_style
def draw(tables: Tables) -> Any:
    """Regret against the batch; and the tuned lr and λ against it."""
    cells = tables["cells"]
    fig, axes = figure(13.5, 4.2, 3)
    tuned = {"arm": "tuned"}
    for axis, optimizer in zip(axes, OPTIMIZERS):
        axis.axhline(0, color=INK, lw=0.8)
        for place, (arm, (color, dash)) in enumerate(palette(ARMS).items()):
            ours = rows_where(cells, optimizer=optimizer, arm=arm)
            batches = np.unique(cells["batch"])
            there: list[dict[str, Any]] = [dict(optimizer=optimizer, batch=b) for b in batches]
            others = set(ours["batch"])  # the base is where all start
            found = [
                in_points(cells, d | {"arm": arm if d["batch"] in others else "tuned"}, d | tuned)
                for d in there
            ]
            ends = [[f.value - f.low for f in found], [f.high - f.value for f in found]]
            x = batches * 1.05 ** (place - 2.5)
            style: dict[str, Any] = dict(color=color, ls=dash, marker="o", ms=4, capsize=2)
            axis.errorbar(x, [f.value for f in found], ends, label=arm, **style)
        axis.set(xscale="log", xlabel="batch size", ylabel="test error minus tuned, points")
        axis.set_yscale("symlog", linthresh=2)
        axis.set_ylim(-1.5, 100)
        axis.set_yticks([-1, 0, 1, 2, 5, 10, 20, 50], ["-1", "0", "1", "2", "5", "10", "20", "50"])
        axis.set_title(f"{optimizer}, n = {len(np.unique(cells['seed']))}")
        axis.set_xticks(np.unique(cells["batch"]), np.unique(cells["batch"]).astype(str))
        axis.minorticks_off()
    axes[0].legend(fontsize=8)
    _draw_tuned(axes[2], cells)
    return fig


def _draw_tuned(axis: Any, cells: Mapping[str, np.ndarray]) -> None:
    """What tuning found: lr and λ; none where it took no decay."""
    for optimizer, (color, _) in palette(OPTIMIZERS).items():
        for column, dash in (("lr", "o-"), ("weight_decay", "s--")):
            ours = rows_where(cells, optimizer=optimizer, arm="tuned")
            batches, first = np.unique(ours["batch"], return_index=True)
            values = ours[column][first]
            name = "λ" if column == "weight_decay" else column
            axis.plot(
                batches, np.where(values > 0, values, np.nan), dash, color=color,
                label=f"{optimizer}, {name}",
            )  # fmt: skip
    axis.set(xscale="log", yscale="log", xlabel="batch size", title="tuned lr and λ")
    batches = np.unique(cells["batch"])
    axis.set_xticks(batches, batches.astype(str))
    axis.minorticks_off()
    plain_log_ticks(axis.yaxis)
    axis.legend(fontsize=8)


FIGURE = Figure(
    "parttwo-e10",
    shows="Part II, E10",
    claim="At fixed epochs lr × k, λ × k and both × √k carry a tuned run to k times the batch.",
    criteria={
        f"{arm}, {o}": (above if arm == "nothing" else below)(
            f"worst regret over the batches, {arm}, {o}, points", LIMIT
        )
        for o, arm in product(OPTIMIZERS, ARMS)
    },
    recipes={
        "smoke": Batches(
            minutes=0.1, batches=(150, 300, 600), base=300, sgd=(0.05, 0.1), adamw=(3e-3,),
            budgets=(0.0, 0.1), epochs=2, choosing=1, seeds=2, departures=("two epochs",),
        ),
        "cpu": Batches(
            minutes=4,
            batches=(10, 40, 150, 600),
            base=40,
            sgd=log_grid(0.01, 0.64, 7),
            adamw=log_grid(1e-3, 0.064, 7),
            budgets=(0.0, 1.0, 2.0, 4.0, 8.0, 16.0),
            epochs=40,
            choosing=6,
            seeds=16,
            departures=("600 digits with a fifth of the labels wrong, MLP 64-64-10",),
        ),
    },
    measure=measure,
    estimate=estimate,
    draw=draw,
)  # fmt: skip
