"""L2 and projection (CGD-S1): on a sphere, annealing λ is a learning-rate schedule, nothing else.

Algorithms 1 and 2 project onto a sphere after each step. There R(θ(1 - 2ηλ) - ηg)/‖·‖ is the step
of η/(1 - 2ηλ) without L2, for any loss. A network is trained twice, with the algorithm's λ_i and
with the learning rates that follow from it; so it is with usual strengths and a constant lr.

Departures from the paper, which does not see this: matrices are kept at their initial norms one by
one; torch's weight_decay is 2λ.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from etalambda.lab.engine import Trial
from etalambda.lab.engine.pool import Tick
from etalambda.lab.experiments.parts import Tables, columns
from etalambda.lab.figures.style import OKABE_ITO, by_group, figure, house_style
from etalambda.lab.models import MLP
from etalambda.lab.models.stacked import seeded
from etalambda.lab.reproduce import Bench, Figure, Jobs, Recipe, above, below
from etalambda.lab.statistics import Interval, exact, mean_interval
from etalambda.lab.tasks import Digits
from etalambda.optim import sphere_lr


@dataclass(frozen=True, kw_only=True)
class Twins(Recipe):
    """Seeds and steps; ``weight_decay`` is torch's, so ηw = 2ηλ₀ starts at ``share``."""

    seeds: int
    steps: int
    lr: float = 0.1
    share: float = 0.45
    usual: float = 5e-4


ALGORITHMS = ("Algorithm 1", "Algorithm 2")


def measure(recipe: Twins, bench: Bench) -> list[Jobs]:
    """One part a seed."""
    return [{f"seed={seed}": _job(recipe, bench, seed) for seed in range(recipe.seeds)}]


def _job(recipe: Twins, bench: Bench, seed: int) -> Callable[[Tick], Tables]:
    def job(tick: Tick) -> Tables:
        task = Digits(0.2, 50, bench.device)
        base = recipe.share / recipe.lr
        found = []
        for k, name in enumerate(ALGORITHMS):
            with_l2, twin, plain = (_OnSphere(seed) for _ in range(3))
            feed, first = task.batches([Trial(seed, recipe.lr)]), float("nan")
            for step in range(recipe.steps):
                x, y = (part[0] for part in feed(step))
                losses = [one.gradient(x.double(), y) for one in (with_l2, twin, plain)]
                first = losses[0] if step == 0 else first
                decay = base * factor(name, step, recipe.steps, losses[0] / first)
                with_l2.step(recipe.lr, decay)
                twin.step(sphere_lr(recipe.lr, decay), 0.0)
                plain.step(recipe.lr, 0.0)
                if step % max(1, recipe.steps // 40) == 0 or step == recipe.steps - 1:
                    tick((k + step / recipe.steps) / 3)
                    found.append(
                        _row(name, seed, step, recipe, decay, losses, with_l2, twin, plain)
                    )
        return {"twins": columns(found), "usual": columns([_usual(recipe, task, seed)])}

    return job


def factor(name: str, step: int, steps: int, ratio: float) -> float:
    """λ_i/λ₀: the loss over its first value, clipped at 2; or the cosine, 0 to 2."""
    if name == "Algorithm 1":
        return min(ratio, 2.0)
    return 1 + float(np.cos(2 * np.pi * step / steps))


def _row(
    name: str, seed: int, step: int, recipe: Twins, decay: float, losses: list[float], *runs: Any
) -> dict[str, Any]:
    with_l2, twin, plain = (one.direction() for one in runs)
    numbers = dict(seed=seed, step=step, effective_lr=sphere_lr(recipe.lr, decay))
    apart = dict(
        twin=float((with_l2 - twin).norm()),
        plain=float((with_l2 - plain).norm()),
        loss=losses[0],
        loss_twin=losses[1],
    )
    return {"algorithm": np.array([name], dtype=object)} | numbers | apart


def _usual(recipe: Twins, task: Digits, seed: int) -> dict[str, float]:
    """How far a run with the usual weight decay ends from the run without, on the sphere."""
    pair = [_OnSphere(seed) for _ in range(2)]
    feed = task.batches([Trial(seed, recipe.lr)])
    for step in range(recipe.steps):
        x, y = (part[0] for part in feed(step))
        for one, decay in zip(pair, (recipe.usual, 0.0)):
            one.gradient(x.double(), y)
            one.step(recipe.lr, decay)
    wrong = []
    for one in pair:
        with torch.no_grad():
            classes = one.net(task.x["test"].double()).argmax(-1)
        wrong.append(float((classes != task.y["test"]).double().mean()))
    distance = float((pair[0].direction() - pair[1].direction()).norm())
    return dict(seed=seed, distance=distance, error=wrong[0] - wrong[1])


class _OnSphere:
    """A network in float64 whose matrices stay at their initial norms; biases are left out."""

    def __init__(self, seed: int) -> None:
        self.net: nn.Module = seeded(lambda: MLP((64, 32, 32, 10)), seed).double()
        self.weights = [p for p in self.net.parameters() if p.dim() > 1]
        self.norms = [w.detach().norm() for w in self.weights]
        self.grads: list[Tensor] = []

    def gradient(self, x: Tensor, y: Tensor) -> float:
        """The batch loss; its gradient is kept for `step`."""
        loss = nn.functional.cross_entropy(self.net(x), y)
        self.grads = list(torch.autograd.grad(loss, self.weights))
        return float(loss.detach())

    @torch.no_grad()
    def step(self, lr: float, decay: float) -> None:
        """One step with L2, then the projection of every matrix."""
        for w, g, norm in zip(self.weights, self.grads, self.norms):
            w.mul_(1 - lr * decay).sub_(lr * g)
            w.mul_(norm / w.norm())

    def direction(self) -> Tensor:
        """All matrices as one vector of unit length."""
        flat = torch.cat([w.detach().flatten() for w in self.weights])
        return flat / flat.norm()


def estimate(tables: Tables) -> Mapping[str, Interval]:
    """The largest distance of twins; the control without L2; and the usual strength's effect."""
    twins, usual = tables["twins"], tables["usual"]
    runs = len(by_group(twins, "algorithm", "seed"))
    ends = twins["step"] == twins["step"].max()
    losses = np.abs(twins["loss"] - twins["loss_twin"])
    return {
        "directions": exact(twins["twin"].max(), runs),
        "losses": exact(losses.max(), runs),
        "control": mean_interval(twins["plain"][ends]),
        "usual": mean_interval(usual["distance"]),
    }


@house_style
def draw(tables: Tables) -> Any:
    """The learning rates that λ amounts to, both losses, and the distances of directions."""
    made, (rates, losses, apart) = figure(13.0, 3.9, columns=3)
    twins = tables["twins"]
    first = {key: column[twins["seed"] == 0] for key, column in twins.items()}
    for (name,), colour in zip(by_group(first, "algorithm"), OKABE_ITO):
        ours = {key: column[first["algorithm"] == name] for key, column in first.items()}
        rates.plot(ours["step"], ours["effective_lr"], color=colour, label=name)
        losses.plot(ours["step"], ours["loss"], color=colour, label=name)
        losses.plot(ours["step"], ours["loss_twin"], "k.", ms=3)
        apart.plot(ours["step"], np.maximum(ours["twin"], 1e-17), color=colour, label=name)
        apart.plot(ours["step"][1:], ours["plain"][1:], ":", color=colour)
    rates.set(xlabel="step", yscale="log", title="η/(1 - 2ηλ): what λ amounts to")
    losses.set(xlabel="step", title="batch loss (dots: lr, no L2)")
    apart.set(xlabel="step", yscale="log", title="distance of directions (dots: no L2)")
    rates.legend()
    return made


OURS = "the paper shows no experiment; a 64-32-32-10 network on digits, in float64"

FIGURE = Figure(
    name="richemond2019-projection",
    shows="Algorithms 1 and 2, projection",
    claim="With a projection after each step, annealing λ is the learning-rate schedule "
    "η/(1 - 2ηλ) and nothing else.",
    criteria={
        "directions": below("largest distance of the directions with λ and with its lr", 1e-9),
        "losses": below("largest difference of their losses", 1e-9),
        "control": above("distance from the run with neither, at the end", 0.01),
        "usual": below("usual strength, w = 5e-4: distance from no decay at the end", 0.01),
    },
    recipes={
        "smoke": Twins(minutes=0.05, seeds=3, steps=25, departures=(OURS,)),
        "cpu": Twins(minutes=1.0, seeds=8, steps=400, departures=(OURS,)),
    },
    measure=measure,
    estimate=estimate,
    draw=draw,
)
