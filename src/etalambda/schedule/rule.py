"""What a rule is: a factor over time. Two tiers, and `fold`, which proves a rule on its own.

* Without memory: any callable ``step -> factor``. Every shape of `etalambda.schedule.shapes`.
* With memory: a frozen dataclass with

      reads: tuple[str, ...]                      the signals and group entries that it looks at
      init() -> state                             tuples and numbers only
      update(state, seen) -> (factor, state)      pure: nothing is changed in place

  ``seen`` maps each name in ``reads`` to a number, and always ``initial`` to the group's base
  value of the driven entry. Two more names may be read: ``step``, the tick that the factor is
  for, and ``peak_lr``, the declared peak of the group's learning rate. A value is fetched when
  it is looked up, so a rule that measures now and then costs nothing in between.

  A rule may have ``start(seen) -> factor``, the factor before its first update; without it: 1.

A factor multiplies a base value: 1 is no change, 0 is none at all.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import MISSING, fields
from typing import Any, Protocol, runtime_checkable

from torch import Tensor

Shape = Callable[[int], float]
Signal = float | Tensor | Callable[[], Any]


@runtime_checkable
class Memory(Protocol):
    """A rule that remembers: the factor depends on what the run has shown so far."""

    @property
    def reads(self) -> tuple[str, ...]: ...

    def init(self) -> Any: ...

    def update(self, state: Any, seen: Mapping[str, float]) -> tuple[float, Any]: ...


Rule = Shape | Memory


class Readable:
    """A rule whose ``repr`` is the call that makes it: arguments at their default are left out."""

    def __repr__(self) -> str:
        shown = []
        for field in fields(self):  # type: ignore[arg-type]
            value = getattr(self, field.name)
            if field.default is MISSING:
                shown.append(f"{value!r}")
            elif value != field.default:
                shown.append(f"{field.name}={value!r}")
        return f"{type(self).__name__}({', '.join(shown)})"


def has_memory(rule: object) -> bool:
    """Whether a rule is of the second tier: it reads signals and keeps a state."""
    return isinstance(rule, Memory)


def check_rule(entry: str, rule: Any) -> None:
    """Raise a TypeError, with the remedy, for what is not a rule."""
    if isinstance(rule, type):
        raise TypeError(f"{entry}={rule.__name__} is a class; call it: {rule.__name__}(...)")
    if isinstance(rule, bool | int | float):
        raise TypeError(
            f"{entry}={rule} is a number; rules give factors of the optimizer's own value: "
            f"set the value there and pass constant({rule!r}) for a factor"
        )
    if not (callable(rule) or has_memory(rule)):
        raise TypeError(
            f"{entry}={rule!r} is not a rule; pass a callable step -> factor, such as cosine(1000),"
            " or an object with reads, init() and update(state, seen)"
        )


class Seen(Mapping[str, float]):
    """What a rule sees at one tick: named numbers, fetched when looked up.

    Args:
        names: What may be looked up.
        fetch: Name -> number; called at every look-up.
    """

    def __init__(self, names: Sequence[str], fetch: Callable[[str], float]) -> None:
        self._names, self._fetch = tuple(dict.fromkeys([*names, "initial"])), fetch
        self.non_finite = False  # whether something that was looked up is not a number

    def __getitem__(self, name: str) -> float:
        if name not in self._names:
            raise KeyError(f"{name!r} is not in the rule's reads; add it there")
        value = self._fetch(name)
        self.non_finite |= not math.isfinite(value)
        return value

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def as_number(name: str, value: Any) -> float:
    """A signal as a number: calls it if it is a function, reads it if it is a 0-d tensor."""
    value = value() if callable(value) and not isinstance(value, Tensor) else value
    try:
        return float(value.detach() if isinstance(value, Tensor) else value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(
            f"{name} must be a number, a 0-d tensor or a function that returns one, "
            f"got {type(value).__name__}"
        ) from error


def start_of(rule: Rule, seen: Mapping[str, float]) -> float:
    """The factor before the first update: factor(0) of a shape, 1 of most rules with memory."""
    if isinstance(rule, Memory):
        start = getattr(rule, "start", None)
        return 1.0 if start is None else start(seen)
    return rule(0)


def fold(rule: Rule, signals: Sequence[Mapping[str, Any]], initial: float = 1.0) -> list[float]:
    """The factors that a rule gives for a list of signals: no optimizer, no model.

    Args:
        rule: A rule of either tier. One without memory gives factor(0), factor(1), ...
        signals: One dict a tick. ``step`` counts from 0 unless it is given, and ``peak_lr`` is
            the largest ``lr`` of the list unless it is given.
        initial: The base value that the rule may want to know (`AutoL2` does).

    Returns:
        One factor for each entry of ``signals``.

    Raises:
        ValueError: If a signal is missing that the rule looks up, or the first loss is not finite.

    Example:
        >>> from etalambda.schedule import MatchedAnnealing
        >>> fold(MatchedAnnealing(), [{"loss": 2.0}, {"loss": 1.0}, {"loss": 0.5}])
        [1.0, 0.5, 0.25]
    """
    check_rule("rule", rule)
    if not isinstance(rule, Memory):
        return [float(rule(step)) for step in range(len(signals))]
    lrs = [as_number("lr", given["lr"]) for given in signals if "lr" in given]
    usual = {"initial": initial} | ({"peak_lr": max(lrs)} if lrs else {})
    factors, state = [], rule.init()
    for step, given in enumerate(signals):
        known = {"step": step, **usual, **given}
        seen = Seen(rule.reads, lambda name, known=known: _look_up(rule, known, name))
        factor, state = rule.update(state, seen)
        factors.append(float(factor))
    return factors


def _look_up(rule: Memory, known: Mapping[str, Any], name: str) -> float:
    if name not in known:
        raise ValueError(f"{rule!r} reads {name!r}, which tick {known['step']} of signals lacks")
    return as_number(name, known[name])
