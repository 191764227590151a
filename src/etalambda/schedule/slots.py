"""One driven entry of one param group, how it advances by a tick, and how it is saved."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from etalambda.schedule.rule import Memory, Rule, Seen, as_number, start_of

Look = Callable[[str], float]


@dataclass(frozen=True)
class Slot:
    """The base value of one entry of one group, and where its rule stands."""

    base: float
    peak_lr: float
    factor: float = 1.0
    state: Any = None

    @property
    def value(self) -> float:
        return self.base * self.factor


Slots = dict[str, dict[str, Slot]]
"""Entry -> place ("optimizer.group") -> slot."""


def started(rule: Rule, slot: Slot, look: Look) -> Slot:
    """The slot before the first tick."""
    state = rule.init() if isinstance(rule, Memory) else None
    reads = (*rule.reads, "step") if isinstance(rule, Memory) else ()
    factor = start_of(rule, Seen(reads, look))
    return replace(slot, factor=checked(rule, factor, 0), state=state)


def advanced(rule: Rule, slot: Slot, look: Look, tick: int) -> Slot:
    """The slot after one more tick; a rule that a bad signal made fail keeps its factor."""
    if not isinstance(rule, Memory):
        return replace(slot, factor=checked(rule, rule(tick), tick))
    seen = Seen(rule.reads, look)
    factor, state = rule.update(slot.state, seen)
    if seen.non_finite and not math.isfinite(factor):
        return slot
    return replace(slot, factor=checked(rule, factor, tick), state=state)


def checked(rule: Rule, factor: Any, tick: int) -> float:
    """The factor as a float, or a ValueError that names the rule."""
    value = as_number("a rule's factor", factor)
    if not (math.isfinite(value) and value >= 0):
        raise ValueError(
            f"{rule!r} gives the factor {value} at tick {tick}; "
            "factors must be finite and at least 0: clip(rule, low=0) bounds it"
        )
    return value


def kind(rule: Rule) -> str:
    """The name by which a saved state knows its rule."""
    return getattr(rule, "__name__", type(rule).__name__)


def packed(rules: Mapping[str, Rule], slots: Slots) -> dict[str, Any]:
    """Rules by name, and every slot as a tuple: loads with ``weights_only=True``."""
    return {
        "rules": {entry: kind(rule) for entry, rule in rules.items()},
        "slots": {
            entry: {at: (s.base, s.peak_lr, s.factor, s.state) for at, s in places.items()}
            for entry, places in slots.items()
        },
    }


def unpacked(
    saved: Mapping[str, Any], rules: Mapping[str, Rule], slots: Slots, keep: str
) -> tuple[Slots, str]:
    """The saved slots, and what to say where base values differ from the ones at hand.

    Raises:
        ValueError: If the state is of other rules or other groups.
    """
    missing = {"rules", "slots", "tick", "non_finite"} - set(saved)
    if missing:
        raise ValueError(f"the state lacks {sorted(missing)}; pass a Scheduler's state_dict()")
    ours = {entry: kind(rule) for entry, rule in rules.items()}
    if dict(saved["rules"]) != ours:
        raise ValueError(
            f"the state is of the rules {dict(saved['rules'])}, this scheduler has {ours}; "
            "build it with the same rules, or leave the state out to start anew"
        )
    loaded, differ = {}, ""
    for entry, places in slots.items():
        theirs = saved["slots"][entry]
        if set(theirs) != set(places):
            raise ValueError(
                f"the state drives {entry} in {len(theirs)} groups, this scheduler in "
                f"{len(places)}; build the optimizer with the same groups before loading"
            )
        loaded[entry] = {at: Slot(*theirs[at]) for at in places}
        for at, slot in places.items():
            base = loaded[entry][at].base
            # A scheduler built after the optimizer was loaded takes the driven value for its base.
            if slot.base not in (base, loaded[entry][at].value):
                differ = differ or (
                    f"{entry} of group {at} is {base} in the checkpoint and {slot.base} in the "
                    f"optimizer; keep={keep!r} decides: the {keep}'s is used"
                )
            if keep == "constructor":
                loaded[entry][at] = replace(loaded[entry][at], base=slot.base)
    return loaded, differ
