"""The runs of the decay clock: six plans to spend K, and training until every plan has arrived."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from torch import Tensor, nn

from etalambda.lab.engine import Snapshot, Trial, train
from etalambda.lab.engine.pool import Tick
from etalambda.lab.engine.training import cross_entropy
from etalambda.lab.engine.trials import Batches, Loss
from etalambda.lab.experiments.parts import Job, Tables, columns
from etalambda.optim import functional
from etalambda.schedule import constant, cosine_restarts, linear

ADAM: dict[str, Any] = dict(betas=(0.9, 0.98))

PLANS: dict[str, tuple[float, Callable[[int], Any]]] = {
    "constant 1/4": (0.25, lambda steps: constant()),
    "constant 1/2": (0.5, lambda steps: constant()),
    "constant 1": (1.0, lambda steps: constant()),
    "down": (1.0, linear),
    "up": (1.0, lambda steps: linear(steps, start=0.0, end=1.0)),
    "restarts": (0.5, lambda steps: cosine_restarts(max(1, steps // 4))),
}
"""Plan -> its λ in parts of the top λ, and its rule for a length."""

TOGETHER = (("constant 1/4",), ("up", "constant 1/2", "restarts"), ("constant 1", "down"))
"""Plans that arrive at about the same step: a part ends when all its networks have arrived."""


@dataclass(frozen=True)
class Setting:
    """A condition's data and network on a device.

    Attributes:
        make: Builds one network.
        batches: The feed of its training.
        inputs: All that it is asked, (N, ...).
        accuracy: Outputs for the inputs and seeds -> training and test accuracy, (T,) each.
    """

    make: Callable[[], nn.Module]
    batches: Batches
    inputs: Tensor
    accuracy: Callable[[Tensor, Sequence[int]], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Condition:
    """What is changed of the base; ``top`` λ and ``steps`` let the plans arrive.

    A network has arrived when its test accuracy is ``there``; it is asked ``looks`` times.
    """

    lr: float = 3e-3
    optimizer: str = "adamw"
    hyper: Mapping[str, Any] = field(default_factory=lambda: ADAM)
    loss: Loss = cross_entropy
    top: float = 0.8
    steps: int = 4400
    looks: int = 160
    there: float = 0.95

    def setting(self, device: str) -> Setting:
        """Its data and network."""
        raise NotImplementedError


def clock_job(
    name: str,
    condition: Condition,
    plans: Sequence[str],
    seeds: Sequence[int],
    steps: int,
    device: str,
) -> Job:
    """Train the plans until all have arrived or the steps are over; a row a network."""

    def job(tick: Tick) -> Tables:
        cells = [(plan, seed) for plan in plans for seed in seeds]
        many = condition.optimizer in functional.RULES  # else each ends with its own arrival
        groups = [cells] if many else [[cell] for cell in cells]
        rows: list[dict[str, Any]] = []
        for done, group in enumerate(groups):
            part = partial(_scaled, tick, done, len(groups))
            rows += _arrivals(name, condition, group, steps, device, part)
        return {"arrivals": columns(_as_columns(rows))}

    return job


def _scaled(tick: Tick, done: int, total: int, share: float) -> None:
    tick((done + share) / total)


def _arrivals(
    name: str,
    condition: Condition,
    cells: Sequence[tuple[str, int]],
    steps: int,
    device: str,
    tick: Tick,
) -> list[dict[str, Any]]:
    """Train these cells together until the last has arrived."""
    setting = condition.setting(device)
    made = train(
        setting.make,
        setting.batches,
        [_trial(condition, plan, seed, steps) for plan, seed in cells],
        optimizer=condition.optimizer,
        steps=steps,
        every=max(1, steps // condition.looks),
        loss=condition.loss,
        device=device,
        chunk=len(cells),
        **condition.hyper,
    )
    rows = [dict(condition=name, plan=plan, seed=seed, arrived=False) for plan, seed in cells]
    for seen in made:
        tick(seen.step / steps)
        _note(rows, seen, setting, condition.there)
        if all(row["arrived"] for row in rows):
            break
    return rows


def _trial(condition: Condition, plan: str, seed: int, steps: int) -> Trial:
    share, rule = PLANS[plan]
    return Trial(seed, condition.lr, share * condition.top, rules={"weight_decay": rule(steps)})


def _note(rows: list[dict[str, Any]], seen: Snapshot, setting: Setting, there: float) -> None:
    """Move the rows of networks that are still under way to this snapshot."""
    outputs = seen.predict(setting.inputs)
    known, test = setting.accuracy(outputs, [t.seed for t in seen.trials])
    for i, row in enumerate(rows):
        if not row["arrived"]:
            row |= dict(step=seen.step, K=float(seen.K[i]), train=float(known[i]))
            row |= dict(test=float(test[i]), arrived=float(test[i]) >= there)


def _as_columns(rows: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    for row in rows:
        yield {k: np.array([v], dtype=object) if isinstance(v, str) else v for k, v in row.items()}
