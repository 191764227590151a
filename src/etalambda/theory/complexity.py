r"""Complexity: the exponential growth rate of the number of critical points of a Gaussian field.

Richemond & Guo 2019, eq. (7), (8), (14)-(18), Theorem 1, and eq. (19). The idea: by Kac and Rice
the mean number of critical points of index αN at energy εN is exp(NΣ), and Σ is a quadratic form
of energy and mean curvature u = (ε, λ̄) while the spectrum straddles zero:

    Σ = C₁ - (C₂/2) ψ,  ψ = uᵀMu = (1 + κc) ε² - 2(f₁/f₂) ελ̄ + (P/2) λ̄²            (14), (15)
    C₁ = ½ ln(f₂ e^(2v)/(2πe|f₁|)),  C₂ = 1/(f₂Q),  c = |f₁|/f₂                      (T1)
    ∇Σ = -C₂ M u                                                                     (18)

    paper   Σ(α, ε)   Σ(ε)   ∇Σ        M     ψ          v = ln(V)/N
    code    of_index  total  gradient  form  form_value  log_volume

Everything is annealed, (1/N) ln of the mean count, so an upper bound of the typical count.

Departures from the paper: (16) prints -f'/f off the diagonal; (14) itself and the dimensions give
-f'/f''. (18) lacks C₂. (14) covers |λ̄| <= 2√f'' only; outside, the log determinant leaves its
quadratic, and here it does. On spheres ψ and P get their curvature terms. (19) prints
ε(1 + 2/(1 + r)) > ε; along (10) the slope is 2ε(1 - 2/(1 + r)) = 2εQ/P, smaller than 2ε. Moving ε
and λ̄ is not "strictly equivalent": M₁₁ ≠ M₂₂. And (8) counts critical points, not minima.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from etalambda._common import check_nonnegative
from etalambda.theory import semicircle
from etalambda.theory._arrays import ArrayLike, float64

if TYPE_CHECKING:
    from etalambda.theory.gaussian_field import GaussianField

BALL = math.log(2 * math.pi * math.e) / 2
"""ln(V)/N of the ball, or of the sphere, of radius √N: the default volume."""


def form(field: GaussianField) -> Tensor:
    """M of eq. (16) with its off-diagonal corrected, shape (2, 2); symmetric, det M = Q(1-κc)/2.

    Example:
        >>> from etalambda.theory.gaussian_field import GaussianField
        >>> form(GaussianField.p_spin(3))
        tensor([[1.5000, 0.5000],
                [0.5000, 0.1667]], dtype=torch.float64)
    """
    c = abs(field.f1) / field.f2
    rows = [[1 + field.curvature * c, c], [c, field.P / 2]]
    return torch.tensor(rows, dtype=torch.float64)


def form_value(field: GaussianField, energy: ArrayLike, mean_eigenvalue: ArrayLike) -> Tensor:
    """ψ = uᵀMu; ``energy`` and ``mean_eigenvalue`` broadcast.

    Example:
        >>> from etalambda.theory.gaussian_field import GaussianField
        >>> form_value(GaussianField.p_spin(3), -1.0, 3.0)  # on the line (10): Q = 0
        tensor(0., dtype=torch.float64)
    """
    energy, shift = float64(energy=energy, mean_eigenvalue=mean_eigenvalue)
    (m11, m12), (_, m22) = form(field).tolist()
    return m11 * energy**2 + 2 * m12 * energy * shift + m22 * shift**2


def at_shift(
    field: GaussianField,
    energy: ArrayLike,
    mean_eigenvalue: ArrayLike,
    log_volume: float = BALL,
) -> Tensor:
    """Σ as a function of ε and λ̄, for every λ̄; inside the bulk it is C₁ - (C₂/2)ψ.

    With Q = 0 it is finite on the line λ̄ = f₁ε/f₀ (to 1e-9 of 2√f₂) and -inf off it.

    Raises:
        ValueError: If Q < 0: no field in this geometry has these derivatives.

    >>> from etalambda.theory.gaussian_field import GaussianField
    >>> at_shift(GaussianField.rational_quadratic(), -0.5, 0.5)
    tensor(0.2528, dtype=torch.float64)
    """
    check_admissible(field)
    energy, shift = float64(energy=energy, mean_eigenvalue=mean_eigenvalue)
    off = shift - energy * (field.f1 / field.f0)
    if field.D > 0:
        penalty = off**2 / (2 * field.D)
    else:
        penalty = torch.where(off.abs() <= 1e-9 * field.radius, 0.0, math.inf).double()
    growth = semicircle.log_determinant(shift / field.radius) + math.log(field.f2) / 2
    base = log_volume - math.log(2 * math.pi * abs(field.f1)) / 2
    return base - energy**2 / (2 * field.f0) - penalty + growth


def of_index(
    field: GaussianField, index: ArrayLike, energy: ArrayLike, log_volume: float = BALL
) -> Tensor:
    """Σ(α, ε), the annealed complexity of critical points of index α at energy ε, Theorem 1.

    α = 0 stands for every index that is o(N), so λ̄ is the best one above the edge; α = 1 likewise.
    ``index`` and ``energy`` broadcast.

    Raises:
        ValueError: If an index lies outside [0, 1], or Q < 0 in this geometry.

    >>> from etalambda.theory.gaussian_field import GaussianField
    >>> of_index(GaussianField.rational_quadratic(), [0.0, 0.5], 0.0)
    tensor([-2.6534,  0.3466], dtype=torch.float64)
    """
    check_admissible(field)
    index, energy = torch.broadcast_tensors(*float64(index=index, energy=energy))
    shift = field.radius * semicircle.survival_inverse(index)
    best = likely_shift(field, energy)
    shift = torch.where(index == 0, best.clamp_min(field.radius), shift)
    shift = torch.where(index == 1, best.clamp_max(-field.radius), shift)
    return at_shift(field, energy, shift, log_volume)


def likely_shift(field: GaussianField, energy: Tensor) -> Tensor:
    """λ̄ of most critical points at ε: eq. (10) within ±ε_c, outside √f₂(u + 1/u).

    u in (0, 1] solves the stationarity of ``at_shift`` beyond the edge.

    Example:
        >>> from etalambda.theory.gaussian_field import GaussianField
        >>> likely_shift(GaussianField.p_spin(3), torch.tensor([-1.0, 0.5]).double())
        tensor([ 3.0000, -1.5000], dtype=torch.float64)
    """
    inside = energy * (2 * field.f1 / (field.f2 * field.P))
    beyond = energy.abs() > abs(field.critical_energy)
    if not beyond.any():
        return inside
    check_admissible(field)
    m, a = abs(field.f1) * energy.abs() / field.f0, field.f2 - field.D
    root = (m * m * field.f2 - 4 * field.f2 * a).clamp_min(0).sqrt()
    u = 2 * field.f2 / (m * math.sqrt(field.f2) + root)
    outside = math.sqrt(field.f2) * (u + 1 / u) * -energy.sign()
    return torch.where(beyond, outside, inside)


def total(field: GaussianField, energy: ArrayLike, log_volume: float = BALL) -> Tensor:
    """Σ(ε) of critical points of any index: C₁ - (1 - κc)ε²/(2f₂P) within ±ε_c, fine at Q = 0.

    Below ε_c all critical points are minima and the value no longer depends on f₂.

    >>> from etalambda.theory.gaussian_field import GaussianField
    >>> total(GaussianField.p_spin(3), [0.0, -1.656998363])
    tensor([3.4657e-01, ...], dtype=torch.float64)
    """
    check_admissible(field)
    (energy,) = float64(energy=energy)
    f0, f1, f2, kappa = field.f0, abs(field.f1), field.f2, field.curvature
    inside = peak(field, log_volume) - (1 - kappa * f1 / f2) * energy**2 / (2 * f2 * field.P)
    a, m = f2 - field.D, f1 * energy.abs() / f0
    g = 2 / (m + (m * m - 4 * a).clamp_min(0).sqrt())
    base = log_volume - math.log(2 * math.pi * f1) / 2
    outside = base - energy**2 / (2 * f0) + a * g * g / 2 - g.log()
    return torch.where(energy.abs() <= abs(field.critical_energy), inside, outside)


def peak(field: GaussianField, log_volume: float = BALL) -> float:
    """C₁, the complexity at ε = 0, α = 1/2: ½ ln(f₂/|f₁|) in the ball of radius √N.

    Example:
        >>> from etalambda.theory.gaussian_field import GaussianField
        >>> round(peak(GaussianField.p_spin(3)), 6)  # ln(2)/2
        0.346574
    """
    return (math.log(field.f2 / abs(field.f1) / (2 * math.pi * math.e)) + 2 * log_volume) / 2


def gradient(field: GaussianField, energy: ArrayLike, mean_eigenvalue: ArrayLike) -> Tensor:
    """∇Σ = -C₂Mu, eq. (18) corrected: (∂/∂ε, ∂/∂λ̄) in the last dimension; arguments broadcast.

    Holds in the bulk, |λ̄| <= 2√f₂. Descending it follows the *top* eigenvector of M, on which ε
    and λ̄ share a sign, while states lie on the ridge (10), where they differ: see
    `etalambda.theory.complexity_descent`.

    Raises:
        ValueError: If Q <= 0; with Q = 0 use ``ridge_gradient``.

    >>> from etalambda.theory.gaussian_field import GaussianField
    >>> gradient(GaussianField.rational_quadratic(), -1.0, 1.0)
    tensor([1.0000, 0.2500], dtype=torch.float64)
    """
    check_admissible(field)
    if field.Q == 0:
        raise ValueError(
            "complexity_gradient needs Q > 0, got Q = 0: here the energy fixes the mean "
            "eigenvalue, so only complexity.ridge_gradient(field, energy) exists"
        )
    u = torch.stack(
        torch.broadcast_tensors(*float64(energy=energy, mean_eigenvalue=mean_eigenvalue)), -1
    )
    return -(u @ form(field)) / (field.f2 * field.Q)


def ridge_gradient(field: GaussianField, energy: ArrayLike) -> Tensor:
    """dΣ/dε along the ridge λ̄ = λ̄(ε) within ±ε_c: -(1 - κc) ε/(f₂P), in the shape of ``energy``.

    >>> from etalambda.theory.gaussian_field import GaussianField
    >>> ridge_gradient(GaussianField.p_spin(3), -1.0)
    tensor(0.2500, dtype=torch.float64)
    """
    check_admissible(field)
    (energy,) = float64(energy=energy)
    c = abs(field.f1) / field.f2
    return -(1 - field.curvature * c) * energy / (field.f2 * field.P)


def ground_state(field: GaussianField, log_volume: float = BALL) -> float:
    """The energy -E₀ < 0 at which Σ(ε) falls to 0, by bisection.

    Raises:
        ValueError: If Σ(0) <= 0: such a field has no exponential number of critical points.

    Example:
        >>> from etalambda.theory.gaussian_field import GaussianField
        >>> round(ground_state(GaussianField.p_spin(3)), 6)
        -1.656998
    """
    top = peak(field, log_volume)
    if top <= 1e-12:
        raise ValueError(
            f"ground_state_energy needs a positive complexity at energy 0, got {top:.4g}: "
            "f''(0) must exceed |f'(0)| in the ball of radius √N, or pass a larger log_volume"
        )
    low, high = -1.0, 0.0
    while total(field, low, log_volume) > 0:
        low, high = 2 * low, low
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if total(field, middle, log_volume) < 0 else (low, middle)
    return high


def with_l2(field: GaussianField, l2: float) -> float:
    """(1/N) ln of the number of critical points of φ + λ|x|² in all of R^N, λ = ``l2``; flat.

    (r² - 1)/2 - ln r with r = 2λ/√f₂, and 0 from r = 1 on (Fyodorov 2004); infinite at λ = 0.

    >>> from etalambda.theory.gaussian_field import GaussianField
    >>> with_l2(GaussianField.rational_quadratic(), 0.8)
    0.0
    """
    check_nonnegative(l2=l2)
    ratio = min(l2 / field.trivializing_l2, 1.0)
    return (ratio**2 - 1) / 2 - math.log(ratio) if ratio > 0 else math.inf


def check_admissible(field: GaussianField) -> None:
    """Raise a ValueError if Q < 0: such derivatives belong to no field in this geometry.

    Example:
        >>> from etalambda.theory.gaussian_field import GaussianField
        >>> check_admissible(GaussianField.p_spin(3))
    """
    if field.Q < 0:
        isotropy = field.f0 * field.f2 / field.f1**2
        raise ValueError(
            f"Q must be at least 0, got {field.Q:.4g} for geometry={field.geometry!r} "
            f"(f0 f2/f1² = {isotropy:.4g}, flat fields need 1): no such field exists; "
            "spherical models need geometry='sphere'"
        )
