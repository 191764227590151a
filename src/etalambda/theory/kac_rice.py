r"""Counts of critical points by Kac and Rice: the joint law at a point, sampled at finite N.

Richemond & Guo 2019, eq. (8). The idea: the mean number of critical points is an integral of
E|det ∇²φ| over the Gaussian law of (φ, ∇²φ) at one point: it needs random matrices, no search.

    E Crt = V · p(∇φ = 0) · E|det H|,   H = λ̄I + G,                                      (8)
    Var φ = N f₀,  Var ∂_iφ = |f₁|,  Cov(φ, H_ij) = f₁δ_ij,
    Cov(H_ij, H_kl) = (f₂/N)(δ_ikδ_jl + δ_ilδ_jk) + ((f₂ + κ|f₁|)/N) δ_ijδ_kl            (J, Js)

On the sphere H is Riemannian and has N - 1 directions, hence no gradient and no φ beside it.

Departures from the paper: (8) calls it the number of minima; it counts critical points. The
delta of the index is not smoothed: an index is that of the sampled matrix.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from etalambda._common import check_positive
from etalambda.theory.complexity import check_admissible
from etalambda.theory.gaussian_field import GaussianField


def directions(field: GaussianField, size: int) -> int:
    """The dimension of the Hessian: N in flat space, N - 1 on the sphere.

    Example:
        >>> sphere, flat = GaussianField.p_spin(3), GaussianField.rational_quadratic()
        >>> directions(sphere, 10), directions(flat, 10)
        (9, 10)
    """
    if size < 2:
        raise ValueError(f"size must be at least 2, got {size}")
    return size - int(field.curvature)


def sample_joint(
    field: GaussianField, size: int, samples: int, *, energy: float | None = None, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """Draws of (ε, H) at one point, shapes (samples,) and (samples, n, n); n of ``directions``.

    Args:
        energy: Condition on this ε; None draws it.

    >>> energies, hessians = sample_joint(GaussianField.p_spin(3), 8, 5)
    >>> energies.shape, hessians.shape
    (torch.Size([5]), torch.Size([5, 7, 7]))
    """
    check_admissible(field)
    check_positive(samples=samples)
    generator = torch.Generator().manual_seed(seed)
    matrix = _traced_goe(field, size, samples, generator)
    draw = dict(dtype=torch.float64, generator=generator)
    epsilon = torch.randn(samples, **draw) * math.sqrt(field.f0 / size)
    if energy is not None:
        epsilon = torch.full_like(epsilon, energy)
    mean = epsilon * field.f1 / field.f0
    shift = mean + torch.randn(samples, **draw) * math.sqrt(_spread(field) / size)
    return epsilon, matrix + _diagonal(shift, matrix)


def log_prefactor(field: GaussianField, size: int) -> float:
    """ln of volume times the gradient's density at 0, in the ball or on the sphere of radius √N.

    Example:
        >>> round(log_prefactor(GaussianField.p_spin(3), 2), 6)
        0.716206
    """
    n = directions(field, size)
    if field.geometry == "flat":
        volume = (size / 2) * math.log(math.pi * size) - math.lgamma(size / 2 + 1)
    else:
        volume = math.log(2) + (size / 2) * math.log(math.pi) - math.lgamma(size / 2)
        volume += (n / 2) * math.log(size)
    return volume - (n / 2) * math.log(2 * math.pi * abs(field.f1))


def log_count(
    field: GaussianField, size: int, samples: int, *, seed: int = 0
) -> tuple[float, float]:
    """(ln E Crt, its standard error): all critical points in the ball or sphere of radius √N.

    Example: on the circle, N = 2, the pure p-spin has 2√(3p - 2) on average.
        >>> log, error = log_count(GaussianField.p_spin(3), 2, 20000)
        >>> abs(math.exp(log) - 2 * 7**0.5) < 0.1
        True
    """
    variance = field.f2 + field.curvature * abs(field.f1)
    log, error, _, _ = _mean_determinant(field, size, samples, 0.0, variance, 0.0, seed)
    return log_prefactor(field, size) + log, error


def at_energy(
    field: GaussianField, size: int, energy: float, samples: int, *, seed: int = 0
) -> dict[str, float]:
    """Finite-N counterparts at ε: complexity, mean_eigenvalue and index, each with its error.

    ``complexity`` is (1/N) ln of the count a unit of energy density; the others are averages over
    critical points, that is, weighted by |det H|. Keys ending in ``_error`` are standard errors.

    >>> found = at_energy(GaussianField.rational_quadratic(), 10, -1.0, 2000)
    >>> found["mean_eigenvalue_error"] < 0.1
    True
    """
    check_admissible(field)
    mean, aim = field.f1 * energy / field.f0, field.mean_eigenvalue(energy).item()
    log, error, weights, hessians = _mean_determinant(
        field, size, samples, mean, _spread(field), aim, seed
    )
    density = (math.log(size / (2 * math.pi * field.f0)) - size * energy**2 / field.f0) / 2
    found = {"complexity": (log_prefactor(field, size) + log + density) / size}
    found["complexity_error"] = error / size
    eigenvalues = torch.linalg.eigvalsh(hessians)
    for name, values in {
        "mean_eigenvalue": eigenvalues.mean(-1),
        "index": (eigenvalues < 0).double().mean(-1),
    }.items():
        mean = (weights * values).sum()
        found[name] = mean.item()
        found[f"{name}_error"] = (weights * (values - mean)).square().sum().sqrt().item()
    return found


def _mean_determinant(
    field: GaussianField,
    size: int,
    samples: int,
    mean: float,
    variance: float,
    aim: float,
    seed: int,
) -> tuple[float, float, Tensor, Tensor]:
    """ln E|det H|, its standard error, the weights and the draws; λ̄ has ``mean``, ``variance``/N.

    |det H| prefers λ̄ far from its mean, so λ̄ is drawn about ``aim`` with the width that the
    semicircle's determinant gives it, and reweighted.
    """
    check_positive(samples=samples)
    generator = torch.Generator().manual_seed(seed)
    matrix = _traced_goe(field, size, samples, generator)
    narrowing = max(1 - variance / (2 * field.f2), 0.25)
    width = math.sqrt(variance / narrowing / size)
    z = torch.randn(samples, dtype=torch.float64, generator=generator)
    shift = aim + width * z if variance > 0 else torch.full_like(z, mean)
    hessians = matrix + _diagonal(shift, matrix)
    logs = torch.linalg.slogdet(hessians).logabsdet
    if variance > 0:
        logs = logs - size * (shift - mean) ** 2 / (2 * variance) + z * z / 2
        logs = logs - math.log(narrowing) / 2
    weights = torch.softmax(logs, 0)
    log = (torch.logsumexp(logs, 0) - math.log(samples)).item()
    return log, (samples * weights).std().item() / math.sqrt(samples), weights, hessians


def _traced_goe(
    field: GaussianField, size: int, samples: int, generator: torch.Generator
) -> Tensor:
    """Symmetric with off-diagonal variance f₂/N; its own trace gives λ̄ the variance 2f₂/(nN)."""
    n = directions(field, size)
    raw = torch.randn(samples, n, n, dtype=torch.float64, generator=generator)
    return (raw + raw.mT) * math.sqrt(field.f2 / (2 * size))


def _spread(field: GaussianField) -> float:
    """N Var(λ̄ | ε) without the trace's own part."""
    spread = field.f2 + field.curvature * abs(field.f1) - field.f1**2 / field.f0
    return spread if spread > 1e-12 * field.f2 else 0.0


def _diagonal(shift: Tensor, matrix: Tensor) -> Tensor:
    return shift[:, None, None] * torch.eye(matrix.shape[-1]).double()
