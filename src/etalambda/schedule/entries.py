"""Reading and writing what an optimizer's param groups hold: the only place that does."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from etalambda._common import as_optimizers, unknown

Only = Callable[[dict[str, Any]], bool] | Iterable[Any] | None
"""Which groups: a function of the group, positions, or parameters of groups that hold only them."""


def hooked_optimizers(optimizers: Optimizer | Iterable[Optimizer]) -> list[Optimizer]:
    """The optimizers whose hooks are called, out of their wrappers: groups live there too."""
    return [_owner_of_hooks(optimizer) for optimizer in as_optimizers(optimizers)]


def _owner_of_hooks(optimizer: Any) -> Any:
    """Out of wrappers without hooks that keep it as ``.optimizer`` (Accelerate, Lightning)."""
    while "_optimizer_step_pre_hooks" not in vars(optimizer) and hasattr(optimizer, "optimizer"):
        optimizer = optimizer.optimizer
    return optimizer


def is_number(value: Any) -> bool:
    """Whether a group entry can be driven: a number or a tensor with one element."""
    if isinstance(value, Tensor):
        return value.numel() == 1 and not value.dtype.is_complex
    return isinstance(value, int | float) and not isinstance(value, bool)


def write(group: dict[str, Any], entry: str, value: float) -> float:
    """Set a group's entry, in place if it is a tensor, and return what it now reads as.

    In place, so that a compiled or captured step sees the new value and is not compiled again.
    """
    held = group[entry]
    if isinstance(held, Tensor):
        held.fill_(value)
        return value if held.is_cuda else float(held)
    group[entry] = value
    return value


def own_tensors(optimizers: Iterable[Optimizer], entry: str) -> None:
    """Give every group a tensor of its own: a tensor passed as default is one for all groups."""
    for optimizer in optimizers:
        taken = {id(getattr(optimizer, "defaults", {}).get(entry))}
        for group in optimizer.param_groups:
            held = group.get(entry)
            if isinstance(held, Tensor):
                if id(held) in taken:
                    group[entry] = held.clone()
                taken.add(id(group[entry]))


def glance(group: dict[str, Any], entry: str) -> float | None:
    """The entry's number, or None where reading it would make the host wait for a device."""
    held = group.get(entry)
    if held is None or (isinstance(held, Tensor) and held.device.type != "cpu"):
        return None
    return float(held)


def declared_peak(group: dict[str, Any], otherwise: float) -> float:
    """The peak of a group's learning rate, as declared; never a maximum of what was seen.

    ``max_lr`` (OneCycleLR, Megatron), else ``initial_lr`` (every other scheduler of torch), else
    ``otherwise``: the lr that the group had when the schedule was built.
    """
    for key in ("max_lr", "initial_lr"):
        if is_number(group.get(key)) and math.isfinite(peak := float(group[key])):
            return peak
    return otherwise


def step_lr(group: dict[str, Any]) -> Any:
    """η of the coming step. Schedule-free optimizers warm up inside, so ``lr`` is not yet it."""
    lr, warmup = group["lr"], group.get("warmup_steps")
    if warmup and "k" in group and "lr_max" in group:
        return lr * min((group["k"] + 1) / warmup, 1.0)
    return lr


def drivable(groups: Iterable[dict[str, Any]]) -> list[str]:
    """The names of all entries that hold numbers in some group."""
    return list(dict.fromkeys(k for group in groups for k, v in group.items() if is_number(v)))


def check_entries(groups: Sequence[dict[str, Any]], entries: Iterable[str]) -> None:
    """Raise a ValueError for entries that cannot be driven: unknown, or 0 in every group."""
    entries, known = list(entries), drivable(groups)
    if not groups:
        raise ValueError("only excludes every param group; there is nothing to drive")
    if not entries:
        raise ValueError(f"no rule given; pass one by entry, such as weight_decay=; has: {known}")
    for entry in entries:
        if entry not in known:
            raise unknown("group entry", entry, known)
        if not any(float(g[entry]) for g in groups if is_number(g.get(entry))):
            raise ValueError(
                f"{entry} is 0 in every group, and a factor of 0 stays 0; "
                f"give the optimizer the {entry} that factor 1 shall stand for"
            )


def chosen(only: Only, group: dict[str, Any], position: int) -> bool:
    """Whether ``only`` selects a group.

    Raises:
        ValueError: If it selects a part of the group's tensors.
    """
    if only is None:
        return True
    if callable(only):
        return bool(only(group))
    only = list(only)
    if all(isinstance(entry, int) for entry in only):
        return position in only
    ids = {id(entry) for entry in only}
    inside = [id(p) in ids for p in group["params"]]
    if any(inside) and not all(inside):
        raise ValueError(
            f"only {sum(inside)} of the {len(inside)} tensors of group {position} are in `only`; "
            "weight decay is one number a group: give them a group of their own"
        )
    return all(inside)
