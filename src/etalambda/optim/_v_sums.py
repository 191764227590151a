"""Σv from step to step: what the recursion of v has it at, and how a saved run takes it along.

The recursion and the sum of the tensors round differently (1e-7 in float32), so a run that goes on
and one that is resumed are equal to the last bit only if both have the same number. It is not a
function of the moments; so it is saved beside them, with the sum that the tensors have at that
moment: whoever loads other tensors, or adds them up in another order, takes the sum instead.
"""

import math
from operator import is_
from typing import Any

import torch
from torch import Tensor

from etalambda.optim._base import plain
from etalambda.optim._fused import versions

KEY = "v_sums"  # beside "state" and "param_groups" in what is saved


class Memory:
    """Σv of some tensors, and which tensors and versions of them it was taken from."""

    __slots__ = ("sum", "tensors", "versions")

    def __init__(self, tensors: list[Tensor]) -> None:
        self.tensors, self.versions, self.sum = tensors, list[int](), 0.0

    def of(self, tensors: list[Tensor]) -> bool:
        """Whether it was made of exactly these tensors."""
        return len(tensors) == len(self.tensors) and all(map(is_, tensors, self.tensors))

    def holds(self, tensors: list[Tensor]) -> bool:
        """The same, and nobody else has written to them since."""
        return self.of(tensors) and self.versions == versions(tensors)


def remembered(memory: dict[Tensor, Memory], params: list[Tensor], squares: list[Tensor]) -> float:
    """Σv of the last step; summed anew for other tensors, or if someone else wrote to them."""
    known = memory.get(params[0])
    if known is not None and known.holds(squares):
        return known.sum
    return measured(squares)


def measured(squares: list[Tensor]) -> float:
    """Σv as the tensors have it."""
    return math.fsum(v.sum(dtype=torch.float64).item() for v in squares)


def remember(
    memory: dict[Tensor, Memory], params: list[Tensor], squares: list[Tensor], v_sum: float
) -> None:
    """Keep Σv under every parameter: no record of one of them from other company survives."""
    known = memory.get(params[0])
    if known is None or not known.of(squares):
        known = Memory(squares)
        for p in params:
            before = memory.get(p)
            if before is not None:
                before.tensors = []
            memory[p] = known
    known.versions, known.sum = versions(squares), v_sum


def saved(optimizer: Any, memory: dict[Tensor, Memory]) -> list[dict[str, Any]]:
    """Every Σv that still holds, by the places of its parameters."""
    every = _params(optimizer)
    found: dict[Memory, list[int]] = {}
    for place, p in enumerate(every):
        if p in memory:
            found.setdefault(memory[p], []).append(place)
    rows = []
    for known, places in found.items():
        squares = _squares(optimizer, [every[i] for i in places])
        if squares and known.holds(squares):
            rows.append(dict(params=places, sum=known.sum, measured=measured(squares)))
    return rows


def restore(optimizer: Any, memory: dict[Tensor, Memory], rows: list[dict[str, Any]]) -> None:
    """Go on with each sum of `saved` whose tensors are here as they were there."""
    every = _params(optimizer)
    for row in rows:
        if max(row["params"]) < len(every):
            params = [every[i] for i in row["params"]]
            squares = _squares(optimizer, params)
            if squares and measured(squares) == row["measured"]:
                remember(memory, params, squares, row["sum"])


def _params(optimizer: Any) -> list[Tensor]:
    return [p for group in optimizer.param_groups for p in group["params"]]


@torch.no_grad()
def _squares(optimizer: Any, params: list[Tensor]) -> list[Tensor]:
    """Their second moments, or none if one has none."""
    states = [optimizer.state.get(p, {}) for p in params]
    if not all("exp_avg_sq" in state for state in states):
        return []
    return [plain(state["exp_avg_sq"]) for state in states]
