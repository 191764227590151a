"""Rules made of rules: `times`, `clip`, `join`. Any mix of shapes and rules with memory.

    join([constant(1), cosine(800)], [200])          200 steps at 1, then half a cosine
    times(MatchedAnnealing(), CoupledToLR())         the loss that is left, times η/η_max
    clip(AutoL2(), low=1e-3)                         a floor

With only shapes inside, the result is a shape. Otherwise it has memory: it counts ticks as its
driver does, so every part is where it would be alone.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from etalambda._common import check_nonnegative
from etalambda.schedule.rule import Memory, Rule, check_rule, start_of


def times(*rules: Rule) -> Rule:
    """The product of rules.

    Raises:
        ValueError: If no rule is given.

    Example:
        >>> from etalambda.schedule import linear, warmup
        >>> [times(warmup(2), linear(4))(step) for step in range(5)]
        [0.0, 0.375, 0.5, 0.25, 0.0]
    """
    return _made(_Product, _MemoryProduct, rules)


def join(rules: Sequence[Rule], milestones: Sequence[int]) -> Rule:
    """One rule after another; each starts at its own step 0 at its milestone.

    "Fast early, stable late" (Xie et al. 2022): ``join([matched, constant(f)], [switch])``.

    Args:
        rules: At least one.
        milestones: Where the second, third, ... begin: rising, one fewer than rules.

    Raises:
        ValueError: If the milestones do not rise, or their number does not fit.

    Example:
        >>> from etalambda.schedule import constant, linear
        >>> [join([constant(), linear(2)], [2])(step) for step in range(5)]
        [1.0, 1.0, 1.0, 0.5, 0.0]
    """
    marks = tuple(milestones)
    if len(marks) != len(rules) - 1:
        raise ValueError(
            f"{len(rules)} rules need {len(rules) - 1} milestones, got {len(marks)}: {marks}"
        )
    if any(mark <= 0 for mark in marks[:1]) or any(b <= a for a, b in pairwise(marks)):
        raise ValueError(f"milestones must rise from above 0, got {marks}")
    return _made(_Join, _MemoryJoin, rules, marks)


def clip(rule: Rule, low: float = 0.0, high: float | None = None) -> Rule:
    """A rule held between two factors.

    Raises:
        ValueError: If ``low`` is negative or above ``high``.

    Example:
        >>> from etalambda.schedule import linear
        >>> [clip(linear(4), low=0.4)(step) for step in range(5)]
        [1.0, 0.75, 0.5, 0.4, 0.4]
    """
    check_nonnegative(low=low)
    if high is not None and not high >= low:
        raise ValueError(f"high={high} is below low={low}")
    return _made(_Clip, _MemoryClip, (rule,), (low, math.inf if high is None else high))


def _made(shape: Any, memory: Any, rules: Sequence[Rule], extra: Any = None) -> Rule:
    if not rules:
        raise ValueError("no rule given; pass at least one")
    for rule in rules:
        check_rule("rule", rule)
    kind = memory if any(isinstance(rule, Memory) for rule in rules) else shape
    return kind(tuple(rules)) if extra is None else kind(tuple(rules), extra)


@dataclass(frozen=True, repr=False)
class _Product:
    rules: tuple[Any, ...]

    def __call__(self, step: float) -> float:
        return math.prod(rule(step) for rule in self.rules)

    def __repr__(self) -> str:
        return f"times({', '.join(map(repr, self.rules))})"


@dataclass(frozen=True, repr=False)
class _Clip:
    rules: tuple[Any, ...]
    bounds: tuple[float, float]

    def __call__(self, step: float) -> float:
        return self._held(self.rules[0](step))

    def _held(self, factor: float) -> float:
        return min(max(factor, self.bounds[0]), self.bounds[1])

    def __repr__(self) -> str:
        return f"clip({self.rules[0]!r}, low={self.bounds[0]}, high={self.bounds[1]})"


@dataclass(frozen=True, repr=False)
class _Join:
    rules: tuple[Any, ...]
    milestones: tuple[float, ...]

    def _active(self, step: float) -> tuple[int, float]:
        """Which rule holds at a step, and where it began."""
        index = bisect_right(self.milestones, step)
        return index, self.milestones[index - 1] if index else 0

    def __call__(self, step: float) -> float:
        index, began = self._active(step)
        return self.rules[index](step - began)

    def __repr__(self) -> str:
        return f"join([{', '.join(map(repr, self.rules))}], {list(self.milestones)})"


class _WithMemory:
    """What composites with memory share: reads, and one state a part."""

    rules: tuple[Any, ...]

    @property
    def reads(self) -> tuple[str, ...]:
        names = [name for rule in self.rules if isinstance(rule, Memory) for name in rule.reads]
        return tuple(dict.fromkeys([*names, "step"]))

    def init(self) -> tuple[Any, ...]:
        return tuple(rule.init() if isinstance(rule, Memory) else () for rule in self.rules)

    @staticmethod
    def _part(rule: Rule, state: Any, seen: Mapping[str, float]) -> tuple[float, Any]:
        if isinstance(rule, Memory):
            return rule.update(state, seen)
        return rule(int(seen["step"])), state


class _MemoryProduct(_WithMemory, _Product):
    __call__ = None  # type: ignore[assignment]

    def start(self, seen: Mapping[str, float]) -> float:
        return math.prod(start_of(rule, seen) for rule in self.rules)

    def update(self, state: tuple[Any, ...], seen: Mapping[str, float]) -> tuple[float, Any]:
        parts = [self._part(rule, s, seen) for rule, s in zip(self.rules, state)]
        return math.prod(factor for factor, _ in parts), tuple(s for _, s in parts)


class _MemoryClip(_WithMemory, _Clip):
    __call__ = None  # type: ignore[assignment]

    def start(self, seen: Mapping[str, float]) -> float:
        return self._held(start_of(self.rules[0], seen))

    def update(self, state: tuple[Any, ...], seen: Mapping[str, float]) -> tuple[float, Any]:
        factor, part = self._part(self.rules[0], state[0], seen)
        return self._held(factor), (part,)


class _MemoryJoin(_WithMemory, _Join):
    __call__ = None  # type: ignore[assignment]

    def start(self, seen: Mapping[str, float]) -> float:
        return start_of(self.rules[0], seen)

    def update(self, state: tuple[Any, ...], seen: Mapping[str, float]) -> tuple[float, Any]:
        index, began = self._active(seen["step"])
        local = _Since(seen, began)
        factor, part = self._part(self.rules[index], state[index], local)
        return factor, (*state[:index], part, *state[index + 1 :])


class _Since(Mapping[str, float]):
    """What a joined part sees: its own step 0 is where it begins."""

    def __init__(self, seen: Mapping[str, float], began: float) -> None:
        self._seen, self._began = seen, began

    def __getitem__(self, name: str) -> float:
        return self._seen[name] - (self._began if name == "step" else 0)

    def __iter__(self) -> Iterator[str]:
        return iter(self._seen)

    def __len__(self) -> int:
        return len(self._seen)
