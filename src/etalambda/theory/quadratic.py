r"""SGD with weight decay on a quadratic: where it ends, how fast, and when it cannot end.

Xie et al. 2022, *Understanding and Scheduling Weight Decay*, Theorem 2. The idea: on the
quadratic L = ½ (θ - θ*)ᵀ H (θ - θ*) (Assumption 1) weight decay moves the end point by μ and lends
every direction, flat ones too, a rate of convergence η (H_i + λ):

    E[θ_t - θ*] = Π_k [I - η_k (H + λI)] (θ_0 - φ) - λ (H + λI)⁻¹ θ*,  φ = H (H + λI)⁻¹ θ*    (4)
    μ_i = -λ θ*_i / (H_i + λ)                                                       (5)
    t_i = O(1/(η (H_i + λ))),   1/(ηλ) where H_i = 0                                (6), (7)

    paper   H        θ*       θ_0    λ             η_k  μ
    code    hessian  minimum  start  weight_decay  lrs  bias

λ is that of (λ/2)‖θ‖², torch's ``weight_decay`` in SGD. Noise of zero mean changes no expectation.

Departures from the paper: (4) is printed without parentheses around θ_0 - φ, and its derivation
(20), (21) has E[θ_t] on the left side and no θ* in the last term. (5) needs 0 < η < 2/(H_i + λ),
too. (7) counts iterations, not epochs. A direction with H_i + λ = 0 never moves: (4) is 0/0 there.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from etalambda._common import check_positive
from etalambda.theory._arrays import ArrayLike, float64, nonnegative


def expected_trajectory(
    hessian: ArrayLike,
    minimum: ArrayLike,
    start: ArrayLike,
    weight_decay: ArrayLike,
    lrs: ArrayLike,
) -> Tensor:
    """E[θ_t - θ*] for t = 0, ..., n, eq. (4), here with schedules of both η and λ.

    Args:
        hessian: H, symmetric, shape (d, d), or its diagonal, shape (d,).
        minimum: θ*, shape (d,).
        start: θ_0, shape (d,).
        weight_decay: λ, a number or one a step, shape (n,).
        lrs: η_1, ..., η_n.

    Returns:
        float64, shape (n + 1, d).

    Raises:
        ValueError: If shapes disagree, ``hessian`` is not symmetric, or an lr or weight_decay is
            negative.

    Example:
        >>> expected_trajectory([[1.0]], [1.0], [0.0], 1.0, [0.5, 0.1]).flatten()
        tensor([-1.0000, -0.5000, -0.5000], dtype=torch.float64)
    """
    values, vectors, goal, begin = _diagonal(hessian, minimum, start)
    lrs, decays = nonnegative(lrs=lrs, weight_decay=weight_decay)
    if lrs.ndim != 1 or decays.shape not in {(), lrs.shape}:
        raise ValueError(
            "lrs must be a sequence, one entry a step, and weight_decay a number or as long, got "
            f"shapes {tuple(lrs.shape)} and {tuple(decays.shape)}"
        )
    error = begin - goal
    found = [error]
    for lr, decay in zip(lrs, decays.expand(lrs.shape), strict=True):
        error = error - lr * ((values + decay) * error + decay * goal)
        found.append(error)
    return torch.stack(found) @ vectors.T


def expected_error(
    hessian: ArrayLike,
    minimum: ArrayLike,
    start: ArrayLike,
    weight_decay: float,
    lrs: ArrayLike,
) -> Tensor:
    """E[θ_t - θ*] after t = len(lrs) steps with one λ, by the closed form of Theorem 2.

    Arguments and errors as ``expected_trajectory``, with ``weight_decay`` a number.

    Returns:
        float64, shape (d,).

    Example:
        >>> expected_error([2.0, 0.0], [1.0, 1.0], [0.0, 0.0], 0.5, [0.1] * 1000)
        tensor([-0.2000, -1.0000], dtype=torch.float64)
    """
    values, vectors, goal, begin = _diagonal(hessian, minimum, start)
    lrs, decay = nonnegative(lrs=lrs, weight_decay=weight_decay)
    if lrs.ndim != 1 or decay.ndim:
        raise ValueError("lrs must be a sequence and weight_decay a number; for λ_t take "
                         "expected_trajectory")  # fmt: skip
    total = values + decay
    moves = total != 0
    bias = torch.where(moves, -decay / torch.where(moves, total, 1.0), 0.0) * goal  # (5)
    kept = (1 - lrs[:, None] * total).prod(0)
    ended = kept * (begin - goal - bias) + bias  # (4): θ_0 - φ = θ_0 - θ* - μ
    return vectors @ torch.where(moves, ended, begin - goal)


def bias(hessian: ArrayLike, minimum: ArrayLike, weight_decay: float) -> Tensor:
    """μ = lim E[θ_t - θ*] = -λ (H + λI)⁻¹ θ*, eq. (5). It needs η < 2/(H_i + λ) for all i.

    Args:
        hessian: H, shape (d, d) or (d,), positive semidefinite.
        minimum: θ*, shape (d,).
        weight_decay: λ.

    Returns:
        float64, shape (d,).

    Raises:
        ValueError: If shapes disagree, ``hessian`` is not symmetric, or H_i + λ <= 0: such
            a direction diverges, or never moves and keeps the error it started with.

    Example:
        >>> bias([9.0, 0.0], [1.0, 1.0], 1.0)
        tensor([-0.1000, -1.0000], dtype=torch.float64)
    """
    values, vectors, goal, _ = _diagonal(hessian, minimum, minimum)
    (decay,) = nonnegative(weight_decay=weight_decay)
    if (values + decay <= 0).any():
        raise ValueError(
            f"hessian must have eigenvalues above -weight_decay, got {values.min().item()}: along "
            "it SGD has no end point of its own; add weight_decay or see expected_error"
        )
    return vectors @ (-decay / (values + decay) * goal)


def convergence_time(
    eigenvalues: ArrayLike, weight_decay: ArrayLike, lr: ArrayLike, tolerance: float = 0.01
) -> Tensor:
    """Steps until the distance to the end point is ``tolerance`` times what it was.

    ln(1/ε)/(-ln|1 - η(H_i + λ)|), of order 1/(η(H_i + λ)), eq. (6), and 1/(ηλ) where H_i = 0, (7).

    Args:
        eigenvalues: H_i.
        weight_decay: λ.
        lr: η.
        tolerance: ε in (0, 1).

    Returns:
        float64, the broadcast shape; not rounded. 0 where one step arrives, infinite where
        nothing moves or the steps diverge (η outside (0, 2/(H_i + λ))).

    Raises:
        ValueError: If weight_decay or lr is negative, or ``tolerance`` not in (0, 1).

    Example:
        >>> convergence_time([0.0, 0.5, 19.0], weight_decay=0.001, lr=0.1)
        tensor([4.6049e+04, 8.9597e+01, 4.3755e+01], dtype=torch.float64)
    """
    check_positive(tolerance=tolerance)
    if tolerance >= 1:
        raise ValueError(f"tolerance must lie in (0, 1), got {tolerance}; 0.01 is usual")
    (values,) = float64(eigenvalues=eigenvalues)
    decay, lr = nonnegative(weight_decay=weight_decay, lr=lr)
    step = lr * (values + decay)
    kept = torch.where(step <= 1, -torch.log1p(-step), -torch.log((step - 1).clamp_min(0)))
    return torch.where(kept > 0, -math.log(tolerance) / kept, torch.inf)


def _diagonal(
    hessian: ArrayLike, minimum: ArrayLike, start: ArrayLike
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Eigenvalues and eigenvectors of H, and θ* and θ_0 along them, or an error."""
    hessian, minimum, start = float64(hessian=hessian, minimum=minimum, start=start)
    if hessian.ndim == 1:
        hessian = hessian.diag()
    d = len(hessian) if hessian.ndim else 0
    if hessian.shape != (d, d) or minimum.shape != (d,) or start.shape != (d,):
        raise ValueError(
            "hessian must have shape (d, d) or (d,), minimum and start (d,), got "
            f"{tuple(hessian.shape)}, {tuple(minimum.shape)} and {tuple(start.shape)}"
        )
    if not torch.allclose(hessian, hessian.T, rtol=1e-8, atol=0.0):
        raise ValueError("hessian must be symmetric; pass (H + H.T) / 2 if it nearly is")
    values, vectors = torch.linalg.eigh((hessian + hessian.T) / 2)
    flat = values.abs() < 1e-14 * values.abs().max().clamp_min(1e-300)  # round-off of a zero
    return torch.where(flat, 0.0, values), vectors, vectors.T @ minimum, vectors.T @ start
