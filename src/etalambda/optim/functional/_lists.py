"""What every update rule shares: the types, and one value a tensor from one for all."""

from typing import Any

from torch import Tensor

Number = float | Tensor
Numbers = Number | list[Any] | tuple[Any, ...]
Tensors = list[Tensor]
State = dict[str, Any]
Updated = tuple[Tensors, State]


def spread(value: Numbers, count: int) -> list[Number]:
    """``value`` once a tensor: a list is taken as it is, a number or 0-d tensor is repeated."""
    if isinstance(value, list | tuple):
        if len(value) != count:
            raise ValueError(f"got {len(value)} values for {count} tensors; pass one a tensor")
        return list(value)
    return [value] * count


def advance(step: Numbers) -> Numbers:
    """``step`` after one more update, in the form that it has."""
    return [s + 1 for s in step] if isinstance(step, list | tuple) else step + 1


def like(tensors: Tensors, models: Tensors) -> Tensors:
    """``tensors`` in the dtypes of ``models``: 0-d float64 hyperparameters promote 0-d weights."""
    return [t if t.dtype == m.dtype else t.to(m.dtype) for t, m in zip(tensors, models)]
