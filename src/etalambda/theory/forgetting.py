r"""How long a run remembers its start: what the SDE says about "fast equilibrium".

Li, Lyu & Arora 2020, Conjectures 5.3, 5.4 and C.1: from any two initial distributions the functions
that scale-invariant networks compute have one distribution after O(1/λ_e) steps, λ_e = ηλ, also
after a further schedule, also with momentum. The idea: where noise rules, their own SDE can answer.
Gradient noise is tangent, so it averages out of W_t and decay alone carries the start along:

    E[W_t | W_0] = e^(-K) W_0,   K = ∫ λ_e dt,   so   m = E⟨W̄_t, W̄_0⟩ = e^(-K) ‖W_0‖/‖W_t‖
    m(t) = e^(-λ_e t) (γ_0/γ_t)^(1/4),   m = δ at   t = ln(1 + (γ_0/γ_∞)(δ⁻⁴ - 1))/(4λ_e)

with γ_∞ = σ²/2λ_e: the conjecture holds there, the constant with the logarithm of γ_0/γ_∞, and a
further schedule multiplies m by its own e^(-K). Where a barrier Δ of the loss separates functions
it does not. At equilibrium the direction has the temperature T = σ√(λ_e/2), so on the circle with
the loss (Δ/2)(1 - cos 2θ) the two wells mix at the rate λ_e g(Δ/T),

    g(0) = 1,   g(x) -> (4x/π) e^(-x),

and 1/λ_e is beaten by e^(Δ√2/σ√λ_e) as λ_e -> 0. So the conjecture is one about losses: no barrier
that matters separates the functions of the networks for which it is observed.

    paper   λ_e           γ_0     Tr Σ = σ²  momentum
    code    intrinsic_lr  gamma0  noise      intrinsic_lr / (1 - momentum)

Departures from the paper: it derives nothing, and conjectures in total variation over functions;
here the readout is a sign. 5.4 follows from 5.3 where the weights' distribution is forgotten (a
further schedule maps equal laws to equal laws); for functions alone it is a conjecture of its own.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from etalambda._common import check_positive
from etalambda.theory._arrays import ArrayLike, float64, nonnegative, positive
from etalambda.theory.norm_dynamics import gamma

_WAVES = 81  # odd harmonics that resolve wells of height up to _HIGHEST temperatures
_HIGHEST = 40.0


def memory(t: ArrayLike, gamma0: ArrayLike, intrinsic_lr: ArrayLike, noise: ArrayLike) -> Tensor:
    """m(t), the mean cosine between the direction at t and at the start, if noise rules.

    Args:
        t: Steps. Arguments broadcast.
        gamma0: γ at the start, (‖W‖²/η)².
        intrinsic_lr: λ_e = ηλ; with momentum β, λ_e/(1 - β).
        noise: σ² = Tr Σ at unit norm.

    Returns:
        float64 in [0, 1].

    Example:
        >>> memory([0.0, 100.0], gamma0=50.0, intrinsic_lr=0.01, noise=1.0)  # at equilibrium
        tensor([1.0000, 0.3679], dtype=torch.float64)
    """
    (start,) = positive(gamma0=gamma0)
    t, rate = nonnegative(t=t, intrinsic_lr=intrinsic_lr)
    return torch.exp(-rate * t) * (start / gamma(t, start, rate, noise)) ** 0.25


def time_to_forget(
    gamma0: ArrayLike, intrinsic_lr: ArrayLike, noise: ArrayLike, tolerance: float = 0.05
) -> Tensor:
    """The step at which ``memory`` has fallen to ``tolerance``; arguments as there, they broadcast.

    1/λ_e times ln(1/tolerance) at equilibrium; from large weights (a small effective lr) a quarter
    of ln(γ_0/γ_∞) is added, and small ones forget sooner. Without decay it grows as tolerance⁻⁴.

    Example:
        >>> time_to_forget(50.0, 0.01, 1.0, tolerance=math.exp(-2))
        tensor(200.0000, dtype=torch.float64)
        >>> time_to_forget(50.0, 0.0, 1.0, tolerance=0.5)
        tensor(375., dtype=torch.float64)
    """
    if not 0 < tolerance < 1:
        raise ValueError(f"tolerance must lie in (0, 1), got {tolerance}")
    (start, noise), (rate,) = (
        positive(gamma0=gamma0, noise=noise),
        nonnegative(intrinsic_lr=intrinsic_lr),
    )
    free = start * (tolerance**-4 - 1) / (2 * noise)  # the time at λ_e = 0
    scaled = 4 * rate * free
    return torch.where(scaled > 0, free * torch.log1p(scaled) / scaled.clamp_min(1e-300), free)


def sign_total_variation(memory: ArrayLike, size: int, alignment: ArrayLike = 1.0) -> Tensor:
    """Total variation of sign⟨W̄_t, x⟩ between opposite starts, to first order in ``memory``.

    The slowest harmonic of a sign on the sphere of R^d, 2Γ(d/2 + 1)/(√π Γ((d + 1)/2)) m cos, at
    most 1. An input that is aligned with the start is told apart for (ln √d)/λ_e steps longer than
    the weights; a random one, cos about 1/√d, is not.

    Args:
        memory: m, any shape.
        size: d >= 2, how many weights the vector has.
        alignment: Cosine between the start and x.

    Example:
        >>> sign_total_variation([1.0, 0.02], size=3)
        tensor([1.0000, 0.0300], dtype=torch.float64)
    """
    if size < 2:
        raise ValueError(f"size must be at least 2, got {size}")
    memory, alignment = float64(memory=memory, alignment=alignment)
    log = math.lgamma(size / 2 + 1) - math.lgamma((size + 1) / 2)
    first = 2 * math.exp(log) / math.sqrt(math.pi)
    return (first * memory * alignment).abs().clamp_max(1)


def well_temperature(intrinsic_lr: ArrayLike, noise: ArrayLike) -> Tensor:
    """T = σ√(λ_e/2), the temperature of the direction at the equilibrium norm.

    >>> well_temperature(0.02, 4.0)
    tensor(0.2000, dtype=torch.float64)
    """
    rate, noise = nonnegative(intrinsic_lr=intrinsic_lr, noise=noise)
    return (noise * rate / 2).sqrt()


def relaxation_rate(barrier: float, intrinsic_lr: ArrayLike, noise: float) -> Tensor:
    """The rate a step at which the wells of (Δ/2)(1 - cos 2θ) mix, λ_e g(Δ/T), at equilibrium.

    The lowest odd eigenvalue of -∂² + (x²/4) sin² 2θ - x cos 2θ, which is similar to the circle's
    Fokker-Planck operator; its relative error stays below 1e-5.

    Args:
        barrier: Δ >= 0, the height of the loss between W and -W.
        intrinsic_lr: λ_e > 0, any shape.
        noise: σ² = Tr Σ at unit norm.

    Raises:
        ValueError: If Δ/T is above 40, where float64 ends: take (4x/π) e^(-x).

    Example:
        >>> relaxation_rate(0.0, 0.01, 1.0), relaxation_rate(1.0, 0.01, 1.0)
        (tensor(0.0100, dtype=torch.float64), tensor(1.2500e-07, dtype=torch.float64))
    """
    check_positive(noise=noise)
    (barrier_,), (rate,) = nonnegative(barrier=barrier), positive(intrinsic_lr=intrinsic_lr)
    heights = barrier_ / well_temperature(rate, noise)
    if (heights > _HIGHEST).any():
        raise ValueError(
            f"barrier/temperature must be at most {_HIGHEST:g}, got {heights.max():.4g}; "
            "beyond that use the limit (4x/π) e^(-x)"
        )
    found = [_lowest_odd(x) for x in heights.flatten().tolist()]
    return rate * torch.tensor(found, dtype=torch.float64).reshape(rate.shape)


def _lowest_odd(x: float) -> float:
    """g(x): the operator is AᵀA with A = ∂ + (x/2) sin 2θ, and s² of A loses no digits to g << 1.

    In the basis e^(inθ) of odd n, functions that differ between the wells; A reaches 2 further.
    """
    n = torch.arange(-_WAVES, _WAVES + 1, 2, dtype=torch.float64)
    rows, columns = len(n) + 2, len(n)
    matrix = torch.zeros(rows, columns, dtype=torch.float64)
    place = torch.arange(columns)
    matrix[place + 1, place] = n
    matrix[place + 2, place] = -x / 4
    matrix[place, place] = x / 4
    return torch.linalg.svdvals(matrix)[-1].item() ** 2
