"""A schedule as numbers: the factors of lr and λ along a plan, from a name, a list or a rule."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from etalambda._common import unknown

Schedule = str | Sequence[float] | Tensor | Callable[[int], float]
SHAPES: dict[str, Callable[[Tensor], Tensor]] = {
    "constant": torch.ones_like,
    "linear": lambda share: 1 - share,
    "cosine": lambda share: (1 + torch.cos(math.pi * share)) / 2,
}
COUPLINGS: dict[str, Callable[[Tensor], Tensor]] = {
    "constant": torch.ones_like,
    "matched": lambda lr_factors: lr_factors,
    "constant_product": lambda lr_factors: 1 / lr_factors,
}


def factors(schedule: Schedule, steps: int) -> Tensor:
    """The factors of a schedule at steps 0 ... steps - 1, float64.

    Args:
        schedule: "constant", "linear" (to 0), "cosine" (to 0), at least ``steps`` numbers, or a
            callable ``step -> factor``, such as the rules of ``etalambda.schedule``.
        steps: Length of the run.

    Raises:
        ValueError: If ``steps`` is not a positive integer, the name is unknown, there are fewer
            than ``steps`` factors, or one is negative or not finite.

    Example:
        >>> factors("linear", 4)
        tensor([1.0000, 0.7500, 0.5000, 0.2500], dtype=torch.float64)
        >>> factors(lambda step: 1 / (1 + step), 2)
        tensor([1.0000, 0.5000], dtype=torch.float64)
    """
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
        raise ValueError(f"steps must be a positive whole number, got {steps!r}")
    if isinstance(schedule, str):
        if schedule not in SHAPES:
            raise unknown("schedule", schedule, SHAPES)
        return SHAPES[schedule](torch.arange(steps, dtype=torch.float64) / steps)
    numbers: Any = schedule
    if callable(schedule):
        numbers = [schedule(step) for step in range(steps)]
    found = torch.as_tensor(numbers, dtype=torch.float64).flatten()
    if len(found) < steps:
        raise ValueError(
            f"the schedule has {len(found)} factors for steps={steps}; "
            "give one a step, or a callable step -> factor"
        )
    found = found[:steps]
    bad = ~(torch.isfinite(found) & (found >= 0))
    if bad.any():
        step = int(bad.nonzero()[0])
        raise ValueError(f"the schedule's factor at step {step} is {found[step].item()}")
    return found


def weight_decay_factors(schedule: Schedule, lr_factors: Tensor) -> Tensor:
    """The factors of λ: a shape of `factors`, or a coupling to the lr ("matched", ...).

    "matched" is η/η_max, "constant_product" its inverse (0 where the lr is 0, where λ has no
    effect).

    Example:
        >>> weight_decay_factors("matched", torch.tensor([1.0, 0.5]))
        tensor([1.0000, 0.5000])
    """
    if isinstance(schedule, str) and schedule in COUPLINGS:
        found = COUPLINGS[schedule](lr_factors)
        return torch.where(lr_factors > 0, found, 0.0)
    if isinstance(schedule, str) and schedule not in SHAPES:
        raise unknown("weight decay schedule", schedule, {**SHAPES, **COUPLINGS})
    return factors(schedule, len(lr_factors))
