"""lr and weight_decay of every trial at every step, each by its own rules.

What a rule without memory will say is known beforehand: one table of values, step by trial. A rule
with memory writes its column as the run goes: after step i it sees what that step showed, and what
it answers holds for step i + 1, as with `etalambda.schedule.Scheduler` called after the step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from etalambda.lab.engine.trials import ENTRIES, Trial
from etalambda.schedule.rule import Memory, Seen, as_number, start_of

Signals = Mapping[str, Callable[[int], float]]


class Schedules:
    """Tables of lr, of weight_decay and of every other class's decay, (steps, T) float64 by name,
    and the states of rules with memory.

    Args:
        trials: Whose rules to follow.
        steps: How many steps there will be.
    """

    def __init__(self, trials: Sequence[Trial], steps: int) -> None:
        self.trials = trials
        classes = dict.fromkeys(name for trial in trials for name in trial.decays)
        self.tables = {
            entry: torch.empty(steps, len(trials), dtype=torch.float64)
            for entry in (*ENTRIES, *classes)  # lr first: rules for decay may read it
        }
        self.lr, self.weight_decay = self.tables["lr"], self.tables["weight_decay"]
        self._states: dict[tuple[str, int], Any] = {}
        known: dict[int, Tensor] = {}
        for entry in self.tables:
            for row, trial in enumerate(trials):
                self._plan(entry, row, trial, known)
        self.has_memory = bool(self._states)

    def _plan(self, entry: str, row: int, trial: Trial, known: dict[int, Tensor]) -> None:
        """Fill one column: all of it, or up to what a rule with memory says before it saw."""
        base, rule = trial.base(entry), trial.rules.get(entry)
        column = self.tables[entry][:, row]
        if rule is None:
            column.fill_(base)
        elif isinstance(rule, Memory):
            self._states[entry, row] = rule.init()
            column.fill_(base * start_of(rule, self._seen(rule, entry, row, -1, {})))
        else:
            if id(rule) not in known:
                factors = [float(rule(step)) for step in range(len(column))]
                known[id(rule)] = torch.tensor(factors, dtype=torch.float64)
            column.copy_(base * known[id(rule)])

    def decays(self, step: int) -> dict[str, Tensor]:
        """The weight decay of every class at a step, (T,) each."""
        return {entry: table[step] for entry, table in self.tables.items() if entry != "lr"}

    def see(self, step: int, signals: Signals, alive: Sequence[bool]) -> None:
        """Tell the rules with memory what step ``step`` showed: name -> function of the row."""
        if step + 1 >= len(self.lr):
            return
        for (entry, row), state in self._states.items():
            if not alive[row]:
                continue
            rule = self.trials[row].rules[entry]
            assert isinstance(rule, Memory)
            seen = self._seen(rule, entry, row, step, signals)
            factor, self._states[entry, row] = rule.update(state, seen)
            self.tables[entry][step + 1 :, row] = self.trials[row].base(entry) * factor

    def _seen(self, rule: Memory, entry: str, row: int, step: int, signals: Signals) -> Seen:
        """The numbers of one trial at the tick after ``step``."""
        trial, tick = self.trials[row], step + 1

        def fetch(name: str) -> float:
            if name in ENTRIES:
                return float(self.tables[name][tick, row])
            if name == "peak_lr":
                return float(self.lr[:, row].max())
            if name in ("initial", "step"):
                return float(trial.base(entry)) if name == "initial" else tick
            if name not in signals:
                raise ValueError(f"{rule!r} reads {name!r}, which the lab does not measure")
            return as_number(name, signals[name](row))

        return Seen(rule.reads, fetch)


def wrong_share(outputs: Tensor, targets: Tensor, row: int) -> float:
    """The signal ``error``: the share of wrong answers of one trial in its batch.

    >>> wrong_share(torch.tensor([[[0.9, 0.1], [0.2, 0.8]]]), torch.tensor([[0, 0]]), row=0)
    0.5
    """
    return float((outputs[row].argmax(-1) != targets[row]).double().mean())


def second_steps(trials: Sequence[Trial], weight_decay: Tensor) -> Tensor | None:
    """m of the M step (CGD-A3), (steps, T), from the paper's λ = weight_decay / 2; None if none.

    ``literal`` λ_i - λ_{i-1}, ``abs`` its size, ``relative`` min(1, |Δλ|/λ_{i-1}), ``twice`` 1.
    """
    if all(trial.two_step is None for trial in trials):
        return None
    lam = weight_decay / 2
    before = torch.cat([lam[:1], lam[:-1]])
    change = lam - before
    share = torch.where(before > 0, change.abs() / before, (change != 0).double()).clamp_max(1)
    by_name = dict(literal=change, abs=change.abs(), relative=share, twice=torch.ones_like(lam))
    zero = torch.zeros_like(lam)
    columns = [by_name.get(trial.two_step or "", zero)[:, i] for i, trial in enumerate(trials)]
    return torch.stack(columns, 1)
