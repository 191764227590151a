r"""L2 on a sphere, and on scale-invariant weights, is a learning-rate schedule: the exact maps.

About Algorithms 1-3 of Richemond & Guo 2019, which decay and then project to ‖θ‖ = R, and about
Li & Arora 2020. The idea: decay shortens the weights, projection lengthens them again, and all that
is left of the pair is a longer step:

    R(θ(1 - 2ηλ) - ηg)/‖·‖ = R(θ - η_eff g)/‖·‖,   η_eff = η/(1 - 2ηλ)               (S1)

    symbol  η   λ   μ         R       γ = θ·g/R²
    code    lr  l2  momentum  radius  radial

λ is the coefficient of λ‖θ‖², so torch's ``weight_decay`` is 2λ. At usual strengths, η = 0.1 and
2λ = 5e-4, η_eff differs from η by 5e-5 of itself: the annealing of λ does nothing there.

Departures from the paper: none of this is printed there. It says that L2 raises the effective
learning rate by eq. (19), which is wrong; (S1) and (S3) are the mechanism. L2 cannot convexify on
the sphere, where ‖θ‖² is constant (S2).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from etalambda._common import check_positive
from etalambda.theory._arrays import ArrayLike, float64, nonnegative


def effective_lr(lr: ArrayLike, l2: ArrayLike, radial: ArrayLike = 0.0) -> Tensor:
    """η/(1 - η(γ + 2λ)), the lr of projected gradient descent without L2 (S1); broadcasts.

    Args:
        lr: η >= 0.
        l2: λ >= 0 of λ‖θ‖².
        radial: γ = θ·g/R²; with it the result applies to the tangent gradient g - γθ.

    Raises:
        ValueError: If η(γ + 2λ) >= 1: there the step flips the sign of every weight.

    >>> effective_lr(0.1, [0.0, 4.5])
    tensor([0.1000, 1.0000], dtype=torch.float64)
    """
    lr, l2 = nonnegative(lr=lr, l2=l2)
    (radial,) = float64(radial=radial)
    return lr / (1 - _share(lr * (radial + 2 * l2), "lr * (radial + 2 * l2)"))


def step_angle(lr: ArrayLike, tangent_norm: ArrayLike, radius: ArrayLike = 1.0) -> Tensor:
    """atan(η ‖g_T‖/R), the angle in radians of one projected step with the lr η of (S1).

    >>> step_angle(1.0, 1.0)
    tensor(0.7854, dtype=torch.float64)
    """
    lr, norm, radius = nonnegative(lr=lr, tangent_norm=tangent_norm, radius=radius)
    return torch.atan2(lr * norm, radius)


def anchored_shift(theta: Tensor, anchor: Tensor, l2: float) -> Tensor:
    """2λ(a·θ)/R²: what λ‖θ - a‖² adds to every Riemannian Hessian eigenvalue at θ, R = ‖θ‖ (S2).

    Without an anchor (a = 0) it is 0: plain L2 bends nothing on a sphere. Shape
    ``theta.shape[:-1]``.

    >>> anchored_shift(torch.tensor([2.0, 0.0]), torch.tensor([1.0, 5.0]), 0.5)
    tensor(0.5000, dtype=torch.float64)
    """
    theta, anchor = float64(theta=theta, anchor=anchor)
    nonnegative(l2=l2)
    return 2 * l2 * (theta * anchor).sum(-1) / theta.square().sum(-1)


def equivalent_lrs(lrs: ArrayLike, l2s: ArrayLike) -> Tensor:
    """η̃_t = η_t/(Π_t Π_{t+1}), Π_t = Π_{s<t}(1 - 2η_s λ_s), without projection (S3).

    For scale-invariant losses: SGD without decay at η̃ visits the same directions. Constant η and
    λ give η ρ^(-(2t+1)), ρ = 1 - 2ηλ; Li, Lyu & Arora's form lacks one factor 1/ρ.

    Args:
        lrs, l2s: η_t and λ_t, broadcast to one shape (steps,).

    >>> equivalent_lrs([0.1, 0.1], [1.0, 1.0])
    tensor([0.1250, 0.1953], dtype=torch.float64)
    """
    lrs, l2s = torch.broadcast_tensors(*nonnegative(lrs=lrs, l2s=l2s))
    kept = 1 - _share(2 * lrs * l2s, "2 * lrs * l2s")
    after = kept.cumprod(-1)
    return lrs / (after * after / kept)


def ramp(lr: float, l2: float, every: int, steps: int) -> Tensor:
    """η ρ^(-(2j+1)), j = t mod ``every``: the lr when only every n-th step is projected (S4).

    Shape (steps,). Scale-invariant loss. The ramp's height ρ^(-2n) can be large though 2ηλ is
    tiny, so projecting once a step and once an epoch are different algorithms.

    >>> ramp(0.1, 1.0, every=2, steps=3)
    tensor([0.1250, 0.1953, 0.1250], dtype=torch.float64)
    """
    check_positive(every=every, steps=steps)
    kept = 1 - _share(torch.tensor(2.0 * lr * l2, dtype=torch.float64), "2 * lr * l2")
    return lr * kept ** -(2.0 * (torch.arange(steps) % every).double() + 1)


def momentum_map(
    lrs: ArrayLike, l2s: ArrayLike, momentum: float, norms: ArrayLike, radius: float
) -> tuple[Tensor, Tensor]:
    """(η̃_t, μ̃_t) of the heavy ball without L2 that equals the projected one with L2 (S5).

    v <- μv + g + 2λθ, θ <- R(θ - ηv)/‖·‖, the buffer not projected, equals u <- μ̃_t u + g,
    θ <- R(θ - η̃_t u)/‖·‖ with B_t = 2λ_t + μ B_{t-1} n_t/(R(1 - η B_{t-1})), η̃ = η/(1 - ηB_t) and
    μ̃_t = μ/(1 - ηB_{t-1}). For small steps B tends to 2λ/(1 - μ).

    Args:
        lrs, l2s: η_t and λ_t, shape (steps,) or numbers.
        momentum: μ in [0, 1).
        norms: n_t, ‖θ - ηv‖ of the step before t, shape (steps,); the first is not used.
        radius: R.

    Raises:
        ValueError: If ηB_t >= 1 at a step.

    Example:
        >>> lrs, momenta = momentum_map([0.1, 0.1], 0.5, 0.9, [1.0, 1.0], 1.0)
        >>> lrs
        tensor([0.1111, 0.1250], dtype=torch.float64)
    """
    (norms,) = nonnegative(norms=norms)
    lrs, l2s = (x.expand(norms.shape) for x in nonnegative(lrs=lrs, l2s=l2s))
    if not 0 <= momentum < 1:
        raise ValueError(f"momentum must lie in [0, 1), got {momentum}")
    check_positive(radius=radius)
    pull, share, gains = 0.0, 0.0, []
    for lr, l2, norm in zip(lrs.tolist(), l2s.tolist(), norms.tolist()):
        carried = momentum / (1 - share)
        pull = 2 * l2 + carried * pull * norm / radius
        share = lr * pull
        _share(torch.tensor(share, dtype=torch.float64), "lr * B_t")
        gains.append((lr / (1 - share), carried))
    new_lrs, momenta = torch.tensor(gains, dtype=torch.float64).reshape(-1, 2).unbind(1)
    return new_lrs, momenta


def rescale(lr: float, l2: float, scale: float) -> tuple[float, float]:
    """(η/s², λs²): the run on ‖σ‖ = √N that equals (η, λ) on ‖θ‖ = s√N, θ = sσ (S6).

    >>> rescale(0.4, 1.0, 2.0)
    (0.1, 4.0)
    """
    check_positive(scale=scale)
    return lr / scale**2, l2 * scale**2


def lr_ratio_to_l2(lr: float, ratio: float) -> float:
    """The λ at which projected descent runs at ``ratio`` times its lr: 2ηλ = 1 - 1/ratio (S1).

    >>> round(lr_ratio_to_l2(0.1, 10.0), 6)
    4.5
    """
    check_positive(lr=lr)
    if not (math.isfinite(ratio) and ratio >= 1):
        raise ValueError(f"ratio must be at least 1 and finite, got {ratio}; L2 only raises the lr")
    return (1 - 1 / ratio) / (2 * lr)


def _share(share: Tensor, what: str) -> Tensor:
    if (share >= 1).any():
        raise ValueError(
            f"{what} must stay below 1, got {share.max().item():.4g}: the step would flip the "
            "weights; lower lr or l2"
        )
    return share
