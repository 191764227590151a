"""Figure 5 of Li, Lyu & Arora 2020: with decay, convergence never truly happens.

(a) The toy x²/(x² + y²) from pairs of starts 1 % apart (`etalambda.theory.toy`): each converges, is
thrown out, and the two part. (b, c) Full-batch descent on a scale-invariant network: it fits all
pictures, cannot stay, and stays once decay is turned off.

Departures from the paper: at cpu scale a BatchNorm network on the 600 training digits in place of
PreResNet32 on 1000 pictures of CIFAR-10; ηλ = 0.008 in place of 0.0008.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from etalambda.lab.engine.pool import Tick
from etalambda.lab.experiments.parts import Tables
from etalambda.lab.figures.style import OKABE_ITO, figure, house_style
from etalambda.lab.reproduce import Bench, Figure, Jobs, above, below
from etalambda.lab.reproduce.classifiers import OnDigits, one_a_seed, steps_of
from etalambda.lab.reproduce.pairs import a_seed, rows
from etalambda.lab.statistics import Interval, mean_interval
from etalambda.schedule import multi_step
from etalambda.theory import toy


@dataclass(frozen=True, kw_only=True)
class FullBatch(OnDigits):
    """Steps with decay, of which the later half counts, and steps without it after them."""

    steps: int
    after: int
    starts: int = 10
    toy_steps: int = 400
    lr: float = 1.6
    weight_decay: float = 0.005
    batch_size: int = 600
    label_noise: float = 0.0


FITTED, OUT = 0.01, 0.1  # losses between which a burst is counted


def measure(recipe: FullBatch, bench: Bench) -> list[Jobs]:
    """The toy, and the full-batch runs."""
    return [{"toy": lambda tick: {"toy": _toy(recipe)}, "network": _network(recipe, bench)}]


def _toy(recipe: FullBatch) -> dict[str, np.ndarray]:
    """Losses of pairs of starts; the first start of each is up to 2 % from Figure 5a's."""
    first = torch.linspace(0.98, 1.02, recipe.starts).double()[:, None] * torch.tensor([0.01, 1.0])
    near = first * torch.tensor([1.01, 1.0])
    run = dict(lr=0.1, weight_decay=0.5, steps=recipe.toy_steps)
    path = toy.descent(torch.stack([first, near], 1).tolist(), **run)  # (steps, starts, 2, xy)
    losses = toy.loss(path).numpy()
    steps, starts, pair = (grid.ravel() for grid in np.indices(losses.shape))
    return dict(step=steps, start=starts, pair=pair, loss=losses.ravel())


def _network(recipe: FullBatch, bench: Bench) -> Any:
    def job(tick: Tick) -> Tables:
        task = recipe.task(bench)
        rules = {"weight_decay": multi_step({recipe.steps: 0.0})}
        trials = one_a_seed(range(recipe.seeds), recipe.lr, recipe.weight_decay, rules)
        looks = steps_of(
            recipe.net, task, trials, steps=recipe.steps + recipe.after, every=1, tick=tick
        )
        losses, norms = [], []
        for look in looks:
            losses.append(look.seen.loss.numpy())
            norms.append(look.seen.norm.numpy())
        step, seed = (grid.ravel() for grid in np.indices((len(losses), recipe.seeds)))
        loss, norm = (np.array(table, dtype=np.float32).ravel() for table in (losses, norms))
        off = np.full(len(step), recipe.steps)
        return {"network": dict(step=step, seed=seed, loss=loss, norm=norm, off=off)}

    return job


def bursts(losses: np.ndarray) -> float:
    """How often a loss that was below 0.01 rises above 0.1.

    >>> bursts(np.array([1.0, 0.005, 0.2, 0.05, 0.2, 0.005, 0.3]))
    2.0
    """
    count, fitted = 0, False
    for loss in losses:
        if loss < FITTED:
            fitted = True
        elif loss > OUT and fitted:
            count, fitted = count + 1, False
    return float(count)


def estimate(tables: Tables) -> Mapping[str, Interval]:
    """Bursts of the networks with and without decay; what the toy does after it converged."""
    network = tables["network"]
    off, end = float(network["off"][0]), float(network["step"].max())
    on = a_seed(rows(network, off / 2, off), "loss", bursts)
    without = a_seed(rows(network, off + 0.05 * (end - off)), "loss", bursts)
    fitted = a_seed(rows(network, 1, off), "loss", np.nanmin)
    paths = _paths(tables["toy"])  # (starts, 2, steps)
    quiet = np.all(paths[..., 1:21] < 1e-3, axis=(1, 2))
    thrown = np.where(quiet[:, None], paths[..., 21:].max(-1), np.nan).min(-1)
    parted = np.abs(paths[:, 0] - paths[:, 1]).max(-1)
    return {
        "toy": mean_interval(thrown),
        "parted": mean_interval(parted),
        "fitted": mean_interval(fitted),
        "on": mean_interval(on),
        "off": mean_interval(without),
    }


def _paths(table: dict[str, np.ndarray]) -> np.ndarray:
    shape = (table["step"].max() + 1, table["start"].max() + 1, 2)
    return table["loss"].reshape(shape).transpose(1, 2, 0)


@house_style
def draw(tables: Tables) -> Any:
    """The toy's pair of Figure 5a; loss and norm of three networks."""
    made, axes = figure(13.0, 3.9, columns=3)
    paths = _paths(tables["toy"])
    for path, colour in zip(paths[len(paths) // 2], OKABE_ITO):
        axes[0].plot(path, color=colour, lw=1.2)
    axes[0].set(yscale="log", xlabel="step", title="(a) toy loss, two starts 1 % apart")
    network = tables["network"]
    for seed, colour in zip(range(3), OKABE_ITO):
        ours = rows(network, 1, seed=seed)
        axes[1].plot(ours["step"], ours["loss"], color=colour, lw=0.7)
        axes[2].plot(ours["step"], ours["norm"], color=colour, lw=1.0)
    for axis in axes[1:]:
        axis.axvline(network["off"][0], color="#999999", lw=0.8, ls=":")
    axes[1].set(yscale="log", xlabel="step", title="(b) full-batch loss, 3 seeds; decay off at :")
    axes[2].set(yscale="log", xlabel="step", title="(c) norm ‖W‖")
    return made


def compact(tables: Tables) -> Tables:
    """All that is judged; for the picture, losses and norms of the three seeds that are drawn."""
    network = dict(tables["network"])
    drawn = network["seed"] < 3
    network["norm"] = np.where(drawn & (network["step"] % 5 == 0), network["norm"], np.nan)
    rest = np.clip(network["loss"], 0.99 * FITTED, 1.01 * OUT)  # bursts stay what they are
    low = network["loss"] < FITTED
    rest = np.where(low, network["loss"].round(4), rest.round(3))
    network["loss"] = np.where(drawn, network["loss"], rest).astype(np.float32)
    return tables | {"network": network}


DIGITS = (
    "(b, c) full batches of the 600 training digits and a {} network with BatchNorm in place of "
    "PreResNet32 on 1000 pictures; ηλ ten times the paper's"
)

FIGURE = Figure(
    name="li2020-fig5",
    shows="Figure 5",
    claim="Decay makes descent on scale-invariant losses unstable: it converges and is thrown out, "
    "until decay is turned off.",
    criteria={
        "toy": above("(a) largest loss of either start after it was below 1e-3 for 20 steps", 0.05),
        "parted": above("(a) largest difference of the losses of a pair", 0.05),
        "fitted": below("(b) lowest loss with decay", 0.01),
        "on": above("(b) bursts of the loss in the later half with decay", 1.0),
        "off": below("(b) bursts of the loss after decay is off", 0.2),
    },
    recipes={
        "smoke": FullBatch(
            minutes=0.05,
            seeds=3,
            hidden=(16,),
            steps=240,
            after=60,
            weight_decay=0.02,
            departures=(DIGITS.format("64-16-10"),),
        ),
        "cpu": FullBatch(
            minutes=2.0, seeds=8, steps=2000, after=500, departures=(DIGITS.format("64-32-32-10"),)
        ),
    },
    measure=measure,
    estimate=estimate,
    draw=draw,
    compact=compact,
)
