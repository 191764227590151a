"""Comparing schedules at equal budget: rescale a rule, record a trace, replay it, shuffle it.

K = Σ η_t λ_t is what a schedule spends. Two schedules compared at another K differ in K first; a
replay of a trace tells feedback from the values it happened to give, a shuffled replay tells their
order from their amount.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from etalambda._common import check_nonnegative, check_positive
from etalambda.schedule.compose import times
from etalambda.schedule.entries import hooked_optimizers, is_number
from etalambda.schedule.rule import Memory, Readable, Rule
from etalambda.schedule.shapes import constant


def rescale_to_budget(
    rule: Rule, budget: float, lrs: Sequence[float] | Tensor, *, weight_decay: float = 1.0
) -> Rule:
    """The rule times the number for which Σ lrs[t] · weight_decay · factor(t) is ``budget``.

    Args:
        rule: A shape. Of a rule with memory, `record` a trace and `replay` it first.
        budget: K.
        lrs: η_t, one a step.
        weight_decay: The base value that the optimizer will have; with 1 the factors are λ.

    Raises:
        ValueError: If the rule spends nothing over these steps, or has memory.

    Example:
        >>> from etalambda.schedule import linear
        >>> rule = rescale_to_budget(linear(4), 2.0, [0.1] * 4)
        >>> round(sum(0.1 * rule(step) for step in range(4)), 12)
        2.0
    """
    check_nonnegative(budget=budget)
    check_positive(weight_decay=weight_decay)
    if isinstance(rule, Memory):
        raise ValueError(f"{rule!r} depends on the run; record a trace and replay it instead")
    rates = torch.as_tensor(lrs, dtype=torch.float64).tolist()
    spent = weight_decay * sum(lr * rule(step) for step, lr in enumerate(rates))
    if not spent > 0:
        raise ValueError(
            f"{rule!r} spends {spent} over {len(rates)} steps, which no number scales to {budget}"
        )
    return times(rule, constant(budget / spent))


class Recording:
    """The values that an entry had at each optimizer step: one trace a group.

    Example:
        >>> w = torch.nn.Parameter(torch.ones(1))
        >>> optimizer = torch.optim.SGD([w], lr=0.1, weight_decay=0.5)
        >>> recording = record(optimizer)
        >>> optimizer.step()
        >>> recording.trace()
        [0.5]
    """

    def __init__(self, optimizers: Sequence[Optimizer], entry: str) -> None:
        self._traces: dict[tuple[int, int], list[float]] = {}
        self._entry = entry
        self._handles = [
            optimizer.register_step_post_hook(self._hook(index))
            for index, optimizer in enumerate(optimizers)
        ]

    def _hook(self, index: int) -> Any:
        def note(optimizer: Optimizer, *_: Any) -> None:
            for position, group in enumerate(optimizer.param_groups):
                if is_number(group.get(self._entry)):
                    trace = self._traces.setdefault((index, position), [])
                    trace.append(float(group[self._entry]))

        return note

    def trace(self, group: int = 0) -> list[float]:
        """The values of one group, counted over all optimizers."""
        traces = [self._traces[key] for key in sorted(self._traces)]
        if not traces or not 0 <= group < len(traces):
            raise ValueError(f"no trace of group {group}; {len(traces)} groups were recorded")
        return list(traces[group])

    def remove(self) -> None:
        """Stop recording. The traces stay."""
        for handle in self._handles:
            handle.remove()


def record(optimizer: Optimizer | Iterable[Optimizer], entry: str = "weight_decay") -> Recording:
    """Note what an entry is at every optimizer step, whoever drives it.

    Example:
        >>> w = torch.nn.Parameter(torch.ones(1))
        >>> optimizer = torch.optim.SGD([w], lr=0.1, weight_decay=0.5)
        >>> recording = record(optimizer)
        >>> for decay in (0.5, 0.25):
        ...     optimizer.param_groups[0]["weight_decay"] = decay
        ...     optimizer.step()
        >>> recording.trace()
        [0.5, 0.25]
    """
    return Recording(hooked_optimizers(optimizer), entry)


@dataclass(frozen=True, init=False, repr=False)
class replay(Readable):
    """The factors that repeat a trace: ``values[t] / initial``, and the last one after its end.

    Args:
        values: A trace, such as `Recording.trace`.
        initial: The base value of the optimizer that replays it.

    Raises:
        ValueError: If the trace is empty or holds a negative number, or ``initial`` is 0.

    Example:
        >>> [replay([0.5, 0.25], initial=0.5)(step) for step in range(3)]
        [1.0, 0.5, 0.5]
    """

    values: tuple[float, ...]
    initial: float = 1.0

    def __init__(self, values: Sequence[float] | Tensor, initial: float = 1.0) -> None:
        trace = tuple(torch.as_tensor(values, dtype=torch.float64).reshape(-1).tolist())
        if not trace:
            raise ValueError("values is empty; record a run first")
        for value in trace:
            check_nonnegative(values=value)
        check_positive(initial=initial)
        object.__setattr__(self, "values", trace)
        object.__setattr__(self, "initial", float(initial))

    def __call__(self, step: float) -> float:
        return self.values[min(int(step), len(self.values) - 1)] / self.initial

    def __repr__(self) -> str:
        return f"replay(<{len(self.values)} values>, initial={self.initial:g})"


def shuffle(
    values: Sequence[float] | Tensor, seed: int = 0, *, lrs: Sequence[float] | Tensor | None = None
) -> list[float]:
    """The same values in another order: the control for a schedule's order.

    Args:
        values: A trace.
        seed: Of the permutation; the global random state is left alone.
        lrs: If given, the shuffled trace is scaled to the same Σ ηλ as the original.

    Example:
        >>> sorted(shuffle([3.0, 1.0, 2.0], seed=1))
        [1.0, 2.0, 3.0]
    """
    trace = torch.as_tensor(values, dtype=torch.float64).reshape(-1)
    order = torch.randperm(len(trace), generator=torch.Generator().manual_seed(seed))
    mixed = trace[order]
    if lrs is not None:
        rates = torch.as_tensor(lrs, dtype=torch.float64).reshape(-1)
        if len(rates) != len(trace):
            raise ValueError(f"lrs has {len(rates)} entries for {len(trace)} values")
        mixed = mixed * ((rates * trace).sum() / (rates * mixed).sum())
    return mixed.tolist()
