"""`tie`: weight decay that follows the learning rate by itself, as a hook before each step.

The hook reads the lr that this very step uses, so there is nothing to call in the loop and no
order to get wrong. It survives ``optimizer.load_state_dict`` in any order after `tie`. Hooks are
no part of a copied or unpickled optimizer: tie the copy again with `Tie.onto`.
"""

from __future__ import annotations

import warnings
import weakref
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from etalambda.schedule.coupling import Coupling, check_peak, find_coupling
from etalambda.schedule.entries import (
    Only,
    chosen,
    declared_peak,
    hooked_optimizers,
    is_number,
    own_tensors,
    step_lr,
    write,
)


def tie(
    optimizer: Optimizer | Iterable[Optimizer],
    coupling: str | Coupling = "matched",
    *,
    peak_lr: float | Sequence[float] | None = None,
    only: Only = None,
) -> Tie:
    """Tie each group's weight decay to its learning rate. One line; call it after building both.

    Groups whose weight decay is 0 keep it. Groups added later are tied as well. Tie before
    ``optimizer.load_state_dict``: a checkpoint holds the decay of its last step, not the base.

    Args:
        optimizer: One optimizer or several.
        coupling: ``decoupled``, ``independent``, ``matched``, ``palm``, ``inverse``,
            ``constant_product``, or a function ``(lr, peak_lr) -> factor``.
        peak_lr: η_max, one number or one a group; by default what each group declares:
            ``max_lr``, ``initial_lr``, else its lr now.
        only: Which groups: a function of the group, positions, or parameters (groups that hold
            nothing else), such as the weights that a normalization follows.

    Returns:
        A handle with ``remove()``, ``update()`` and ``onto(optimizer)``.

    Raises:
        ValueError: Unknown coupling, a peak that is 0, no group left to tie, or a group of which
            only a part is in ``only``. Nothing has changed then.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.ones(2))
        >>> optimizer = torch.optim.AdamW([w], lr=0.1, weight_decay=0.5)
        >>> handle = tie(optimizer, "matched")
        >>> optimizer.param_groups[0]["lr"] = 0.05  # any scheduler, or you
        >>> optimizer.step()
        >>> optimizer.param_groups[0]["weight_decay"]
        0.25
    """
    return Tie(hooked_optimizers(optimizer), find_coupling(coupling), peak_lr, only)


@dataclass
class _Group:
    """What the tie knows of one param group. Keys added to the group itself would break the
    loading of older flattened checkpoints."""

    base: float
    peak_lr: float
    tied: bool
    given: bool = False  # whether peak_lr was given, and so outranks what the group declares
    written: float | None = None
    declared: tuple[Any, float] = (None, 0.0)  # the object that declares the peak, and its value


class Tie:
    """The handle that `tie` returns. Keeps no optimizer alive.

    Example:
        >>> w = torch.nn.Parameter(torch.ones(2))
        >>> optimizer = torch.optim.AdamW([w], lr=0.1, weight_decay=0.5)
        >>> handle = tie(optimizer, "palm")
        >>> optimizer.step()
        >>> optimizer.param_groups[0]["weight_decay"]
        0.05
        >>> handle.remove()
        >>> optimizer.param_groups[0]["weight_decay"]
        0.5
    """

    def __init__(
        self,
        optimizers: Sequence[Optimizer],
        coupling: Coupling,
        peak_lr: float | Sequence[float] | None = None,
        only: Only = None,
        known: list[list[_Group]] | None = None,
    ) -> None:
        self._coupling, self._warned = coupling, False
        self._only = list(only) if isinstance(only, Iterable) else only
        self._peaks = list(peak_lr) if isinstance(peak_lr, Sequence) else peak_lr
        self._optimizers = [weakref.ref(optimizer) for optimizer in optimizers]
        self._groups: list[list[_Group]] = known or [[] for _ in optimizers]
        own_tensors(optimizers, "weight_decay")
        for index, optimizer in enumerate(optimizers):
            self._adopt(index, optimizer)
        self._check(optimizers)
        self.update()
        self._handles = [
            register(_Hook(self, index, after_load))
            for index, optimizer in enumerate(optimizers)
            for register, after_load in (
                (optimizer.register_step_pre_hook, False),
                (optimizer.register_load_state_dict_post_hook, True),
            )
        ]

    @property
    def bases(self) -> list[float]:
        """The weight decay of each group at factor 1, in order."""
        return [group.base for groups in self._groups for group in groups]

    def update(self) -> None:
        """Write every group's weight decay for its lr now. A replayed CUDA graph runs no hooks."""
        for index, reference in enumerate(self._optimizers):
            if (optimizer := reference()) is not None:
                self._drive(index, optimizer)

    def onto(self, optimizer: Optimizer | Iterable[Optimizer]) -> Tie:
        """Tie a copy of the optimizers in the same way: same base values, same peaks.

        For a deep copy, an unpickled optimizer, or branches that cool down from one checkpoint.

        Raises:
            ValueError: If the number of optimizers or groups is another.
        """
        copies = hooked_optimizers(optimizer)
        ours, theirs = [len(g) for g in self._groups], [len(o.param_groups) for o in copies]
        if ours != theirs:
            raise ValueError(f"the copy has {theirs} groups an optimizer, this tie has {ours}")
        fresh = dict(written=None, declared=(None, 0.0))
        known = [[replace(g, **fresh) for g in groups] for groups in self._groups]
        return Tie(copies, self._coupling, self._peaks, self._only, known)

    def remove(self) -> None:
        """Untie: the groups get their base values back."""
        for handle in self._handles:
            handle.remove()
        self._handles = []
        for reference, known in zip(self._optimizers, self._groups):
            optimizer = reference()
            for group, ours in zip(optimizer.param_groups if optimizer else [], known):
                if ours.tied:
                    write(group, "weight_decay", ours.base)

    def __repr__(self) -> str:
        tied = [f"{g.base:g}" if g.tied else "-" for groups in self._groups for g in groups]
        name = getattr(self._coupling, "__name__", repr(self._coupling))
        return f"Tie({name}, weight_decay at factor 1: {', '.join(tied)})"

    def _adopt(self, index: int, optimizer: Optimizer) -> None:
        """Take note of groups that are new: base value, peak, and whether they are tied."""
        known = self._groups[index]
        for group in optimizer.param_groups[len(known) :]:
            position = sum(map(len, self._groups))
            held = group.get("weight_decay", 0.0)
            base = float(held) if is_number(held) else 0.0
            peak = self._peaks
            if isinstance(peak, list):
                peak = peak[position] if position < len(peak) else None
            lr = float(group["lr"]) if peak is None else float(peak)
            tied = base != 0 and chosen(self._only, group, position)
            known.append(_Group(base, lr, tied, peak is not None))

    def _check(self, optimizers: Sequence[Optimizer]) -> None:
        """Find an error before anything is written or hooked."""
        if isinstance(self._peaks, list) and len(self._peaks) != sum(map(len, self._groups)):
            raise ValueError(
                f"peak_lr has {len(self._peaks)} entries for {sum(map(len, self._groups))} groups; "
                "give one number, or one a group"
            )
        if not any(group.tied for groups in self._groups for group in groups):
            raise ValueError(
                "no group to tie: weight_decay is 0 in all of them, or `only` excludes them; "
                "set weight_decay in the optimizer: its value is the one at factor 1"
            )
        for optimizer, known in zip(optimizers, self._groups):
            for group, ours in zip(optimizer.param_groups, known):
                if ours.tied:
                    check_peak(_peak(ours, group))

    def _drive(self, index: int, optimizer: Optimizer) -> None:
        known = self._groups[index]
        if len(optimizer.param_groups) > len(known):
            self._adopt(index, optimizer)
        ours_own = optimizer is self._optimizers[index]()  # a rehearsal may pass a twin
        for group, ours in zip(optimizer.param_groups, known):
            if not ours.tied:
                continue
            if ours_own:
                self._guard(group, ours)
            value = ours.base * self._coupling(step_lr(group), _peak(ours, group))
            held = group["weight_decay"]
            if isinstance(held, Tensor):
                held.copy_(value) if isinstance(value, Tensor) else held.fill_(value)
            else:
                group["weight_decay"] = float(value)
                ours.written = float(value) if ours_own else ours.written

    def _guard(self, group: dict[str, Any], ours: _Group) -> None:
        """Say once that someone else writes what the tie drives; plain numbers only."""
        held = group["weight_decay"]
        if self._warned or ours.written is None or isinstance(held, Tensor):
            return
        if held != ours.written:
            self._warned = True
            warnings.warn(
                f"weight_decay of a group was set to {held}, but it is tied to the learning rate, "
                f"which makes it {ours.written}; the tie overwrites it. To change the value at "
                "factor 1, remove() the tie, set it, and tie again",
                stacklevel=4,
            )


def _peak(ours: _Group, group: dict[str, Any]) -> float:
    """η_max; a declaration that is a tensor on a device is read once, not at every step."""
    said = group.get("max_lr")
    said = group.get("initial_lr") if said is None else said
    if ours.given or said is None:
        return ours.peak_lr
    if ours.declared[0] is not said:
        ours.declared = said, declared_peak(group, ours.peak_lr)
    return ours.declared[1]


class _Hook:
    """Before a step: drive. After a load: what stands in the groups is not someone's doing."""

    def __init__(self, owner: Tie, index: int, after_load: bool) -> None:
        self._owner, self._index, self._after_load = owner, index, after_load

    @torch.compiler.disable
    def __call__(self, optimizer: Optimizer, *_: Any) -> None:
        if self._after_load:
            for group in self._owner._groups[self._index]:
                group.written = None
        self._owner._drive(self._index, optimizer)
