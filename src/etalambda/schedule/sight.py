"""What a rule sees in a `etalambda.schedule.Scheduler`, and where each name comes from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from etalambda.schedule.entries import declared_peak, step_lr
from etalambda.schedule.rule import Memory, Rule, Signal, as_number
from etalambda.schedule.slots import Slot


class Signals:
    """What one ``step`` was given: each signal is read once, and only if some rule looks."""

    def __init__(self, given: Mapping[str, Signal], process_group: Any = None) -> None:
        self._given, self._process_group = given, process_group
        self._read: dict[str, float] = {}

    def __contains__(self, name: str) -> bool:
        return self._given.get(name) is not None

    def __getitem__(self, name: str) -> float:
        if name not in self._read:
            value = as_number(name, self._given[name])
            self._read[name] = value if self._process_group is None else self._mean(value)
        return self._read[name]

    def bad(self, rule: Rule) -> list[str]:
        """The signals that a rule has looked at and that are not finite."""
        reads = rule.reads if isinstance(rule, Memory) else ()
        return [name for name in reads if not math.isfinite(self._read.get(name, 0.0))]

    def _mean(self, value: float) -> float:
        """The mean over ranks: λ must not differ between copies of one model."""
        import torch
        import torch.distributed as dist

        on_gpu = dist.get_backend(self._process_group) == "nccl"
        total = torch.tensor(value, dtype=torch.float64, device="cuda" if on_gpu else "cpu")
        dist.all_reduce(total, group=self._process_group)
        return float(total) / dist.get_world_size(self._process_group)


@dataclass(frozen=True)
class Sight:
    """Name -> number for one rule, one param group and one tick.

    A signal outranks a group entry of the same name; an entry that was driven earlier in this tick
    reads as it will be.
    """

    entry: str
    rule: Rule
    slot: Slot
    group: dict[str, Any]
    earlier: Mapping[str, Slot]
    heard: Signals
    tick: int

    def __call__(self, name: str) -> float:
        if name in ("initial", "step"):
            return self.slot.base if name == "initial" else self.tick
        if name in self.heard:
            return self.heard[name]
        if name == "peak_lr":
            return declared_peak(self.group, self.slot.peak_lr)
        if name in self.earlier:
            return self.earlier[name].value
        if name in self.group:
            return float(step_lr(self.group) if name == "lr" else self.group[name])
        raise ValueError(
            f"the rule for {self.entry}, {self.rule!r}, reads {name!r}, which step() was not "
            f"given: call step({name}=...)"
        )
