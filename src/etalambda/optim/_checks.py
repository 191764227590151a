"""Arguments checked as torch does: its words first, so that its tests pass, then the remedy."""

import math
from typing import Any

from torch import Tensor

FUSED_DEVICES = ("cpu", "cuda", "mps", "xpu")


def check_lr(lr: float | Tensor, foreach: bool | None = None, capturable: bool = False) -> None:
    """torch's errors for a learning rate, with the remedy."""
    if isinstance(lr, Tensor):
        if lr.numel() != 1:  # before comparing: a longer tensor has no truth value
            raise ValueError(f"Tensor lr must be 1-element, got shape {tuple(lr.shape)}")
        if foreach and not capturable:
            raise ValueError(
                "lr as a Tensor is not supported for capturable=False and foreach=True; "
                "leave foreach out, or pass a number"
            )
    check_at_least_zero("learning rate", lr, "lr")


def check_at_least_zero(words: str, value: float | Tensor, name: str) -> None:
    """``Invalid learning rate: -1; lr must ...``: torch's text first, then the remedy."""
    if isinstance(value, Tensor) and value.numel() != 1:
        raise ValueError(f"Tensor {name} must be 1-element, got shape {tuple(value.shape)}")
    if not 0.0 <= value < math.inf:
        raise ValueError(f"Invalid {words}: {value}; {name} must be a finite number of at least 0")


def check_betas(
    betas: tuple[float | Tensor, float | Tensor], foreach: bool | None, capturable: bool
) -> tuple[float | Tensor, float | Tensor]:
    """Two floats, or two 1-element tensors, in [0, 1); returned as a tuple."""
    for index, beta in enumerate(betas):
        if isinstance(beta, Tensor) and beta.numel() != 1:
            raise ValueError(f"Tensor betas[{index}] must be 1-element")
        if not 0.0 <= beta < 1.0:
            raise ValueError(
                f"Invalid beta parameter at index {index}: {beta}; betas must lie in [0, 1)"
            )
    if len({isinstance(beta, Tensor) for beta in betas}) > 1:
        raise ValueError("betas must be either both floats or both Tensors")
    if isinstance(betas[0], Tensor) and foreach and not capturable:
        raise ValueError(
            "betas[0] as a Tensor is not supported for capturable=False and foreach=True"
        )
    return (betas[0], betas[1])


def check_flags(flags: dict[str, Any]) -> None:
    """Refuse flags that exclude each other, in torch's words."""
    if flags.get("fused") and flags.get("differentiable"):
        raise RuntimeError("`fused` does not support `differentiable`; choose one")
    if flags.get("fused") and flags.get("foreach"):
        raise RuntimeError("`fused` and `foreach` cannot be `True` together.")
    if flags.get("foreach") and flags.get("differentiable"):
        raise RuntimeError("`foreach` does not support `differentiable`; choose one")


def check_fused(p: Tensor) -> None:
    """torch's error for a parameter that no fused kernel takes."""
    if p.device.type not in FUSED_DEVICES or not (p.is_floating_point() or p.is_complex()):
        raise RuntimeError(
            "`fused=True` requires all the params to be floating point Tensors of supported "
            f"devices: {list(FUSED_DEVICES)}, got {p.dtype} on {p.device}; leave fused out"
        )
