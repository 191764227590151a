"""Rules without memory: the shapes of a schedule, ``step -> factor``, each a small dataclass.

Steps count from 0. A factor multiplies the group's base value: 1 is the optimizer's own number.
Lengths are steps. Where an argument says "steps or share", a float below 1 is a share of the
known ``length``. After its end a shape keeps its last value. Growth is allowed: weight decay is
increased in some recipes (DINO 0.04 -> 0.4, Megatron), as the learning rate never is.

    CGD-A2   λ_i = λ₀ (1 + cos 2πi/T)        `cosine_restarts`    Richemond & Guo 2019, Algorithm 2
    CGD-B0   λ_t = λ₀ (1 + t)^(-1/2)         `power_law`          Richemond & Guo 2019, baseline

Departures from the paper: none in the defaults. Algorithm 2 as printed starts at 2λ₀, not at λ₀,
and has no jump, so nothing restarts; ``variant`` offers what its text describes.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from etalambda._common import check_nonnegative, check_positive, unknown
from etalambda.schedule.rule import Readable


@dataclass(frozen=True, repr=False)
class constant(Readable):
    """The same factor always; ``constant()`` changes nothing.

    >>> constant(0.5)(1000)
    0.5
    """

    factor: float = 1.0

    def __post_init__(self) -> None:
        check_nonnegative(factor=self.factor)

    def __call__(self, step: float) -> float:
        return float(self.factor)


@dataclass(frozen=True, repr=False)
class linear(Readable):
    """From ``start`` to ``end`` in ``length`` steps; growth allowed.

    With the base value at the end of a warm-up, ``linear(length, start=w0 / w1, end=1)`` is
    Megatron-LM's ``--weight-decay-incr-style linear`` from w0 to w1.

    Raises:
        ValueError: If ``length`` is not positive or a factor is negative.

    Example:
        >>> [linear(4)(step) for step in range(6)]
        [1.0, 0.75, 0.5, 0.25, 0.0, 0.0]
    """

    length: float
    start: float = 1.0
    end: float = 0.0

    def __post_init__(self) -> None:
        check_positive(length=self.length)
        check_nonnegative(start=self.start, end=self.end)

    def __call__(self, step: float) -> float:
        done = min(step / self.length, 1.0)
        return self.start + (self.end - self.start) * done


@dataclass(frozen=True, repr=False)
class cosine(Readable):
    """Half a cosine from ``start`` to ``end`` in ``length`` steps; growth allowed.

    ``cosine(T)`` is nanochat's decay of λ to zero; ``cosine(T, end=10)`` on 0.04 is DINO's growth
    from 0.04 to 0.4.

    Raises:
        ValueError: If ``length`` is not positive or a factor is negative.

    Example:
        >>> [round(cosine(4)(step), 3) for step in range(6)]
        [1.0, 0.854, 0.5, 0.146, 0.0, 0.0]
    """

    length: float
    end: float = 0.0
    start: float = 1.0

    def __post_init__(self) -> None:
        check_positive(length=self.length)
        check_nonnegative(start=self.start, end=self.end)

    def __call__(self, step: float) -> float:
        done = min(step / self.length, 1.0)
        return self.end + (self.start - self.end) * 0.5 * (1 + math.cos(math.pi * done))


Variant = Literal["literal", "half", "warm_restart"]


@dataclass(frozen=True, repr=False)
class cosine_restarts(Readable):
    """1 + cos(2πi/T): Algorithm 2 of Richemond & Guo 2019. Starts at 2, mean 1.

    Args:
        period: T, in steps; any positive number.
        variant: ``literal`` as printed. ``half`` has half the amplitude: it starts at 1, where the
            text wants it. ``warm_restart`` is SGDR's jump back to 1 at each period.

    Raises:
        ValueError: If ``period`` is not positive or the variant is not known.

    Example:
        >>> [round(cosine_restarts(4)(step), 3) for step in range(5)]
        [2.0, 1.0, 0.0, 1.0, 2.0]
    """

    period: float
    variant: Variant = "literal"

    def __post_init__(self) -> None:
        check_positive(period=self.period)
        if self.variant not in ("literal", "half", "warm_restart"):
            raise unknown("variant", self.variant, ["literal", "half", "warm_restart"])

    def __call__(self, step: float) -> float:
        if self.variant == "warm_restart":
            return 0.5 * (1 + math.cos(math.pi * (step % self.period) / self.period))
        full = 1 + math.cos(2 * math.pi * step / self.period)
        return full if self.variant == "literal" else full / 2


@dataclass(frozen=True, repr=False)
class power_law(Readable):
    """(1 + t)^(-exponent): the baseline of Richemond & Guo 2019, λ₀ (1 + t)^(-1/2).

    If the learning rate falls as well, the decay done in a step falls as the product of both.

    Raises:
        ValueError: If ``exponent`` is negative; for growth use `polynomial`.

    Example:
        >>> [round(power_law()(step), 3) for step in (0, 3, 99)]
        [1.0, 0.5, 0.1]
    """

    exponent: float = 0.5

    def __post_init__(self) -> None:
        check_nonnegative(exponent=self.exponent)

    def __call__(self, step: float) -> float:
        return (1.0 + step) ** -self.exponent


@dataclass(frozen=True, repr=False)
class piecewise(Readable):
    """Straight lines through points: ``{step: factor}``, or ``{share: factor}`` with ``length``.

    Constant before the first point and after the last.

    Args:
        points: The corners. A mapping, or pairs.
        length: If given, the positions are shares of it between 0 and 1.

    Raises:
        ValueError: If there is no point, a position repeats or lies outside, a factor is negative.

    Example:
        >>> u = piecewise({0: 0.8, 0.5: 0.1, 1: 0.9}, length=100)
        >>> [round(u(step), 3) for step in (0, 25, 50, 75, 100)]
        [0.8, 0.45, 0.1, 0.5, 0.9]
    """

    points: tuple[tuple[float, float], ...]
    length: float | None = None

    def __init__(
        self,
        points: Mapping[float, float] | tuple[tuple[float, float], ...],
        length: float | None = None,
    ) -> None:
        pairs = points.items() if isinstance(points, Mapping) else points
        object.__setattr__(self, "points", tuple(sorted((float(x), float(y)) for x, y in pairs)))
        object.__setattr__(self, "length", length)
        if not self.points:
            raise ValueError("points is empty; give at least one {step: factor}")
        xs = [x for x, _ in self.points]
        if len(set(xs)) < len(xs) or xs[0] < 0:
            raise ValueError(f"positions must differ and be at least 0, got {xs}")
        check_nonnegative(**{f"points[{x:g}]": y for x, y in self.points})
        if length is not None:
            check_positive(length=length)
            if xs[-1] > 1:
                raise ValueError(f"with length, positions are shares of it in [0, 1], got {xs}")

    def __call__(self, step: float) -> float:
        x = step if self.length is None else step / self.length
        after = bisect_right(self.points, x, key=lambda point: point[0])
        if after in (0, len(self.points)):
            return self.points[max(after - 1, 0)][1]
        (x0, y0), (x1, y1) = self.points[after - 1 : after + 1]
        return y0 + (y1 - y0) * (x - x0) / (x1 - x0)


@dataclass(frozen=True, repr=False)
class polynomial(Readable):
    """end + (start - end)(1 - t/length)^power, as torch's PolynomialLR; growth allowed.

    >>> [polynomial(4, power=2)(step) for step in range(5)]
    [1.0, 0.5625, 0.25, 0.0625, 0.0]
    """

    length: float
    power: float = 1.0
    start: float = 1.0
    end: float = 0.0

    def __post_init__(self) -> None:
        check_positive(length=self.length, power=self.power)
        check_nonnegative(start=self.start, end=self.end)

    def __call__(self, step: float) -> float:
        left = max(1 - step / self.length, 0.0)
        return self.end + (self.start - self.end) * left**self.power


@dataclass(frozen=True, repr=False)
class exponential(Readable):
    """gamma^t, as torch's ExponentialLR; gamma above 1 grows.

    >>> [exponential(0.5)(step) for step in range(3)]
    [1.0, 0.5, 0.25]
    """

    gamma: float

    def __post_init__(self) -> None:
        check_positive(gamma=self.gamma)

    def __call__(self, step: float) -> float:
        return self.gamma**step


@dataclass(frozen=True, repr=False)
class log_time(Readable):
    """1 / (1 + t/scale): decay that always remembers the same share of the run, ∝ 1/t.

    >>> [log_time(100)(step) for step in (0, 100, 300)]
    [1.0, 0.5, 0.25]
    """

    scale: float

    def __post_init__(self) -> None:
        check_positive(scale=self.scale)

    def __call__(self, step: float) -> float:
        return self.scale / (self.scale + step)
