r"""The norm of scale-invariant weights under SGD with weight decay: closed forms.

Li, Lyu & Arora 2020, *Reconciling Modern Deep Learning with Traditional Optimization Analyses: The
Intrinsic Learning Rate*. The idea: noise pushes the weights outward, decay pulls them in, and the
balance is reached after O(1/λ_e) steps whatever the start. With G = ‖W‖² and γ = (G/η)²

    dG/dt = -2 λ_e G + (η²/G) Tr Σ                                                  (7)
    dγ/dt = -4 λ_e γ + 2 Tr Σ                                                       (10)
    γ_t = e^(-4 λ_e t) γ_0 + 2 ∫₀ᵗ e^(-4 λ_e (t-τ)) Tr Σ_τ dτ                       (11)
    γ_t = e^(-4 λ_e t) γ_0 + (σ²/2λ_e)(1 - e^(-4 λ_e t)),   Tr Σ = σ²               (12)

    paper   λ_e = ηλ       σ² = Tr Σ_W̄   γ      γ^(-1/2)       η   λ             G      β
    code    intrinsic_lr   noise          gamma  effective_lr   lr  weight_decay  norm²  momentum

Time is counted in steps. ``noise`` is the gradient's variance at unit norm: ‖W‖² times the variance
of the batch gradient at W. For real SGD take E‖∇L(W̄; B)‖² instead, which the discrete law needs.

Departures from the paper: the paper calls γ the squared effective learning rate and says that the
effective learning rate tends to σ/√(2λ_e) (below Lemma 5.2, again in 5.3). γ is the *inverse*
square and the limit is √(2λ_e)/σ, as its footnote 2 and simulations say. (11) is a running average
times 1/(2λ_e), not an average. In the appendix on eq. (15) γ_0 is G_0²/η², not G_0/η². The discrete
law, its form with momentum and the exact times are derived here, not printed.
"""

from __future__ import annotations

import torch
from torch import Tensor

from etalambda._common import check_positive
from etalambda.theory._arrays import ArrayLike, nonnegative, positive


def gamma(t: ArrayLike, gamma0: ArrayLike, intrinsic_lr: ArrayLike, noise: ArrayLike) -> Tensor:
    """γ_t = (‖W_t‖²/η)², the inverse square of the effective learning rate, eq. (12).

    Between ``noise`` = σ² and (1 + ε)σ² the true γ_t lies between the two values (Lemma 5.2).

    Args:
        t: Steps since γ_0; infinity is the limit.
        gamma0: (‖W_0‖²/η)². A change of lr multiplies γ by (old lr / new lr)².
        intrinsic_lr: λ_e = ηλ. At 0 the norm grows without end: γ_0 + 2σ²t.
        noise: σ² = Tr Σ at unit norm.

    Returns:
        float64, the broadcast shape of all arguments.

    Raises:
        ValueError: If an argument is negative or NaN.

    Example:
        >>> gamma([0, 250, torch.inf], 1.0, intrinsic_lr=1e-3, noise=4.0)
        tensor([1.0000e+00, 1.2646e+03, 2.0000e+03], dtype=torch.float64)
    """
    t, gamma0, rate, noise = nonnegative(t=t, gamma0=gamma0, intrinsic_lr=intrinsic_lr, noise=noise)
    t, gamma0, rate, noise = torch.broadcast_tensors(t, gamma0, rate, noise)
    free = torch.where(noise > 0, gamma0 + 2 * noise * t, gamma0)
    x = torch.where(rate > 0, 4 * rate * t, 0.0)
    gain = noise / torch.where(rate > 0, 2 * rate, 1.0)
    return torch.where(rate > 0, gamma0 * torch.exp(-x) - torch.expm1(-x) * gain, free)  # (12)


def stationary_effective_lr(intrinsic_lr: ArrayLike, noise: ArrayLike) -> Tensor:
    """√(2λ_e)/σ: where the effective learning rate η/‖W‖² settles, Lemma 5.2 corrected.

    Four times the intrinsic lr doubles it. Without noise it is infinite (the weights vanish);
    without decay it is 0 (they grow for ever); without both nothing moves and it is NaN.

    Args:
        intrinsic_lr: λ_e = ηλ.
        noise: σ² = Tr Σ at unit norm.

    Returns:
        float64, the broadcast shape.

    Raises:
        ValueError: If an argument is negative or NaN.

    Example:
        >>> stationary_effective_lr([5e-4, 2e-3], 4.0)
        tensor([0.0158, 0.0316], dtype=torch.float64)
    """
    rate, noise = nonnegative(intrinsic_lr=intrinsic_lr, noise=noise)
    return torch.sqrt(2 * rate / noise)


def stationary_gamma(
    intrinsic_lr: ArrayLike, noise: ArrayLike, momentum: ArrayLike = 0.0
) -> Tensor:
    """γ_∞ of real SGD steps: σ²/(λ_e (1-β)(2 - λ_e/(1+β))), in torch's form of momentum.

    Exact for tangent gradients that are uncorrelated from step to step, with σ² = E‖∇L(W̄; B)‖².
    For small λ_e and no momentum it is σ²/(2λ_e), the limit of eq. (12).

    Args:
        intrinsic_lr: λ_e = ηλ, in (0, 2(1+β)).
        noise: σ² at unit norm.
        momentum: β in [0, 1), torch's ``momentum`` with dampening 0.

    Returns:
        float64, the broadcast shape.

    Raises:
        ValueError: If an argument lies outside its range: beyond 2(1+β) the steps diverge.

    Example:
        >>> stationary_gamma(1e-3, 4.0), stationary_gamma(1e-3, 4.0, momentum=0.9)
        (tensor(2001.0005, dtype=torch.float64), tensor(20005.2645, dtype=torch.float64))
    """
    (rate,), (noise, beta) = (
        positive(intrinsic_lr=intrinsic_lr),
        nonnegative(noise=noise, momentum=momentum),
    )
    if (beta >= 1).any():
        raise ValueError(f"momentum must lie in [0, 1), got {beta.max().item()}; 0.9 is usual")
    if (rate >= 2 * (1 + beta)).any():
        raise ValueError(
            f"intrinsic_lr must be below 2 (1 + momentum), got {rate.max().item()}: there decay "
            "alone diverges; lower lr or weight_decay"
        )
    return noise / (rate * (1 - beta) * (2 - rate / (1 + beta)))


def equilibrium_norm(
    lr: ArrayLike, weight_decay: ArrayLike, noise: ArrayLike, momentum: ArrayLike = 0.0
) -> Tensor:
    """‖W‖ at equilibrium: (η² γ_∞)^(1/4). Every fourfold λ_e shrinks it by √2 at fixed lr.

    Args:
        lr: η.
        weight_decay: λ of the penalty (λ/2)‖W‖², as torch's SGD has it.
        noise: σ² = E‖∇L(W̄; B)‖² at unit norm.
        momentum: β.

    Raises:
        ValueError: If lr or weight_decay is not above 0 (then there is no equilibrium), or as
            ``stationary_gamma``.

    Example:
        >>> equilibrium_norm(lr=0.1, weight_decay=5e-4, noise=4.0)
        tensor(4.4722, dtype=torch.float64)
    """
    lr, decay = positive(lr=lr, weight_decay=weight_decay)
    return (lr * lr * stationary_gamma(lr * decay, noise, momentum)) ** 0.25


def time_to_equilibrium(
    gamma0: ArrayLike, intrinsic_lr: ArrayLike, noise: ArrayLike, tolerance: float = 0.05
) -> Tensor:
    """Steps until |γ - γ_∞| <= tolerance · γ_∞: ln(|γ_0 - γ_∞|/(tolerance γ_∞))/(4 λ_e).

    0 where γ_0 is inside already; infinite without decay or without noise.

    Args:
        gamma0: (‖W_0‖²/η)².
        intrinsic_lr: λ_e = ηλ.
        noise: σ² at unit norm.
        tolerance: δ, relative to γ_∞ = σ²/(2λ_e).

    Returns:
        float64, the broadcast shape; footnote 3 of the paper made exact.

    Raises:
        ValueError: If an argument is negative or NaN, or ``tolerance`` is not above 0.

    Example:
        >>> time_to_equilibrium([1.0, 1e4, 2e3], intrinsic_lr=1e-3, noise=4.0)
        tensor([ 748.8080, 1095.5067,    0.0000], dtype=torch.float64)
    """
    check_positive(tolerance=tolerance)
    gamma0, rate, noise = nonnegative(gamma0=gamma0, intrinsic_lr=intrinsic_lr, noise=noise)
    limit = noise / (2 * rate)
    steps = torch.log((gamma0 - limit).abs() / (tolerance * limit)) / (4 * rate)
    settles = (rate > 0) & (noise > 0)
    return torch.where(settles, steps.clamp_min(0), torch.inf)


def time_with_large_start(
    gamma0: ArrayLike,
    intrinsic_lr: ArrayLike,
    noise: ArrayLike,
    lr_factor: ArrayLike,
    tolerance: float = 0.05,
) -> Tensor:
    """Steps to equilibrium when the lr is first ``lr_factor`` times larger, eq. (15).

    The lr is K η until γ settles there, at γ_∞/K, and drops to η then, which multiplies γ by K².
    From a far start this is up to K times faster than ``time_to_equilibrium`` (lr_factor 1).

    Args:
        gamma0: (‖W_0‖²/η)² with the *final* lr η.
        intrinsic_lr: λ_e = ηλ with the final lr; K λ_e before the drop.
        noise: σ² at unit norm.
        lr_factor: K > 0.
        tolerance: Of both phases, as in ``time_to_equilibrium``.

    Returns:
        float64, the broadcast shape: the exact time where the paper gives its order.

    Raises:
        ValueError: As ``time_to_equilibrium``, or if ``lr_factor`` is not above 0.

    Example:
        >>> time_with_large_start(1e12, 1e-4, 4.0, lr_factor=[1.0, 10.0])
        tensor([51808.1645, 17722.7303], dtype=torch.float64)
    """
    (gamma0,), (factor, rate, noise) = (
        nonnegative(gamma0=gamma0),
        positive(lr_factor=lr_factor, intrinsic_lr=intrinsic_lr, noise=noise),
    )
    start = gamma0 / factor**2
    first = time_to_equilibrium(start, factor * rate, noise, tolerance)
    settled = gamma(first, start, factor * rate, noise)
    second = time_to_equilibrium(factor**2 * settled, rate, noise, tolerance)
    return first + torch.where(factor == 1, 0.0, second)


def squared_norms(
    lrs: ArrayLike,
    weight_decays: ArrayLike,
    noise: ArrayLike,
    initial: float,
    momentum: float = 0.0,
) -> Tensor:
    """‖w_0‖², ..., ‖w_n‖² of n real SGD steps. Exact without momentum, for any schedules:

    ‖w_{t+1}‖² = (1 - η_t λ_t)² ‖w_t‖² + η_t² s_t/‖w_t‖²,  s_t = ‖∇L(w̄_t; B_t)‖²,

    because the gradient of a scale-invariant loss is orthogonal to w. With momentum β the three
    products of w and its buffer v are followed, for gradients orthogonal to both.

    Args:
        lrs: η_t, a number or shape (n,).
        weight_decays: λ_t, a number or shape (n,).
        noise: s_t, a number or shape (n,): measured, or its mean.
        initial: ‖w_0‖², above 0.
        momentum: β, with a zero initial buffer.

    Returns:
        float64, shape (n + 1,).

    Raises:
        ValueError: If an argument is out of range, or none of the first three is a sequence.

    Example:
        >>> squared_norms([0.1, 0.1], 0.01, noise=4.0, initial=1.0)
        tensor([1.0000, 1.0380, 1.0745], dtype=torch.float64)
    """
    check_positive(initial=initial)
    if not 0 <= momentum < 1:
        raise ValueError(f"momentum must lie in [0, 1), got {momentum}; 0.9 is usual")
    plan = nonnegative(lrs=lrs, weight_decays=weight_decays, noise=noise)
    plan = torch.broadcast_tensors(*plan)
    if plan[0].ndim != 1:
        raise ValueError("lrs, weight_decays or noise must be a sequence, one entry a step")
    norm2, along, buffer2 = float(initial), 0.0, 0.0  # ‖w‖², <w, v>, ‖v‖²
    found = [norm2]
    for lr, decay, s in zip(*(part.tolist() for part in plan), strict=True):
        buffer2 = (
            momentum**2 * buffer2
            + (s / norm2 if s else 0.0)
            + decay**2 * norm2
            + 2 * momentum * decay * along
        )
        along = momentum * along + decay * norm2
        norm2, along = norm2 - 2 * lr * along + lr**2 * buffer2, along - lr * buffer2
        found.append(norm2)
    return torch.tensor(found, dtype=torch.float64)
