"""What the decay clock is tried under: conditions, plans, and the networks of one condition."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from etalambda.lab.engine import Snapshot, Trial, train
from etalambda.lab.engine.pool import Tick
from etalambda.lab.engine.training import cross_entropy
from etalambda.lab.engine.trials import Batches, Feed, Loss
from etalambda.lab.experiments.parts import Job, Tables, columns
from etalambda.lab.models import Quadratic
from etalambda.lab.tasks import Modular
from etalambda.schedule import constant, cosine_restarts, linear

THERE = 0.95
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


def squared_error(outputs: Tensor, targets: Tensor) -> Tensor:
    """Squared error on one-hot targets, summed over classes: (T, B, C) and (T, B) -> (T,).

    >>> squared_error(torch.zeros(2, 5, 10), torch.zeros(2, 5, dtype=torch.long))
    tensor([1., 1.])
    """
    wanted = torch.nn.functional.one_hot(targets, outputs.shape[-1]).to(outputs)
    return (outputs - wanted).square().sum(-1).mean(1)


@dataclass(frozen=True)
class Condition:
    """The base, or the base with one thing changed; ``top`` λ and ``steps`` let plans arrive."""

    lr: float = 3e-3
    optimizer: str = "adamw"
    hyper: Mapping[str, Any] = field(default_factory=lambda: ADAM)
    width: int = 128
    p: int = 31
    loss: Loss = cross_entropy
    label_noise: float = 0.0
    batches: int = 1  # in one pass over the training half
    top: float = 0.8
    steps: int = 4400


CONDITIONS: dict[str, Condition] = {
    "base": Condition(),
    "lr 1e-3": Condition(lr=1e-3, steps=13200),
    "lr 1e-2": Condition(lr=1e-2, steps=3300),
    "AdamS": Condition(optimizer="adams", top=1e-4, steps=3000),
    "SGD": Condition(optimizer="sgd", hyper=dict(momentum=0.9), lr=0.5, top=2e-3),
    "width 64": Condition(width=64),
    "width 256": Condition(width=256),
    "p 23": Condition(p=23),
    "p 43": Condition(p=43),
    "squared error": Condition(loss=squared_error),
    "10 % wrong labels": Condition(label_noise=0.1),
    "half batches": Condition(batches=2),
}


def feed_of(task: Modular, condition: Condition) -> Batches:
    """The condition's batches: labels made wrong by the trial's seed, parts of a pass by step."""

    def batches(trials: Sequence[Trial]) -> Feed:
        pairs, sums = task.batches(trials)(0)
        seeds = [trial.seed for trial in trials]
        sums = sums + torch.stack(
            [_shift(seed, sums.shape[1], task.p, condition.label_noise) for seed in seeds]
        ).to(sums)
        sums %= task.p
        if condition.batches == 1:
            return lambda step: (pairs, sums)
        return lambda step: _part(pairs, sums, seeds, step, condition.batches)

    return batches


def _shift(seed: int, count: int, p: int, share: float) -> Tensor:
    """What to add to each label mod p: 1 to p - 1 for a share of them, else 0."""
    random = torch.Generator().manual_seed(10_000 + seed)
    wrong = torch.randperm(count, generator=random) < round(share * count)
    return wrong * torch.randint(1, p, (count,), generator=random)


def _part(
    pairs: Tensor, sums: Tensor, seeds: Sequence[int], step: int, parts: int
) -> tuple[Tensor, Tensor]:
    """One of the parts of a pass, in an order that the seed and the pass draw."""
    turn, part = divmod(step, parts)
    count = sums.shape[1]
    size = count // parts
    orders = {
        seed: torch.randperm(count, generator=torch.Generator().manual_seed(seed + 1000 * turn))
        for seed in dict.fromkeys(seeds)
    }
    rows = torch.stack([orders[seed][part * size : (part + 1) * size] for seed in seeds])
    rows = rows.to(sums.device)
    return pairs.gather(1, rows[..., None].expand(-1, -1, 2)), sums.gather(1, rows)


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
        task = Modular(condition.p, device)
        cells = [(plan, seed) for plan in plans for seed in seeds]
        made = train(
            lambda: Quadratic(condition.p, condition.width),
            feed_of(task, condition),
            [_trial(condition, plan, seed, steps) for plan, seed in cells],
            optimizer=condition.optimizer,
            steps=steps,
            every=max(1, steps // 160),
            loss=condition.loss,
            device=device,
            chunk=len(cells),
            **condition.hyper,
        )
        rows = [dict(condition=name, plan=plan, seed=seed, arrived=False) for plan, seed in cells]
        for seen in made:
            tick(seen.step / steps)
            _note(rows, seen, task)
            if all(row["arrived"] for row in rows):
                break
        return {"arrivals": columns(_as_columns(rows))}

    return job


def _trial(condition: Condition, plan: str, seed: int, steps: int) -> Trial:
    share, rule = PLANS[plan]
    return Trial(seed, condition.lr, share * condition.top, rules={"weight_decay": rule(steps)})


def _note(rows: list[dict[str, Any]], seen: Snapshot, task: Modular) -> None:
    """Move the rows of networks that are still under way to this snapshot."""
    known, test = task.accuracy(seen.predict(task.pairs), [t.seed for t in seen.trials])
    for i, row in enumerate(rows):
        if not row["arrived"]:
            row |= dict(step=seen.step, K=float(seen.K[i]), train=float(known[i]))
            row |= dict(test=float(test[i]), arrived=float(test[i]) >= THERE)


def _as_columns(rows: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    for row in rows:
        yield {k: np.array([v], dtype=object) if isinstance(v, str) else v for k, v in row.items()}
