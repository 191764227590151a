"""Shapes in stairs: constant between steps at which they are multiplied."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from etalambda._common import check_nonnegative, check_positive
from etalambda.schedule.rule import Readable


@dataclass(frozen=True, repr=False)
class staircase(Readable):
    """gamma^⌊t/step_size⌋, as torch's StepLR.

    >>> [staircase(2, gamma=0.5)(step) for step in range(5)]
    [1.0, 1.0, 0.5, 0.5, 0.25]
    """

    step_size: float
    gamma: float = 0.1

    def __post_init__(self) -> None:
        check_positive(step_size=self.step_size)
        check_nonnegative(gamma=self.gamma)

    def __call__(self, step: float) -> float:
        return self.gamma ** (step // self.step_size)


@dataclass(frozen=True, init=False, repr=False)
class multi_step(Readable):
    """A multiplier at each milestone: torch's MultiStepLR, or ``{milestone: multiplier}``.

    Args:
        milestones: Steps at which the factor changes; a mapping gives each its own multiplier.
        gamma: The multiplier of milestones that are given without one.

    Raises:
        ValueError: If there is no milestone, or a number is negative.

    Example:
        >>> [multi_step({0: 32, 10: 0.5, 20: 0})(step) for step in (0, 9, 10, 20)]
        [32.0, 32.0, 16.0, 0.0]
    """

    milestones: tuple[tuple[float, float], ...]

    def __init__(
        self, milestones: Sequence[float] | Mapping[float, float], gamma: float = 0.1
    ) -> None:
        if not isinstance(milestones, Mapping):
            milestones = dict.fromkeys(milestones, gamma)
        if not milestones:
            raise ValueError("milestones is empty; give at least one step")
        for at, multiplier in milestones.items():
            check_nonnegative(milestone=at, multiplier=multiplier)
        pairs = sorted((at, float(multiplier)) for at, multiplier in milestones.items())
        object.__setattr__(self, "milestones", tuple(pairs))

    def __repr__(self) -> str:
        return f"multi_step({dict(self.milestones)})"

    def __call__(self, step: float) -> float:
        factor = 1.0
        passed = bisect_right(self.milestones, step, key=lambda pair: pair[0])
        for _, multiplier in self.milestones[:passed]:
            factor *= multiplier
        return factor
