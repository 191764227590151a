"""`Scheduler`: the one driver of all rules.

The value of a group's entry is the group's own base value times the rule's factor, so groups at 0
stay at 0. Base values live here, and nothing is added to the param groups: keys added there break
the loading of older flattened checkpoints.

Ticks. Building the scheduler sets factor(0) of a shape; the n-th ``step()`` sets factor(n). A rule
with memory has factor 1 until its first ``step``; the n-th is its n-th update and holds for the
next optimizer step. Call it where torch's schedulers are called, after ``optimizer.step()``, and
after the learning rate's scheduler.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Literal

from torch import Tensor
from torch.optim import Optimizer

from etalambda._common import unknown
from etalambda.schedule.entries import (
    Only,
    check_entries,
    chosen,
    glance,
    hooked_optimizers,
    is_number,
    own_tensors,
    write,
)
from etalambda.schedule.hooks import listen
from etalambda.schedule.rule import Memory, Rule, Signal, check_rule
from etalambda.schedule.sight import Sight, Signals
from etalambda.schedule.slots import Slot, Slots, advanced, packed, started, unpacked

Keep = Literal["checkpoint", "constructor"]


class Scheduler:
    """Drive entries of param groups by rules: ``Scheduler(optimizer, weight_decay=cosine(1000))``.

    Args:
        optimizer: One optimizer or several (Muon + AdamW); all their groups are driven.
        clock: What a tick is. ``calls``: each call of ``step``. ``optimizer``: optimizer steps
            that happened; a step that a GradScaler skipped, and a second call after the same
            optimizer step, do not count.
        process_group: If given, signals are averaged over its ranks. Without it each rank acts on
            what it is given: pass the same loss on all, or their weight decays part.
        only: Which groups to drive: a function of the group, positions, or parameters (groups that
            hold nothing else), such as the weights that a normalization follows.
        rules: Entry name -> rule: ``weight_decay``, ``lr``, ``momentum``, ... ``lr`` is driven
            before the rules that read it.

    Raises:
        ValueError: For no rules, an entry that no group has, one that is 0 in every group, or a
            factor that is negative or not finite. Nothing has changed then.
        TypeError: If a rule is not one.

    Example:
        >>> import torch
        >>> from etalambda.schedule import linear
        >>> w = torch.nn.Parameter(torch.ones(2))
        >>> optimizer = torch.optim.AdamW([w], lr=0.1, weight_decay=0.5)
        >>> scheduler = Scheduler(optimizer, weight_decay=linear(2))
        >>> for _ in range(3):
        ...     print(optimizer.param_groups[0]["weight_decay"])
        ...     optimizer.step()
        ...     scheduler.step()
        0.5
        0.25
        0.0
    """

    def __init__(
        self,
        optimizer: Optimizer | Iterable[Optimizer],
        *,
        clock: Literal["calls", "optimizer"] = "calls",
        process_group: Any = None,
        only: Only = None,
        **rules: Rule,
    ) -> None:
        if clock not in ("calls", "optimizer"):
            raise unknown("clock", clock, ["calls", "optimizer"])
        self._optimizers = hooked_optimizers(optimizer)
        for entry, rule in rules.items():
            check_rule(entry, rule)
        self._only = list(only) if isinstance(only, Iterable) else only
        check_entries([group for _, group in self._groups()], rules)
        # lr before the rules that read it
        self._rules = dict(sorted(rules.items(), key=lambda item: item[0] != "lr"))
        self._clock, self._process_group = clock, process_group
        self._tick = self._done = 0  # ticks, and optimizer steps that happened
        self._non_finite = dict.fromkeys(self._rules, 0)
        self._said: set[str] = set()
        self._slots: Slots = {entry: {} for entry in self._rules}
        # What was last written, and the tensors that groups held: they outlive a load.
        self._written: dict[tuple[str, str], float] = {}
        self._tensors: dict[tuple[str, str], Tensor] = {}
        self._handles: list[Any] = []
        for entry in self._rules:
            own_tensors(self._optimizers, entry)
        self._adopt()
        listen(self)

    def step(self, **signals: Signal) -> None:
        """One tick: read what the rules read, then set every driven entry.

        Args:
            signals: What rules with memory read (``loss=``, ``error=``): numbers, 0-d tensors, or
                functions without arguments, called only at a tick at which a rule looks.

        Raises:
            ValueError: If a rule looks up a signal that is missing, or returns no factor. Nothing
                has changed then.
        """
        self._adopt()
        tick = self._tick + 1 if self._clock == "calls" else self._done
        if tick == self._tick:
            return
        heard = Signals(signals, self._process_group)
        slots = self._plan(self._slots, partial(advanced, tick=tick), heard, tick)
        self._check_order()
        self._check_clobber()
        self._slots, self._tick = slots, tick
        self._write()
        for entry, rule in self._rules.items():
            if bad := heard.bad(rule):
                self._non_finite[entry] += 1
                self._say(
                    f"{bad[0]} is {heard[bad[0]]} at tick {tick}; {entry} keeps its value. "
                    "This is said once, scheduler.non_finite counts on",
                    topic="non_finite",
                )

    def last(self, entry: str) -> list[float]:
        """The values (not factors) that the scheduler last set, one a group, in order.

        NaN stands for a group that has no such entry or that ``only`` leaves out.

        Raises:
            ValueError: If the entry is not driven.
        """
        if entry not in self._slots:
            raise unknown("entry", entry, self._slots)
        slots = self._slots[entry]
        counts = [len(optimizer.param_groups) for optimizer in self._optimizers]
        places = [f"{i}.{j}" for i, count in enumerate(counts) for j in range(count)]
        return [slots[at].value if at in slots else math.nan for at in places]

    @property
    def ticks(self) -> int:
        """How many ticks have passed."""
        return self._tick

    @property
    def rules(self) -> dict[str, Rule]:
        """Entry -> rule."""
        return dict(self._rules)

    @property
    def non_finite(self) -> dict[str, int]:
        """Entry -> how often its rule was given a signal that is not finite."""
        return dict(self._non_finite)

    def state_dict(self) -> dict[str, Any]:
        """Tuples, lists, dicts, numbers and strings: loads with ``weights_only=True``."""
        counts = {"tick": self._tick, "non_finite": dict(self._non_finite)}
        return counts | packed(self._rules, self._slots)

    def load_state_dict(self, state: Mapping[str, Any], keep: Keep = "checkpoint") -> None:
        """Go on where a saved scheduler stopped; before or after the optimizer's own load.

        Args:
            state: A `state_dict`.
            keep: Whose base values win where the two differ; one warning says so.

        Raises:
            ValueError: If it is the state of other rules, or of another number of groups. Nothing
                has changed then.
        """
        if keep not in ("checkpoint", "constructor"):
            raise unknown("keep", keep, ["checkpoint", "constructor"])
        self._adopt()
        slots, differ = unpacked(state, self._rules, self._slots, keep)
        self._slots, self._tick = slots, int(state["tick"])
        self._done = self._tick
        self._non_finite |= {entry: int(n) for entry, n in state["non_finite"].items()}
        self._write()
        if differ:
            self._say(differ, topic="keep")

    def remove(self) -> None:
        """Stop driving: the groups get their base values back, and no hook is left."""
        for handle in self._handles:
            handle.remove()
        self._handles = []
        for entry, places in self._slots.items():
            self._write({entry: {at: replace(slot, factor=1.0) for at, slot in places.items()}})

    def plot(self, steps: int, **options: Any) -> Any:
        """Draw the driven entries over ``steps`` steps: `etalambda.schedule.plot`."""
        from etalambda.schedule.simulation import plot

        bases = {"lr": max(float(g["lr"]) for _, g in self._groups() if "lr" in g)}
        for entry, slots in self._slots.items():
            bases[entry] = max(slot.base for slot in slots.values())
        arguments: dict[str, Any] = {"bases": bases, **options, **self._rules}
        return plot(steps, **arguments)

    def __repr__(self) -> str:
        lines = [f"Scheduler after {self._tick} ticks"]
        for entry, rule in self._rules.items():
            lines.append(f"  {entry}: {rule!r}")
            for at, slot in self._slots[entry].items():
                now = f"{slot.base:g} x {slot.factor:.4g} = {slot.value:.4g}"
                lines.append(f"    group {at}: {now if slot.base else '0 stays 0'}")
        return "\n".join(lines)

    # Everything is computed before anything is written.

    def _groups(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Place ("optimizer.group") and group of all that are driven; loads replace the dicts."""
        position = 0
        for i, optimizer in enumerate(self._optimizers):
            for j, group in enumerate(optimizer.param_groups):
                if chosen(self._only, group, position):
                    yield f"{i}.{j}", group
                position += 1

    def _plan(self, slots: Slots, change: Callable, heard: Signals, tick: int) -> Slots:
        planned: Slots = {entry: {} for entry in self._rules}
        groups = dict(self._groups())
        for entry, rule in self._rules.items():
            for at, slot in slots[entry].items():
                earlier = {name: known[at] for name, known in planned.items() if at in known}
                look = Sight(entry, rule, slot, groups[at], earlier, heard, tick)
                planned[entry][at] = change(rule, slot, look) if slot.base else slot
        return planned

    def _adopt(self) -> None:
        """Take in groups that the scheduler has not seen: at first all, later added ones."""
        new: Slots = {entry: {} for entry in self._rules}
        for at, group in self._groups():
            for entry in self._rules:
                if at not in self._slots[entry] and is_number(group.get(entry)):
                    new[entry][at] = Slot(float(group[entry]), float(group.get("lr", 0.0)))
        if not any(new.values()):
            return
        plan = self._plan(new, started, Signals({}), 0)
        for entry, slots in plan.items():
            self._slots[entry] |= slots
        self._write(plan)

    def _write(self, slots: Slots | None = None) -> None:
        groups = dict(self._groups())
        for entry, places in (slots or self._slots).items():
            for at, slot in places.items():
                held = self._tensors.get((entry, at), groups[at][entry])
                if isinstance(held, Tensor):
                    groups[at][entry] = self._tensors[entry, at] = held
                if slot.base:
                    self._written[entry, at] = write(groups[at], entry, slot.value)

    def _check_clobber(self) -> None:
        for at, group in self._groups():
            for entry in self._rules:
                now, ours = glance(group, entry), self._written.get((entry, at))
                if None not in (now, ours) and now != ours:
                    self._say(
                        f"{entry} of group {at} is {now}, but this Scheduler set it to {ours}: "
                        "something else writes it, and is overwritten. Let one of them drive "
                        "it; to change the base value build the Scheduler anew",
                        topic="clobber",
                    )

    def _check_order(self) -> None:
        late = all(isinstance(rule, Memory) for rule in self._rules.values())
        if self._tick == self._done == 0 and not late and self._handles:
            self._say(
                "Detected call of `scheduler.step()` before `optimizer.step()`: the first value of "
                "the schedule is skipped. Call `optimizer.step()` first (if a GradScaler skipped "
                'it, clock="optimizer" counts the steps that happened)',
                topic="order",
            )

    def _say(self, message: str, topic: str) -> None:
        """Warn, once a topic."""
        if topic not in self._said:
            self._said.add(topic)
            warnings.warn(message, UserWarning, stacklevel=3)

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k not in ("_handles", "_process_group")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _process_group=None)
        listen(self)  # hooks are no part of a copied or unpickled optimizer
