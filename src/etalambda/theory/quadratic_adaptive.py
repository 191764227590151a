r"""What weight decay does to the end point of adaptive methods, and what unstable decay costs.

Xie et al. 2022, *Understanding and Scheduling Weight Decay*, eqs. (8) to (11) and Theorem 1. The
idea: a decay that is not scaled as the step is moves the minimum whenever the scale of the step
does. On a quadratic, with v frozen and D = diag(√v),

    θ = (1 - ηλ) θ - η v^(-1/2) g            μ = -(H + λD)⁻¹ λD θ*          AdamW   (8), (9)
    θ = (1 - η v^(-1/2) λ) θ - η v^(-1/2) g  μ = -λ (H + λI)⁻¹ θ*           elementwise  (10)
    θ = (1 - η v̄^(-p) λ) θ - η v^(-1/2) g    μ = -(H + λ v̄^(-p) D)⁻¹ λ v̄^(-p) D θ*  AdamS  (11)

and under θ = (1 - λ') θ - η_t g, eq. (1), whose step-t objective is L + (λ'/2η_t)‖θ‖² (12), a
bounded η_t that keeps changing by δ or more can converge to nothing but 0 (Theorem 1).

    paper   H        θ*       λ, λ'         v              p      η_t  μ
    code    hessian  minimum  weight_decay  second_moment  power  lrs  adaptive_bias

Departures from the paper: (9) is printed as -λD (H + λD)⁻¹ θ*, right only if D and H commute.
(11)'s bias, not printed, still depends on v: AdamS is stable in the mean of v only. Theorem 1 is
false for unbounded η_t (``theorem1_counterexample``), its condition must name ∇f_t, not ∇L, and
(13) has the wrong sign: ∇f_{t+1}(θ*) = λ' (1/η_{t+1} - 1/η_t) θ*.
"""

from __future__ import annotations

import torch
from torch import Tensor

from etalambda._common import check_positive, unknown
from etalambda.theory._arrays import ArrayLike, float64, nonnegative, positive

COUPLINGS = ("decoupled", "elementwise", "mean")


def adaptive_bias(
    hessian: ArrayLike,
    minimum: ArrayLike,
    weight_decay: float,
    second_moment: ArrayLike,
    coupling: str = "decoupled",
    power: float = 0.5,
) -> Tensor:
    """μ = θ_∞ - θ* of Adam-like steps with v frozen, eqs. (9) to (11).

    Args:
        hessian: H, shape (d, d), or its diagonal (d,).
        minimum: θ*, shape (d,).
        weight_decay: λ, for AdamW of the size of torch's AdamW.
        second_moment: v > 0, shape (d,).
        coupling: "decoupled" (AdamW), "elementwise" or "mean" (AdamS).
        power: p of "mean"; 0 is "decoupled".

    Returns:
        float64, shape (d,).

    Raises:
        ValueError: If the coupling is unknown, shapes disagree, or v is not above 0.

    Example:
        >>> adaptive_bias([1.0, 1.0], [1.0, 1.0], 0.5, [1.0, 4.0])
        tensor([-0.3333, -0.5000], dtype=torch.float64)
        >>> adaptive_bias([1.0, 1.0], [1.0, 1.0], 0.5, [1.0, 4.0], "elementwise")
        tensor([-0.3333, -0.3333], dtype=torch.float64)
    """
    if coupling not in COUPLINGS:
        raise unknown("coupling", coupling, COUPLINGS)
    hessian, minimum = float64(hessian=hessian, minimum=minimum)
    (decay,), (v,) = (
        nonnegative(weight_decay=weight_decay),
        positive(second_moment=second_moment),
    )
    hessian = hessian.diag() if hessian.ndim == 1 else hessian
    if v.shape != minimum.shape or hessian.shape != (*minimum.shape, *minimum.shape):
        raise ValueError(
            "hessian must have shape (d, d) or (d,), minimum and second_moment (d,), got "
            f"{tuple(hessian.shape)}, {tuple(minimum.shape)} and {tuple(v.shape)}"
        )
    pull = {
        "decoupled": decay * v.sqrt(),  # (9)
        "elementwise": decay.expand(v.shape),  # (10)
        "mean": decay * v.mean() ** -power * v.sqrt(),  # (11)
    }[coupling]
    return -torch.linalg.solve(hessian + pull.diag(), pull * minimum)


def step_gradient(
    lr: ArrayLike, next_lr: ArrayLike, weight_decay: ArrayLike, point: ArrayLike
) -> Tensor:
    """∇f_{t+1} at a stationary point of f_t, eq. (13) with its sign mended.

    f_t = L + (λ'/2η_t)‖θ‖² is what one step of eq. (1) descends; it moves with η_t.

    Args:
        lr: η_t > 0.
        next_lr: η_{t+1} > 0.
        weight_decay: λ' of eq. (1).
        point: θ*, where ∇f_t = 0.

    Returns:
        float64, the broadcast shape.

    Example:
        >>> step_gradient(0.1, 0.01, 5e-4, [1.0, -2.0])
        tensor([ 0.0450, -0.0900], dtype=torch.float64)
    """
    (lr, following), (decay,) = (
        positive(lr=lr, next_lr=next_lr),
        nonnegative(weight_decay=weight_decay),
    )
    (point,) = float64(point=point)
    return decay * (1 / following - 1 / lr) * point


def unstable_path(
    hessian: float, minimum: float, start: float, weight_decay: float, lrs: ArrayLike
) -> Tensor:
    """θ_0, ..., θ_n of eq. (1), θ = (1 - λ') θ - η_t H (θ - θ*), in one dimension.

    Args:
        hessian: H.
        minimum: θ*.
        start: θ_0.
        weight_decay: λ', not multiplied by the lr.
        lrs: η_t.

    Returns:
        float64, shape (n + 1,).

    Example:
        >>> unstable_path(1.0, 1.0, 0.0, 0.1, [0.5, 0.1])
        tensor([0.0000, 0.5000, 0.5000], dtype=torch.float64)
    """
    lrs, decay = nonnegative(lrs=lrs, weight_decay=weight_decay)
    found = [float64(start=start)[0]]
    for lr in lrs:
        found.append((1 - decay) * found[-1] - lr * hessian * (found[-1] - minimum))  # (1)
    return torch.stack(found)


def theorem1_counterexample(steps: int, weight_decay: float) -> tuple[Tensor, Tensor]:
    """Unbounded lrs under which eq. (1) does converge, to 1, on L = ½ (θ - 1)².

    With c_t = λ'/(t + 10) and η_t = (λ' - c_{t+1} + (1 - λ') c_t)/c_t the path is θ_t = 1 - c_t,
    though |η_t - η_{t+1}| tends to 1: Theorem 1 needs sup η_t < ∞.
    Each step is exact, but the path is unstable: round-off leaves it after a dozen steps.

    Args:
        steps: n.
        weight_decay: λ' in (0, 1).

    Returns:
        η_t, shape (n,), and θ_t, shape (n + 1,), float64.

    Raises:
        ValueError: If ``steps`` is below 1 or ``weight_decay`` not in (0, 1).

    Example:
        >>> lrs, path = theorem1_counterexample(1000, 0.1)
        >>> round(path[-1].item(), 6), round(lrs.diff().min().item(), 2)
        (0.999901, 0.99)
    """
    check_positive(steps=steps, weight_decay=weight_decay)
    if weight_decay >= 1:
        raise ValueError(f"weight_decay must lie in (0, 1), got {weight_decay}; 0.1 will do")
    t = torch.arange(steps + 1, dtype=torch.float64)
    c = weight_decay / (t + 10)
    lrs = (weight_decay - c[1:] + (1 - weight_decay) * c[:-1]) / c[:-1]
    return lrs, 1 - c
