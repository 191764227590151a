"""Experiment E5 on pictures: which tensors should match, in a CNN with BatchNorm.

SGD with momentum on digits with a fifth of the labels wrong. The convolutions feed BatchNorm and
are scale invariant, the linear head is not. Loss is cross-entropy on held-out, clean labels.

Departures from the paper: digits and a small network; Defazio 2025 trains ResNets and LLMs.
"""

from __future__ import annotations

from functools import partial

from etalambda.lab.experiments.parts import HYPER
from etalambda.lab.figures.parttwo import _matching
from etalambda.lab.figures.parttwo._scope import SHAPES, Scope, World, measuring
from etalambda.lab.models import SmallCNN
from etalambda.lab.reproduce import Bench, Figure
from etalambda.lab.reproduce.cells import losses
from etalambda.lab.tasks import Digits


def world(recipe: Scope, bench: Bench) -> World:
    """The digits and the small CNN."""
    task = Digits(0.2, device=bench.device)
    parts = {name: (task.x[name], task.y[name]) for name in ("val", "test")}
    first = task.x["train"][: task.batch_size].cpu()
    scores = partial(losses, parts=parts)
    return World(SmallCNN, first, task.batches, "sgd", HYPER["sgd"], scores)


FIGURE = Figure(
    "parttwo-e5",
    shows="Part II, E5, pictures",
    claim="Decay that follows the lr on scale-invariant weights keeps the gradient norm from "
    "rising at the end, and lowers the loss.",
    criteria=_matching.criteria(SHAPES),
    recipes={
        "smoke": Scope(
            minutes=0.1, shapes=tuple(SHAPES), budgets=(0.5, 2.0), common=2.0, choosing=1, seeds=2,
            lr=0.1, steps=12, departures=("twelve steps, two seeds",),
        ),
        "cpu": Scope(
            minutes=4,
            shapes=tuple(SHAPES),
            budgets=(1.0, 2.0, 4.0, 8.0, 16.0),
            common=8.0,
            choosing=4,
            seeds=8,
            lr=0.2,
            steps=480,
            departures=("600 digits with a fifth of the labels wrong, 40 epochs, small CNN",),
        ),
    },
    measure=measuring(world),
    estimate=_matching.estimate,
    draw=_matching.draw,
    compact=_matching.compact,
)  # fmt: skip
