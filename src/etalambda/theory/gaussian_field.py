r"""Gaussian random fields as loss landscapes: index, mean curvature and complexity of saddles.

Richemond & Guo 2019, *Combining learning rate decay and weight decay with complexity gradient
descent, Part I*, section 3 and Theorem 1 (after Bray & Dean 2007). The idea: a field φ on N
coordinates with ⟨φ(x)φ(y)⟩ = N f(s), s = |x - y|²/2N, is known by f(0), f'(0), f''(0) alone.
At energy density ε = φ/N its critical points have the mean Hessian eigenvalue λ̄(ε) and the share
α(ε) of negative directions:

    Q = (f₀D/f₂²),  P = 2f₀/f₂ - Q,  D = f₂ + κ|f₁| - f₁²/f₀                         (P_N, Q_N)
    λ̄(ε) = 2 f₁ ε/(f₂ P),   ε_c = P f₂^(3/2)/f₁ < 0                                 (10)
    α = F(λ̄/2√f₂) = F(ε/ε_c)                                                        (9), (11)

    paper   f(0)  f'(0)  f''(0)  λ̄                α      ε_c              Σ
    code    f0    f1     f2      mean_eigenvalue  index  critical_energy  complexity

κ is 0 on flat R^N and 1 on the sphere |x|² = N with the Riemannian Hessian. A network has
φ = N(L - mean L); at ‖θ‖ = R the Hessian of φ is R² that of L, and so is any λ found here.

Departures from the paper: its formulas are the flat ones, used on spheres too. There the curvature
of the sphere adds |f₁| to the variance of λ̄ (κ = 1): pure p-spin models then have Q = 0 and
ε_c = -2√((p-1)/p), instead of a negative Q. (10) holds at critical points; a typical point has
f₁ε/f₀. (16) and (18) are corrected in ``theory.complexity``. "The smallest L2 that convexifies is
α(ε)" (end of section 4) is not an answer, α being a fraction; see ``convexifying_l2``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from etalambda._common import check_positive, unknown
from etalambda.theory import complexity as counts
from etalambda.theory import semicircle
from etalambda.theory._amplitudes import check_amplitudes
from etalambda.theory._arrays import ArrayLike, float64

GEOMETRIES = ("flat", "sphere")


@dataclass(frozen=True)
class GaussianField:
    """A Gaussian field, isotropic in flat space or on the sphere |x|² = N.

    Args:
        f0, f1, f2: f(0) > 0, f'(0) < 0 and f''(0) > 0, derivatives by s = |x - y|²/2N.
        geometry: "flat" for R^N, "sphere" for the sphere of radius √N.
        size: N, for the leading 1/N correction of P and Q. The default is N = ∞.

    Raises:
        ValueError: If a derivative has the wrong sign, the geometry is unknown, or P <= 0 (then
            most of f(0) is a constant; subtract the mean). Q < 0 means that no field in this
            geometry has these derivatives: complexities raise, the printed formulas still work.

    Example:
        >>> field = GaussianField.p_spin(3)
        >>> round(field.critical_energy, 6), field.Q
        (-1.632993, 0.0)
        >>> field.index_at_energy([-1.7, -1.0, 0.0])
        tensor([0.0000, 0.1361, 0.5000], dtype=torch.float64)
    """

    f0: float
    f1: float
    f2: float
    geometry: str = "flat"
    size: int | None = None

    def __post_init__(self) -> None:
        if self.geometry not in GEOMETRIES:
            raise unknown("geometry", self.geometry, GEOMETRIES)
        check_positive(f0=self.f0, f2=self.f2)
        if not (math.isfinite(self.f1) and self.f1 < 0):
            raise ValueError(
                f"f1 must be below 0, got {self.f1}; f is a covariance, it falls with distance"
            )
        if self.size is not None and self.size < 2:
            raise ValueError(f"size must be at least 2, got {self.size}; None stands for infinity")
        if self.P <= 0:
            raise ValueError(
                f"P must be positive, got {self.P:.4g} for f0={self.f0}, f1={self.f1}, "
                f"f2={self.f2} on the {self.geometry}; is a constant part of f(0) left in?"
            )

    @classmethod
    def p_spin(cls, p: int, *, geometry: str = "sphere") -> GaussianField:
        """The pure p-spin model, f(s) = (1 - s)^p, eq. (6).

        >>> GaussianField.p_spin(4).P * 6
        1.0
        """
        return cls.mixed({p: 1.0}, geometry=geometry)

    @classmethod
    def mixed(cls, amplitudes: Mapping[int, float], *, geometry: str = "sphere") -> GaussianField:
        """A sum of independent p-spin models, ξ(q) = Σ a_p² q^p and f(s) = ξ(1 - s).

        Args:
            amplitudes: p -> a_p, the amplitude (not the variance) of each degree p >= 1.

        >>> GaussianField.mixed({2: 1.0, 4: 2.0}).f2
        50.0
        """
        check_amplitudes(amplitudes)
        weights = [(p, a * a) for p, a in amplitudes.items()]
        slope = math.fsum(w * p for p, w in weights)
        bend = math.fsum(w * p * (p - 1) for p, w in weights)
        return cls(math.fsum(w for _, w in weights), -slope, bend, geometry)

    @classmethod
    def squared_exponential(cls, amplitude: float = 1.0, length: float = 1.0) -> GaussianField:
        """f(s) = A exp(-s/ℓ²), flat: the smoothest kernel, with Q = 0 exactly.

        >>> GaussianField.squared_exponential().Q
        0.0
        """
        check_positive(amplitude=amplitude, length=length)
        return cls(amplitude, -amplitude / length**2, amplitude / length**4)

    @classmethod
    def rational_quadratic(
        cls, amplitude: float = 1.0, length: float = 1.0, exponent: float = 1.0
    ) -> GaussianField:
        """f(s) = A (1 + s/aℓ²)^(-a), flat: a mixture of length scales; a is ``exponent``.

        >>> GaussianField.rational_quadratic().Q
        0.25
        """
        check_positive(amplitude=amplitude, length=length, exponent=exponent)
        f2 = amplitude * (1 + 1 / exponent) / length**4
        return cls(amplitude, -amplitude / length**2, f2)

    @classmethod
    def from_covariance(
        cls, covariance: Callable[[Tensor], Tensor], geometry: str = "flat"
    ) -> GaussianField:
        """From f itself, a function of a 0-d float64 tensor s; derivatives at 0 by autograd.

        >>> GaussianField.from_covariance(lambda s: 1 / (1 + s)).f2
        2.0
        """
        s = torch.zeros((), dtype=torch.float64, requires_grad=True)
        f0 = covariance(s)
        (f1,) = torch.autograd.grad(f0, s, create_graph=True)
        if not f1.requires_grad:
            raise ValueError("covariance must bend at 0 (f'' > 0), got a straight line")
        (f2,) = torch.autograd.grad(f1, s)
        return cls(f0.item(), f1.item(), f2.item(), geometry)

    @property
    def curvature(self) -> float:
        """κ: 1 on the sphere, 0 in flat space."""
        return float(self.geometry == "sphere")

    @cached_property
    def D(self) -> float:
        """N times the variance of λ̄ at given energy: f₂ + κ|f₁| - f₁²/f₀, exactly 0 if tiny."""
        spread = self.f2 + self.curvature * abs(self.f1) - self.f1**2 / self.f0
        if abs(spread) <= 1e-12 * self.f2:
            spread = 0.0
        # The trace of a finite Hessian fluctuates by itself; a sphere's has N - 1 directions.
        directions = math.inf if self.size is None else self.size - self.curvature
        return spread + 2 * self.f2 / directions

    @property
    def Q(self) -> float:
        """f₀D/f₂²: at least 0 by Cauchy-Schwarz; 0 where the energy fixes λ̄."""
        return self.f0 * self.D / self.f2**2

    @property
    def P(self) -> float:
        """2f₀/f₂ - Q."""
        return 2 * self.f0 / self.f2 - self.Q

    @property
    def radius(self) -> float:
        """2√f₂, half the width of the Hessian's spectrum."""
        return 2 * math.sqrt(self.f2)

    @property
    def critical_energy(self) -> float:
        """ε_c = P f₂^(3/2)/f₁ < 0: below it almost all critical points are minima."""
        return self.P * self.f2**1.5 / self.f1

    @property
    def M(self) -> Tensor:
        """The form ψ = uᵀMu of u = (ε, λ̄), shape (2, 2), eq. (16) corrected.

        >>> GaussianField.rational_quadratic().M
        tensor([[1.0000, 0.5000],
                [0.5000, 0.3750]], dtype=torch.float64)
        """
        return counts.form(self)

    def index(self, mean_eigenvalue: ArrayLike) -> Tensor:
        """α(λ̄), the share of negative Hessian eigenvalues at mean λ̄, eq. (9).

        >>> GaussianField.p_spin(3).index(0.0)
        tensor(0.5000, dtype=torch.float64)
        """
        (mean_eigenvalue,) = float64(mean_eigenvalue=mean_eigenvalue)
        return semicircle.survival(mean_eigenvalue / self.radius)

    def index_inverse(self, index: ArrayLike) -> Tensor:
        """The λ̄ in [-2√f₂, 2√f₂] with index α.

        >>> GaussianField.rational_quadratic().index_inverse(0.0)
        tensor(2.8284, dtype=torch.float64)
        """
        return self.radius * semicircle.survival_inverse(index)

    def index_at_energy(self, energy: ArrayLike) -> Tensor:
        """α(ε) of the critical points at energy ε, eq. (11): 0 at ε_c, 1/2 at 0, 1 at -ε_c.

        Near 0 it is 1/2 - (2/π)x + x³/3π with x = ε/ε_c, eq. (12). Above ε_c it starts as
        (4√2/3π) d^(3/2)(1 - 3d/20), d = (ε - ε_c)/|ε_c|, eq. (13); both have tests.
        """
        (energy,) = float64(energy=energy)
        return semicircle.survival(energy / self.critical_energy)

    def hessian_density(self, x: ArrayLike, mean_eigenvalue: ArrayLike) -> Tensor:
        """The spectrum √(4f₂ - (x - λ̄)²)/2πf₂ at ``x``; ``x`` and λ̄ broadcast.

        >>> GaussianField.squared_exponential().hessian_density(1.0, 1.0)
        tensor(0.3183, dtype=torch.float64)
        """
        x, mean_eigenvalue = float64(x=x, mean_eigenvalue=mean_eigenvalue)
        return semicircle.density((x - mean_eigenvalue) / self.radius) / self.radius

    def mean_eigenvalue(self, energy: ArrayLike, *, at: str = "critical") -> Tensor:
        """λ̄ at energy ε: the most likely one at critical points, eq. (10), or at any point.

        Beyond ±ε_c the optimum leaves the bulk and follows √f₂(u + 1/u) instead of (10).

        Args:
            energy: ε, any shape.
            at: "critical" for critical points, "generic" for a typical point: f₁ε/f₀.

        >>> GaussianField.rational_quadratic().mean_eigenvalue(-1.0)
        tensor(1.3333, dtype=torch.float64)
        """
        (energy,) = float64(energy=energy)
        if at not in ("critical", "generic"):
            raise unknown("kind of point", at, ("critical", "generic"))
        generic = energy * (self.f1 / self.f0)
        return generic if at == "generic" else counts.likely_shift(self, energy)

    def complexity(
        self, index: ArrayLike, energy: ArrayLike, *, log_volume: float = counts.BALL
    ) -> Tensor:
        """Σ(α, ε), see `etalambda.theory.complexity.of_index`."""
        return counts.of_index(self, index, energy, log_volume)

    def total_complexity(self, energy: ArrayLike, *, log_volume: float = counts.BALL) -> Tensor:
        """Σ(ε) of all critical points, see `etalambda.theory.complexity.total`."""
        return counts.total(self, energy, log_volume)

    def complexity_gradient(self, energy: ArrayLike, mean_eigenvalue: ArrayLike) -> Tensor:
        """(∂Σ/∂ε, ∂Σ/∂λ̄) in the last dimension, see `etalambda.theory.complexity.gradient`."""
        return counts.gradient(self, energy, mean_eigenvalue)

    @cached_property
    def ground_state_energy(self) -> float:
        """-E₀ < 0, where Σ(ε) = 0; annealed, in a ball or sphere of radius √N.

        >>> round(GaussianField.p_spin(3).ground_state_energy, 8)
        -1.656998...
        """
        return counts.ground_state(self)

    def convexifying_l2(self, energy: ArrayLike, *, at: str = "critical") -> Tensor:
        """The least λ of λ|x|² with no negative curvature left at a point of energy ε, flat only.

        (2√f₂ - λ̄)₊/2, which is √f₂(1 - ε/ε_c)₊ at critical points within ±ε_c: affine in the
        loss. torch's ``weight_decay`` is 2λ, in loss units divided by ‖θ‖². It is a statement
        about typical points, not about all points of a landscape.

        >>> GaussianField.rational_quadratic().convexifying_l2([0.0, -3.0])
        tensor([1.4142, 0.0000], dtype=torch.float64)
        """
        self._need_flat("convexifying_l2")
        return (self.radius - self.mean_eigenvalue(energy, at=at)).clamp_min(0) / 2

    @property
    def trivializing_l2(self) -> float:
        """√f₂/2: with λ|x|² and λ above it one critical point is left (Fyodorov 2004); flat."""
        self._need_flat("trivializing_l2")
        return math.sqrt(self.f2) / 2

    def _need_flat(self, what: str) -> None:
        if self.geometry != "flat":
            raise ValueError(
                f"{what} needs geometry='flat', got 'sphere': |x|² is constant there, so L2 "
                "bends nothing; use sphere.anchored_shift for a decay towards a point"
            )
