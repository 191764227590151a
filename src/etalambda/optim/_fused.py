"""What the fused engines share: which tensors one call takes, sums, and rounding as in a kernel."""

import math
from functools import lru_cache
from operator import attrgetter
from typing import Any

import torch
from torch import Tensor

from etalambda.optim._base import Lists

CHUNK = 1 << 18  # elements a dot product: accurate to 1e-7, and still in cache afterwards
SMALL = 1 << 12  # elements below which gradients are put together
BLOCK = 1 << 16  # elements a block of the AMSGrad pass: four blocks fit a core's cache
DTYPE = attrgetter("dtype")
VERSION = attrgetter("_version")
KIND = attrgetter("device", "dtype")


def alike(lists: Lists) -> list[list[int]]:
    """Indices of tensors of one device, dtype and age, which one call can take together."""
    kinds = set(map(KIND, lists.weights))
    same_age = len(set(map(id, lists.steps))) <= 1 or all(map(_elsewhere, lists.steps))
    if len(kinds) == 1 and same_age and dense_together(lists):
        return [list(range(len(lists.weights)))]
    found: dict[Any, list[int]] = {}
    on_host = [s.item() if s.device.type == "cpu" else None for s in lists.steps]
    on_host = on_host or [None] * len(lists.weights)
    for index, w in enumerate(lists.weights):
        key = (*KIND(w), on_host[index], dense_together(lists.pick([index])))
        found.setdefault(key, []).append(index)
    return list(found.values())


def _elsewhere(step: Tensor) -> bool:
    """Whether a counter lies on a device, where the host does not look at it."""
    return step.device.type != "cpu"


def dense_together(lists: Lists) -> bool:
    """Whether weight, gradient and buffers have one dtype and one gap-free memory order."""
    columns = (lists.weights, lists.grads, *lists.buffers.values())
    if len({dtype for column in columns for dtype in set(map(DTYPE, column))}) > 1:
        return False
    if all(all(map(Tensor.is_contiguous, column)) for column in columns):
        return True
    rows = list(zip(*columns))
    return all(t.stride() == row[0].stride() for row in rows for t in row) and all(
        _gap_free(row[0]) for row in rows
    )


def _gap_free(tensor: Tensor) -> bool:
    """Whether the elements fill one stretch of memory, each place once (channels_last does)."""
    expected = 1
    for stride, size in sorted(zip(tensor.stride(), tensor.shape)):
        if size == 1:
            continue
        if stride != expected:
            return False
        expected *= size
    return True


def divided(grads: list[Tensor], divisor: float | Tensor) -> tuple[list[Tensor], Tensor | None]:
    """Gradients and ``grad_scale`` for a fused kernel, which divides by it in float32 only."""
    if isinstance(divisor, float) and divisor == 1:
        return grads, None
    if grads[0].dtype == torch.float64:
        return [g / divisor for g in grads], None
    return grads, torch.as_tensor(divisor, dtype=torch.float32, device=grads[0].device).reshape(())


@lru_cache
def rounded(beta2: float, dtype: torch.dtype) -> tuple[float, float]:
    """β2 and 1 - β2 as a kernel of this dtype sees them: else Σv drifts by 1e-4 in 10k steps."""
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    return torch.tensor([beta2, 1 - beta2], dtype=wide).tolist()  # type: ignore[return-value]


def flat(tensor: Tensor) -> Tensor:
    """The elements of a dense tensor in memory order, as one dimension."""
    if tensor.is_contiguous():
        return tensor.view(-1)
    return tensor.as_strided((tensor.numel(),), (1,))


def sum_of_squares(grads: list[Tensor]) -> float:
    """Σg² as chunked dot products: parallel, and exact to 1e-7 where torch's norm has 6e-4.

    Small tensors are put together first: a call costs more than their elements.
    """
    total, small = 0.0, []
    for g in grads:
        size = g.numel()
        if size > SMALL:
            total += math.fsum(_dot(c) for c in flat(g).split(CHUNK))
        else:
            small.append(g if g.dim() == 1 else flat(g))
    for start in range(0, len(small), 64):
        total += _dot(torch.cat(small[start : start + 64]))
    return total


def _dot(vector: Tensor) -> float:
    if vector.dtype not in (torch.float32, torch.float64):
        vector = vector.float()
    return torch.dot(vector, vector).item()


def versions(tensors: list[Tensor]) -> list[int]:
    """How often each tensor was written; torch's fused kernels do not count."""
    return list(map(VERSION, tensors))
