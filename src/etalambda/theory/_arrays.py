"""Arguments of closed forms: numbers, sequences, arrays and tensors become float64 tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

ArrayLike = float | Sequence[Any] | Tensor | Any


def float64(**values: ArrayLike) -> list[Tensor]:
    """Each argument as a float64 tensor on the CPU, in order; NaN is refused by name.

    >>> float64(t=[1, 2])
    [tensor([1., 2.], dtype=torch.float64)]
    """
    found = [torch.as_tensor(value, dtype=torch.float64).cpu() for value in values.values()]
    for name, tensor in zip(values, found, strict=True):
        if tensor.isnan().any():
            raise ValueError(f"{name} must not hold NaN; drop or mend these entries first")
    return found


def nonnegative(**values: ArrayLike) -> list[Tensor]:
    """As ``float64``, and every entry is at least 0.

    >>> nonnegative(noise=-1.0)
    Traceback (most recent call last):
    ValueError: noise must be at least 0 everywhere, got -1.0
    """
    found = float64(**values)
    for name, tensor in zip(values, found, strict=True):
        if (tensor < 0).any():
            raise ValueError(f"{name} must be at least 0 everywhere, got {tensor.min().item()}")
    return found


def positive(**values: ArrayLike) -> list[Tensor]:
    """As ``float64``, and every entry is above 0.

    >>> positive(lr=0.0)
    Traceback (most recent call last):
    ValueError: lr must be above 0 everywhere, got 0.0
    """
    found = float64(**values)
    for name, tensor in zip(values, found, strict=True):
        if (tensor <= 0).any():
            raise ValueError(f"{name} must be above 0 everywhere, got {tensor.min().item()}")
    return found
