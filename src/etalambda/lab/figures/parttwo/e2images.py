"""Experiment E2 on pictures: MNIST with a fifth of the labels wrong, one pass or twenty.

An MLP under SGD with momentum. Half of the test pictures choose, the other half report.

Departures from the paper: none of the papers tested this.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from etalambda.lab.engine import Snapshot
from etalambda.lab.figures.parttwo import _up_down
from etalambda.lab.figures.parttwo._direction import Direction, World, measuring
from etalambda.lab.models import MLP
from etalambda.lab.reproduce import Bench, Figure
from etalambda.lab.tasks import Digits
from etalambda.lab.tasks.digits import error, mislabelled

Part = tuple[Tensor, Tensor]


def mnist(folder: Path) -> tuple[Part, Part, Part]:
    """Training rows with wrong labels, and the two halves of the test pictures."""
    from etalambda.lab.data.find import ImageSplits, load

    found = load("mnist", folder)
    assert isinstance(found, ImageSplits)
    scaled = [
        torch.as_tensor(part.images).flatten(1).float() / 255 for part in (found.train, found.test)
    ]
    mean, std = scaled[0].mean(), scaled[0].std()
    x, held = ((part - mean) / std for part in scaled)
    noisy, _ = mislabelled(np.asarray(found.train.labels).astype(np.int64), 0.2)
    labels = torch.as_tensor(np.asarray(found.test.labels)).long()
    return (x, torch.as_tensor(noisy)), (held[0::2], labels[0::2]), (held[1::2], labels[1::2])


def digits() -> tuple[Part, Part, Part]:
    """The small digits, where there is no data folder."""
    task = Digits(0.2)
    return tuple((task.x[name], task.y[name]) for name in ("train", "val", "test"))  # type: ignore[return-value]


def pictures(bench: Bench, rows: int) -> tuple[Part, Part, Part]:
    """Rows that train (the first ``rows``; 0 is all), choose and report, on the device."""
    parts = digits() if bench.data is None else mnist(bench.data)
    (x, y), val, test = [(a.to(bench.device), b.to(bench.device)) for a, b in parts]
    return (x[: rows or None], y[: rows or None]), val, test


def world(recipe: Direction, bench: Bench) -> World:
    """The pictures as rows, on the device."""
    (x, y), val, test = pictures(bench, recipe.rows)

    def errors(seen: Snapshot) -> dict[str, np.ndarray]:
        held = {"val": val, "test": test}
        return {name: 100 * error(seen.predict(a), b).numpy() for name, (a, b) in held.items()}

    make = partial(MLP, (x.shape[1], 128, 10))
    return World(x, y, make, "sgd", dict(momentum=0.9), errors)


FIGURE = Figure(
    "parttwo-e2images",
    shows="Part II, E2, pictures",
    claim="Decay should fall where data are new and rise where they recur, at equal budget K.",
    criteria=_up_down.criteria("points"),
    recipes={
        "smoke": Direction(
            minutes=0.1, passes=(1, 2), budgets=(0.0, 0.1), choosing=2, seeds=2, lr=0.05,
            batch_size=50, rows=200, departures=("four steps on 8x8 digits",),
        ),
        "cpu": Direction(
            minutes=15,
            passes=(1, 20),
            budgets=(0.0, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0),
            choosing=4,
            seeds=8,
            lr=0.05,
            batch_size=50,
            departures=("MNIST with a fifth of the labels wrong, MLP 784-128-10, 1200 steps",),
        ),
    },
    measure=measuring(world),
    estimate=_up_down.estimate,
    draw=_up_down.drawing("points of test error"),
)  # fmt: skip
