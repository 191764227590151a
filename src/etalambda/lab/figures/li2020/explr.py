"""Weight decay as an exponential learning rate: Li, Lyu & Arora 2020, sections 5.1 and B.

SGD with L2 and the learning rates η̃_t of LLA-X1, X2 without L2 are the same run on a loss that is
scale invariant: weights differ by the known factor P_t, functions not at all. Trained in float64
with and without momentum, under a constant and a stepped schedule; the exponent as printed, -2t,
is the control that must differ.

Departures from the paper: the exact exponent is -(2t + 1) (erratum at 002:392).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from etalambda.lab.engine.pool import Tick
from etalambda.lab.experiments.parts import Tables, columns
from etalambda.lab.figures.style import (
    DASHES,
    OKABE_ITO,
    by_group,
    figure,
    house_style,
    plain_log_ticks,
)
from etalambda.lab.models.stacked import seeded
from etalambda.lab.reproduce import Bench, Figure, Jobs, Recipe, above, below
from etalambda.lab.reproduce.classifiers import BatchNormMLP
from etalambda.lab.statistics import Interval, exact, mean_interval
from etalambda.lab.tasks import Digits
from etalambda.schedule import to_exponential_lr


@dataclass(frozen=True, kw_only=True)
class Twin(Recipe):
    """Seeds of a twin run, its steps, and the constant η and λ it starts from."""

    seeds: int
    steps: int
    width: int
    lr: float = 0.1
    weight_decay: float = 0.01
    momenta: tuple[float, ...] = (0.0, 0.9)


SCHEDULES = ("constant", "stepped")


def measure(recipe: Twin, bench: Bench) -> list[Jobs]:
    """One part a seed, momentum and schedule."""
    arms = product(range(recipe.seeds), recipe.momenta, SCHEDULES)
    return [
        {f"seed={s}.momentum={m}.{kind}": _twin(recipe, bench, s, m, kind) for s, m, kind in arms}
    ]


def plan(recipe: Twin, momentum: float, kind: str) -> tuple[list[float], list[float]]:
    """η and λ at every step; stepped: η to 1/10 at one third, λ to 3 times at two thirds."""
    share = np.arange(recipe.steps) / recipe.steps
    stepped = kind == "stepped"
    lrs = recipe.lr * (1 - momentum) * np.where(stepped & (share >= 1 / 3), 0.1, 1.0)
    decays = recipe.weight_decay * np.where(stepped & (share >= 2 / 3), 3.0, 1.0)
    return lrs.tolist(), decays.tolist()


def _twin(recipe: Twin, bench: Bench, seed: int, momentum: float, kind: str) -> Any:
    def job(tick: Tick) -> Tables:
        lrs, decays = plan(recipe, momentum, kind)
        without, _ = to_exponential_lr(lrs, decays, momentum)
        printed = without * torch.tensor([1 - a * b for a, b in zip(lrs, decays)]).double()
        no_decay = [0.0] * recipe.steps
        task = Digits(0.0, 50, bench.device)

        def run(rates: list[float], decay: list[float]) -> _Run:
            return _Run(seeded(lambda: BatchNormMLP((64, recipe.width)), seed), rates, decay,
                        momentum)  # fmt: skip

        runs = [run(lrs, decays), run(without.tolist(), no_decay), run(printed.tolist(), no_decay)]
        feed = task.batches(_one(seed))
        rows = []
        for step in range(recipe.steps):
            x, y = (part[0] for part in feed(step))
            losses = [one.step(step, x.double(), y) for one in runs]
            if step % max(1, recipe.steps // 50) == 0 or step == recipe.steps - 1:
                tick(step / recipe.steps)
                rows.append(_row(step + 1, runs, losses))
        arm = {"seed": seed, "momentum": momentum, "schedule": np.array([kind], dtype=object)}
        return {"twins": columns(arm | row for row in rows)}

    return job


def _one(seed: int) -> list[Any]:
    from etalambda.lab.engine import Trial

    return [Trial(seed, lr=1.0)]


class _Run:
    """One network under one schedule of torch's SGD, in float64."""

    def __init__(
        self, net: nn.Module, lrs: list[float], decays: list[float], momentum: float
    ) -> None:
        self.net, self.lrs, self.decays = net.double(), lrs, decays
        self.sgd = torch.optim.SGD(self.net.parameters(), lr=lrs[0], momentum=momentum)

    def step(self, step: int, x: Tensor, y: Tensor) -> float:
        group = self.sgd.param_groups[0]
        group["lr"], group["weight_decay"] = self.lrs[step], self.decays[step]
        self.sgd.zero_grad()
        loss = nn.functional.cross_entropy(self.net(x), y)
        loss.backward()
        self.sgd.step()
        return float(loss.detach())

    @property
    def weights(self) -> Tensor:
        return torch.cat([p.detach().flatten() for p in self.net.parameters()])


def _row(step: int, runs: list[_Run], losses: list[float]) -> dict[str, float]:
    weights = [one.weights for one in runs]
    directions = [w / w.norm() for w in weights]
    names = ("decay", "exponential", "printed")
    row: dict[str, float] = {"step": step}
    row |= {f"loss_{name}": loss for name, loss in zip(names, losses)}
    row |= {f"norm_{name}": float(w.norm()) for name, w in zip(names, weights)}
    row |= {f"lr_{name}": one.lrs[step - 1] for name, one in zip(names, runs)}
    for name, direction in zip(names[1:], directions[1:]):
        row[f"apart_{name}"] = float((direction - directions[0]).norm())
    return row


def estimate(tables: Tables) -> Mapping[str, Interval]:
    """The largest distance of two directions, of two losses, and of the control's directions."""
    twins = tables["twins"]
    last = twins["step"] == twins["step"].max()
    plain = last & (twins["momentum"] == 0)
    seeds = [twins["apart_printed"][plain & (twins["seed"] == s)].max() for s in _seeds(twins)]
    runs = len(by_group(twins, "seed", "momentum", "schedule"))
    losses = np.abs(twins["loss_exponential"] - twins["loss_decay"])
    return {
        "directions": exact(twins["apart_exponential"].max(), runs),
        "losses": exact(losses.max(), runs),
        "printed": mean_interval(seeds),
    }


def _seeds(table: dict[str, np.ndarray]) -> np.ndarray:
    return np.unique(table["seed"])


@house_style
def draw(tables: Tables) -> Any:
    """Losses of the twins, their norms, and how far their directions are apart."""
    made, (losses, norms, apart) = figure(13.0, 3.9, columns=3)
    twins = tables["twins"]
    first = {key: column[twins["seed"] == 0] for key, column in twins.items()}
    for i, ((momentum, kind), rows) in enumerate(by_group(first, "momentum", "schedule").items()):
        label, colour = f"momentum {momentum:g}, {kind}", OKABE_ITO[i]
        losses.plot(rows["step"], rows["loss_decay"], color=colour, label=label)
        losses.plot(rows["step"], rows["loss_exponential"], "k.", ms=2.5)
        norms.plot(rows["step"], rows["norm_decay"], color=colour)
        norms.plot(rows["step"], rows["norm_exponential"], DASHES[1], color=colour)
        apart.plot(rows["step"], np.maximum(rows["apart_exponential"], 1e-17), color=colour)
        if not momentum:
            apart.plot(rows["step"], rows["apart_printed"], DASHES[3], color=colour)
    losses.set(yscale="log", xlabel="step", ylabel="batch loss", title="Same loss (dots: no decay)")
    norms.set(yscale="log", xlabel="step", ylabel="‖w‖", title="Decay; dashed: exponential lr")
    apart.set(yscale="log", xlabel="step", ylabel="distance of directions")
    apart.set_title("Same direction; dotted: as printed")
    plain_log_ticks(losses.yaxis)
    plain_log_ticks(norms.yaxis, (1, 2, 5))
    losses.legend()
    return made


DIGITS = "digits and a {} network with BatchNorm, in float64, in place of CIFAR-10 and PreResNet32"

FIGURE = Figure(
    name="li2020-explr",
    shows="Section 5.1, exponential learning rate",
    claim="On scale-invariant losses SGD with weight decay is SGD without it under exponentially "
    "growing learning rates.",
    criteria={
        "directions": below("largest distance of the twins' directions", 1e-9),
        "losses": below("largest difference of the twins' losses", 1e-9),
        "printed": above("distance of directions under the exponent as printed, no momentum", 1e-4),
    },
    recipes={
        "smoke": Twin(
            minutes=0.03, seeds=3, steps=60, width=16, departures=(DIGITS.format("64-16-10"),)
        ),
        "cpu": Twin(
            minutes=1.0, seeds=5, steps=1000, width=64, departures=(DIGITS.format("64-64-10"),)
        ),
    },
    measure=measure,
    estimate=estimate,
    draw=draw,
)
