"""Weight decay as a learning rate: the exact exponential schedule without decay.

Li & Arora 2020 and Li, Lyu & Arora 2020, Section on exponential learning rates, made exact for any
schedule (LLA-X1, X2). If the loss does not change when all weights are scaled, SGD with η_t and
L2 λ_t visits the same directions as SGD without L2 and

    η̃_t = η_t / (P_t P_{t+1}),   P_0 = 1,   P_{t+1} = (1 - η_t λ_t) P_t             (LLA-X1)

and w_t = P_t u_t. With momentum β, P is the path of pure decay under the same momentum:
p ← βp + λ_t P, P ← P - η_t p (LLA-X2). At constant η, λ: η̃_t = η (1 - ηλ)^-(2t+1), and with
momentum P_{t+1}/P_t tends to the larger root of α² - (1 + β - ηλ) α + β = 0 (LLA-X3).

    paper   η    λ             β          P_t     η̃_t
    code    lr   weight_decay  momentum   norms   lrs_without_decay

Not for Nesterov momentum or Adam: their steps mix gradients taken at different scales.

Departures from the paper: the printed exponent -2t belongs to "shrink after the step"; for SGD as
torch has it -(2t + 1) is exact.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from etalambda._common import check_nonnegative


def to_exponential_lr(
    lrs: Sequence[float] | Tensor,
    weight_decays: float | Sequence[float] | Tensor,
    momentum: float = 0.0,
    *,
    optimizer: Any = None,
) -> tuple[Tensor, Tensor]:
    """Learning rates that do without weight decay what a schedule does with it.

    Exact for SGD (torch's form, zero initial buffers, no dampening) on a loss that is invariant to
    the scale of all decayed weights together.

    Args:
        lrs: η_t, one a step.
        weight_decays: λ_t, one a step or one number.
        momentum: β.
        optimizer: If given, an optimizer or its name, checked for whether the equivalence holds.

    Returns:
        ``(lrs_without_decay, norms)``: η̃_t of shape ``(steps,)`` and P_t of shape ``(steps + 1,)``,
        float64. ``w_t = norms[t] * u_t``.

    Raises:
        ValueError: If P_t <= 0 at some step (too much decay), η̃ overflows float64, lengths differ,
            or the optimizer has no such equivalent; the message says why.

    Source: LLA-X1, LLA-X2.

    Example:
        >>> lrs, norms = to_exponential_lr([0.1, 0.1], 0.5)
        >>> [round(lr, 4) for lr in lrs.tolist()], [round(p, 4) for p in norms.tolist()]
        ([0.1053, 0.1166], [1.0, 0.95, 0.9025])
    """
    _check_optimizer(optimizer)
    pairs = _pairs(lrs, weight_decays)
    norms = [1.0]
    for ratio in shrinkage(*pairs, momentum=momentum):
        norms.append(norms[-1] * ratio)
    path = torch.tensor(norms, dtype=torch.float64)
    without = torch.tensor(pairs[0], dtype=torch.float64) / path[:-1] / path[1:]
    if not torch.isfinite(without).all():
        step = int((~torch.isfinite(without)).nonzero()[0])
        raise ValueError(
            f"the learning rate without decay overflows at step {step}; use ExponentialLR, which "
            "renormalises the weights as it goes"
        )
    return without, path


def shrinkage(
    lrs: Sequence[float], weight_decays: Sequence[float], momentum: float = 0.0
) -> list[float]:
    """α_t = P_{t+1}/P_t: what pure decay leaves of a weight at each step; never overflows.

    Raises:
        ValueError: If α_t <= 0 at some step.

    Source: LLA-X2. Without momentum α_t = 1 - η_t λ_t.

    Example:
        >>> shrinkage([0.1, 0.1], [0.5, 0.5])
        [0.95, 0.95]
    """
    check_nonnegative(momentum=momentum)
    if momentum >= 1:
        raise ValueError(f"momentum must be below 1, got {momentum}")
    ratios, velocity = [], 0.0  # velocity is p_t / P_t
    for step, (lr, weight_decay) in enumerate(zip(lrs, weight_decays)):
        velocity = momentum * velocity + weight_decay
        ratio = 1 - lr * velocity
        if not ratio > 0:
            raise ValueError(
                f"decay takes the weights to {ratio:.3g} of themselves at step {step} "
                f"(lr={lr}, weight_decay={weight_decay}, momentum={momentum}); there is no "
                "equivalent once a weight changes sign: lower lr * weight_decay"
            )
        velocity /= ratio
        ratios.append(ratio)
    return ratios


def limiting_ratio(lr: float, weight_decay: float, momentum: float = 0.0) -> float:
    """α, the limit of P_{t+1}/P_t at constant lr and decay: the larger root (LLA-X3).

    Raises:
        ValueError: If ηλ > (1 - √β)²: decay then oscillates, and P changes sign.

    Example:
        >>> round(limiting_ratio(0.1, 0.01, momentum=0.9), 6)
        0.988873
    """
    check_nonnegative(lr=lr, weight_decay=weight_decay, momentum=momentum)
    rate, limit = lr * weight_decay, (1 - math.sqrt(momentum)) ** 2
    if rate > limit:
        raise ValueError(
            f"lr * weight_decay = {rate:.3g} is above (1 - √momentum)² = {limit:.3g}; decay "
            "oscillates there: lower one of them"
        )
    middle = 1 + momentum - rate
    return (middle + math.sqrt(max(middle**2 - 4 * momentum, 0.0))) / 2


class ExponentialLR:
    """Drives SGD without decay along η̃_t, and renormalises weights and buffers before overflow.

    u ← u/c, η̃ ← η̃/c², buffer ← c·buffer leaves every direction as it is. Every parameter must be
    part of the scale-invariant whole.

    Args:
        optimizer: torch's SGD with ``weight_decay=0``.
        lrs, weight_decays: The schedule with decay, one entry a step.
        limit: Renormalise when P falls below ``1 / limit``.

    Raises:
        ValueError: If the optimizer has no such equivalent, or still has weight decay.

    Example:
        >>> w = torch.nn.Parameter(torch.tensor([3.0, 4.0]))
        >>> optimizer = torch.optim.SGD([w], lr=1.0)
        >>> handle = ExponentialLR(optimizer, [0.1, 0.1], [0.5, 0.5])
        >>> w.grad = torch.zeros(2)
        >>> optimizer.step()
        >>> round(optimizer.param_groups[0]["lr"], 4)
        0.1053
    """

    def __init__(
        self,
        optimizer: Optimizer,
        lrs: Sequence[float] | Tensor,
        weight_decays: float | Sequence[float] | Tensor,
        *,
        limit: float = 1e6,
    ) -> None:
        _check_optimizer(optimizer)
        (momentum,) = {group["momentum"] for group in optimizer.param_groups}
        if any(group["weight_decay"] for group in optimizer.param_groups):
            raise ValueError("the optimizer still has weight_decay; set it to 0")
        self._optimizer, self._limit = optimizer, limit
        self._lrs, decays = _pairs(lrs, weight_decays)
        self._ratios = shrinkage(self._lrs, decays, momentum)
        self._step, self._norm = 0, 1.0
        self._handles = [
            optimizer.register_step_pre_hook(self._before),
            optimizer.register_step_post_hook(self._after),
        ]

    @property
    def norm(self) -> float:
        """w_t = norm · u_t, with u_t what the parameters hold now."""
        return self._norm

    def _before(self, *_: Any) -> None:
        if self._step >= len(self._lrs):
            raise ValueError(f"the schedule ends after {len(self._lrs)} steps; give it more")
        after = self._norm * self._ratios[self._step]
        for group in self._optimizer.param_groups:
            group["lr"] = self._lrs[self._step] / (self._norm * after)

    @torch.no_grad()
    def _after(self, *_: Any) -> None:
        self._norm *= self._ratios[self._step]
        self._step += 1
        if self._norm < 1 / self._limit:
            for group in self._optimizer.param_groups:
                for p in group["params"]:
                    p.mul_(self._norm)
                    buffer = self._optimizer.state[p].get("momentum_buffer")
                    if buffer is not None:
                        buffer.div_(self._norm)
            self._norm = 1.0

    def remove(self) -> None:
        """Leave the optimizer to itself."""
        for handle in self._handles:
            handle.remove()


def _pairs(lrs: Any, weight_decays: Any) -> tuple[list[float], list[float]]:
    rates = torch.as_tensor(lrs, dtype=torch.float64).reshape(-1).tolist()
    decays = torch.as_tensor(weight_decays, dtype=torch.float64).reshape(-1).tolist()
    decays = decays * len(rates) if len(decays) == 1 else decays
    if not rates or len(rates) != len(decays):
        raise ValueError(
            f"lrs has {len(rates)} entries and weight_decays {len(decays)}; give one a step each"
        )
    for lr, decay in zip(rates, decays):
        check_nonnegative(lrs=lr, weight_decays=decay)
    return rates, decays


def _check_optimizer(optimizer: Any) -> None:
    """Refuse what has no exact equivalent, and say why."""
    if optimizer is None:
        return
    name = optimizer if isinstance(optimizer, str) else type(optimizer).__name__
    if name.lower() != "sgd":
        raise ValueError(
            f"{name} has no exponential-lr equivalent: its averages mix gradients taken at "
            "different scales of the weights; only SGD (with or without momentum) has one"
        )
    for group in getattr(optimizer, "param_groups", []):
        if group.get("nesterov") or group.get("dampening"):
            raise ValueError(
                "SGD with nesterov or dampening has no exponential-lr equivalent: the look-ahead "
                "is at another scale; use nesterov=False, dampening=0"
            )
