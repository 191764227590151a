"""Shapes with stages: warm-up, plateau, cool-down, and windows.

Where an argument says "steps or share", a float below 1 is a share of ``length``.
"""

from __future__ import annotations

from dataclasses import dataclass

from etalambda._common import check_nonnegative, check_positive
from etalambda.schedule.rule import Readable
from etalambda.schedule.shapes import cosine, linear


def span(name: str, value: float, length: float) -> float:
    """Steps from "steps or share": a float below 1 is a share of ``length``.

    Raises:
        ValueError: If it is negative or longer than ``length``.
    """
    check_nonnegative(**{name: value})
    steps = value * length if isinstance(value, float) and value < 1 else value
    if steps > length:
        raise ValueError(
            f"{name}={value} is longer than length={length}; give steps, or a share below 1"
        )
    return steps


@dataclass(frozen=True, repr=False)
class warmup(Readable):
    """From ``start`` up to 1 in ``length`` steps, then 1.

    >>> [warmup(4)(step) for step in range(6)]
    [0.0, 0.25, 0.5, 0.75, 1.0, 1.0]
    """

    length: float
    start: float = 0.0

    def __post_init__(self) -> None:
        check_positive(length=self.length)
        check_nonnegative(start=self.start)

    def __call__(self, step: float) -> float:
        return linear(self.length, self.start, 1.0)(step)


@dataclass(frozen=True, repr=False)
class trapezoid(Readable):
    """Warm-up, plateau at 1, linear cool-down to ``end``: WSD.

    Args:
        length: The whole run, in steps.
        warmup, cooldown: Steps or share.
        end: The factor after the cool-down.

    Raises:
        ValueError: If warm-up and cool-down together are longer than the run.

    Example:
        >>> [trapezoid(10, warmup=2, cooldown=0.4)(step) for step in (0, 1, 2, 6, 8, 10)]
        [0.0, 0.5, 1.0, 1.0, 0.5, 0.0]
    """

    length: float
    warmup: float = 0
    cooldown: float = 0.2
    end: float = 0.0

    def __post_init__(self) -> None:
        check_positive(length=self.length)
        check_nonnegative(end=self.end)
        up, down = self._spans()
        if up + down > self.length:
            raise ValueError(
                f"warmup={self.warmup} and cooldown={self.cooldown} are together longer than "
                f"length={self.length}; shorten one of them"
            )

    def _spans(self) -> tuple[float, float]:
        up = span("warmup", self.warmup, self.length)
        return up, span("cooldown", self.cooldown, self.length)

    def __call__(self, step: float) -> float:
        up, down = self._spans()
        if step < up:
            return step / up
        left = self.length - step
        if left >= down:
            return 1.0
        return self.end + (1 - self.end) * max(left, 0.0) / down


@dataclass(frozen=True, repr=False)
class one_cycle(Readable):
    """From ``start`` up to 1 at ``peak``, down to ``end``, by half cosines: torch's OneCycleLR.

    Args:
        length: The whole run, in steps.
        peak: Where the top is: steps or share.
        start, end: The factors at both ends.

    Example:
        >>> [round(one_cycle(10, peak=0.4)(step), 3) for step in (0, 2, 4, 7, 10)]
        [0.04, 0.52, 1.0, 0.5, 0.0]
    """

    length: float
    peak: float = 0.3
    start: float = 1 / 25
    end: float = 1 / 25e4

    def __post_init__(self) -> None:
        check_positive(length=self.length)
        check_nonnegative(start=self.start, end=self.end)
        if not 0 < span("peak", self.peak, self.length) < self.length:
            raise ValueError(f"peak={self.peak} must lie inside the run of {self.length} steps")

    def __call__(self, step: float) -> float:
        top = span("peak", self.peak, self.length)
        if step < top:
            return cosine(top, end=1.0, start=self.start)(step)
        return cosine(self.length - top, end=self.end)(step - top)


@dataclass(frozen=True, repr=False)
class u_shape(Readable):
    """From 1 down to ``low`` at ``bottom`` and up to ``end``, in straight lines.

    Args:
        length: The whole run, in steps.
        low: The smallest factor.
        bottom: Where it is: steps or share.
        end: The factor at the end.

    Example:
        >>> [round(u_shape(10, low=0.2)(step), 2) for step in (0, 5, 10)]
        [1.0, 0.2, 1.0]
    """

    length: float
    low: float = 0.1
    bottom: float = 0.5
    end: float = 1.0

    def __post_init__(self) -> None:
        check_positive(length=self.length)
        check_nonnegative(low=self.low, end=self.end)
        if not 0 < span("bottom", self.bottom, self.length) < self.length:
            raise ValueError(f"bottom={self.bottom} must lie inside the run of {self.length} steps")

    def __call__(self, step: float) -> float:
        bottom = span("bottom", self.bottom, self.length)
        if step < bottom:
            return linear(bottom, 1.0, self.low)(step)
        return linear(self.length - bottom, self.low, self.end)(step - bottom)


@dataclass(frozen=True, repr=False)
class window(Readable):
    """``inside`` from ``begin`` until before ``end``, ``outside`` elsewhere.

    Args:
        length: The whole run, in steps.
        begin, end: Steps or share.

    Example:
        >>> [window(100, 0.25, 0.5)(step) for step in (24, 25, 49, 50)]
        [0.0, 1.0, 1.0, 0.0]
    """

    length: float
    begin: float
    end: float
    inside: float = 1.0
    outside: float = 0.0

    def __post_init__(self) -> None:
        check_positive(length=self.length)
        check_nonnegative(inside=self.inside, outside=self.outside)
        if span("begin", self.begin, self.length) >= span("end", self.end, self.length):
            raise ValueError(f"begin={self.begin} must come before end={self.end}")

    def __call__(self, step: float) -> float:
        begin, end = span("begin", self.begin, self.length), span("end", self.end, self.length)
        return self.inside if begin <= step < end else self.outside
