r"""The semicircle law of a random Hessian: its mass, its inverse, its log determinant.

Richemond & Guo 2019, eq. (9), (12), (13); Wigner's law. The idea: the Hessian of a Gaussian field
is a random matrix plus a multiple of the identity, so its spectrum is a semicircle that slides
without changing shape, and the share of negative eigenvalues depends on x = λ̄/(2√f'') alone,

    α = F(x) = (2/π) ∫ₓ¹ √(1 - t²) dt = (θ - sin θ cos θ)/π,   θ = arccos x           (9)

    paper   F         F⁻¹                 ρ
    code    survival  survival_inverse    density

Departures from the paper: it calls F an inverse of Wigner's law; F is the law's survival function.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from etalambda.theory._arrays import ArrayLike, float64

_SMALL = 0.4  # below this angle E - sin E cancels, and five terms of its series are exact


def density(x: ArrayLike) -> Tensor:
    """(2/π) √(1 - x²) on [-1, 1] and 0 outside: the unit semicircle, in the shape of ``x``.

    >>> density([0.0, 1.0, 2.0])
    tensor([0.6366, 0.0000, 0.0000], dtype=torch.float64)
    """
    (x,) = float64(x=x)
    return (1 - x * x).clamp_min(0).sqrt() * (2 / math.pi)


def survival(x: ArrayLike) -> Tensor:
    """The semicircle's mass above ``x``, eq. (9): 1 below -1, 1/2 at 0, 0 above 1.

    Its relative error stays at rounding also beside 1, where it is (4√2/3π)(1 - x)^(3/2).

    >>> survival([-1.0, 0.0, 1.0])
    tensor([1.0000, 0.5000, 0.0000], dtype=torch.float64)
    """
    (x,) = float64(x=x)
    near = x.abs().clamp_max(1)
    tail = _kepler(4 * torch.asin(((1 - near) / 2).sqrt())) / (2 * math.pi)
    return torch.where(x < 0, 1 - tail, tail)


def survival_inverse(alpha: ArrayLike) -> Tensor:
    """The ``x`` in [-1, 1] with ``survival(x) = alpha``, in the shape of ``alpha``.

    With E = 2 arccos x this is Kepler's equation E - sin E = 2πα, solved by Newton's method.

    Raises:
        ValueError: If an entry lies outside [0, 1].

    >>> survival_inverse([0.0, 0.5, 1.0])
    tensor([ 1.,  0., -1.], dtype=torch.float64)
    """
    (alpha,) = float64(alpha=alpha)
    if ((alpha < 0) | (alpha > 1)).any():
        raise ValueError(f"alpha is a fraction and must lie in [0, 1], got {alpha.tolist()}")
    mass = 2 * math.pi * torch.minimum(alpha, 1 - alpha)
    angle = (6 * mass) ** (1 / 3)  # left of the root; E - sin E is convex up to π
    for _ in range(8):
        slope = 2 * (angle / 2).sin().square()
        step = (_kepler(angle) - mass) / slope.clamp_min(torch.finfo(slope.dtype).tiny)
        angle = (angle - step).clamp(0, math.pi)
    x = torch.where(alpha == 0.5, 0.0, (angle / 2).cos())
    return torch.where(alpha > 0.5, -x, x)


def log_determinant(x: ArrayLike) -> Tensor:
    """E ln|t + x| over the semicircle on [-1, 1], plus ln 2: the growth rate of |det| a dimension.

    x² - 1/2 inside, and outside |x|/(|x| + r) - 1/2 + ln(|x| + r) with r = √(x² - 1).

    >>> log_determinant([0.0, 1.0])
    tensor([-0.5000,  0.5000], dtype=torch.float64)
    """
    (x,) = float64(x=x)
    far = x.abs().clamp_min(1)
    root = (far * far - 1).sqrt()
    outside = far / (far + root) - 0.5 + (far + root).log()
    return torch.where(x.abs() <= 1, x * x - 0.5, outside)


def _kepler(angle: Tensor) -> Tensor:
    """E - sin E without cancellation at small E."""
    square = angle * angle
    series = 1 - square / 20 * (1 - square / 42 * (1 - square / 72 * (1 - square / 110)))
    return torch.where(angle < _SMALL, angle**3 / 6 * series, angle - angle.sin())
