"""Figure 5c of Lewkowycz & Gur-Ari 2020: a wide two-layer network beside its kernel's prediction.

f(x) = √(2/n) v·relu(W x/√d), all entries N(0, 1), is 2-homogeneous; gradient descent on
½ Σ (f - y)² + (λ/2)‖θ‖² from the network's own f_0 is held against (S10) with k = 2, whose kernel
decays, and with k = 1, whose kernel stays. Labels: ±1 for even and odd.

Departures from the paper: the loss that it draws is not named, ours is the sum above; the kernel is
that of infinite width, not of width 5000; at cpu scale digits, a larger λ and a smaller width.
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
from etalambda.lab.reproduce import Bench, Figure, Jobs, Recipe, above, below, rates
from etalambda.lab.reproduce.pairs import mean_curve
from etalambda.lab.reproduce.pictures import PictureSet
from etalambda.lab.statistics import Interval, mean_interval
from etalambda.lab.tasks import Digits
from etalambda.theory import wide


@dataclass(frozen=True, kw_only=True)
class Wide(Recipe):
    """A network of ``width`` on the first ``samples`` pictures until t = ``end``/λ."""

    seeds: int
    width: int
    samples: int
    lr: float
    weight_decay: float
    end: float = 4.0
    data: str = ""


def measure(recipe: Wide, bench: Bench) -> list[Jobs]:
    """One part a seed."""
    return [{f"seed={seed}": _job(recipe, bench, seed) for seed in range(recipe.seeds)}]


def _job(recipe: Wide, bench: Bench, seed: int) -> Any:
    def job(tick: Tick) -> Tables:
        task: Any = Digits(0.0, 50, bench.device)
        if recipe.data:
            task = PictureSet(recipe.data, bench.data, images=recipe.samples, device=bench.device)
        x = task.x["train"][: recipe.samples].flatten(1)
        x = x / x.shape[1] ** 0.5
        y = 1.0 - 2.0 * (task.y["train"][: recipe.samples] % 2)
        t, outputs = descend(recipe, x, y, seed, tick)
        kernel, targets = infinite_kernel(x.double().cpu()), y.double().cpu()
        row: dict[str, Any] = dict(seed=seed, t=t, net=_loss(outputs, targets))
        for degree in (1, 2):
            f = wide.solution(t, degree, recipe.weight_decay, kernel, targets, outputs[0])
            row[f"k{degree}"] = _loss(f, targets)
        return {"curves": columns([row])}

    return job


def descend(recipe: Wide, x: Tensor, y: Tensor, seed: int, tick: Tick) -> tuple[np.ndarray, Tensor]:
    """Times lr · steps, evenly on a log axis after 0, and the outputs there, (times, samples)."""
    made = torch.Generator().manual_seed(seed)
    w = torch.randn(recipe.width, x.shape[1], generator=made).to(x)
    v = torch.randn(recipe.width, generator=made).to(x)
    steps = round(recipe.end / (recipe.weight_decay * recipe.lr))
    looks = {0, *np.geomspace(1, steps, 90).round().astype(int).tolist()}
    scale, keep = (2 / recipe.width) ** 0.5, 1 - recipe.lr * recipe.weight_decay
    at, seen = [], []
    for step in range(steps + 1):
        hidden = (x @ w.T).relu_()
        f = scale * (hidden @ v)
        if step in looks:
            tick(step / steps)
            at.append(step)
            seen.append(f.double().cpu())
        pull = (f - y) * (recipe.lr * scale)
        back = (hidden > 0) * v
        v = keep * v - hidden.T @ pull
        w = keep * w - (back * pull[:, None]).T @ x
    return recipe.lr * np.array(at), torch.stack(seen)


def infinite_kernel(x: Tensor) -> Tensor:
    """Θ_0 of the network at infinite width, float64.

    >>> infinite_kernel(torch.tensor([[1.0, 0.0], [-1.0, 0.0]]).double()).round(decimals=6).tolist()
    [[2.0, 0.0], [0.0, 2.0]]
    """
    norms = x.norm(dim=1)
    inner = x @ x.T
    sizes = norms[:, None] * norms
    angle = (inner / sizes).clamp(-1, 1).arccos()
    angle.fill_diagonal_(0)
    rest = (torch.pi - angle) / torch.pi
    return sizes * (angle.sin() / torch.pi + rest * angle.cos()) + inner * rest


def _loss(outputs: Tensor, targets: Tensor) -> np.ndarray:
    """½ Σ (f - y)² at every time."""
    return ((outputs - targets).square().sum(-1) / 2).numpy()


def estimate(tables: Tables) -> Mapping[str, Interval]:
    """Largest log distance from k = 2 until its minimum, and the last one from k = 1."""
    curves = tables["curves"]
    until, last = [], []
    for seed in np.unique(curves["seed"]):
        run = {name: column[curves["seed"] == seed] for name, column in curves.items()}
        end = int(run["k2"].argmin()) + 1
        until.append(np.abs(np.log(run["net"][:end] / run["k2"][:end])).max())
        last.append(np.log(run["net"][-1] / run["k1"][-1]))
    return {"follows": mean_interval(until), "leaves": mean_interval(last)}


@house_style
def draw(tables: Tables) -> Any:
    """The training loss against time; means over seeds."""
    made, axes = figure(7.0, 4.2)
    curves = tables["curves"]
    names = {"k1": "theory, k = 1", "k2": "theory, k = 2", "net": "two-layer ReLU network"}
    for (column, name), colour in zip(names.items(), OKABE_ITO):
        t, mean = mean_curve(curves | {"step": curves["t"]}, column)
        axes[0].plot(t[1:], mean[1:], color=colour, label=name)
    axes[0].set(xscale="log", yscale="log", xlabel="time t = lr · steps")
    axes[0].set_title("training loss ½ Σ (f - y)²")
    axes[0].legend()
    return made


FIGURE = Figure(
    name="lewkowycz2020-fig5c",
    shows="Figure 5c",
    claim="A wide two-layer network under L2 follows the decaying kernel of k = 2: its loss has a "
    "minimum and rises again, where a fixed kernel would stay at the ridge solution.",
    criteria={
        "follows": below("log distance of the loss from k = 2 until its minimum, largest", 0.3),
        "leaves": above("log of the last loss over that of k = 1", float(np.log(3))),
    },
    recipes={
        "smoke": Wide(
            minutes=0.05,
            seeds=3,
            width=256,
            samples=30,
            lr=0.03,
            weight_decay=0.1,
            departures=("width 256, 30 digits, λ 0.1",),
        ),
        "cpu": Wide(
            minutes=3.0,
            seeds=3,
            width=4096,
            samples=100,
            lr=0.01,
            weight_decay=0.05,
            departures=("width 4096, 100 digits, λ 0.05, not width 1e5, 200 of MNIST, λ 0.002",),
        ),
        "paper": Wide(
            minutes=16,
            seeds=3,
            width=100_000,
            samples=200,
            lr=0.01,
            weight_decay=0.002,
            data="mnist",
            reckoned=f"3 times 200 000 steps of 63 GFLOP at {rates.FLOAT32}",
        ),
    },
    measure=measure,
    estimate=estimate,
    draw=draw,
)
