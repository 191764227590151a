r"""A flat Gaussian field that can be drawn: random Fourier features of a known covariance.

The field of Richemond & Guo 2019, section 3, in R^N. The idea (Rahimi & Recht 2007): a covariance
N f(|x - y|²/2N) with f(s) = f₀ E_τ[e^(-τs)] is that of

    φ(x) = √(2N f₀/m) Σ_j cos(k_j·x/√N + b_j),   k_j ~ N(0, τ_j I),  b_j uniform

τ = 1 gives the squared exponential, τ ~ Exp(1) the rational quadratic 1/(1 + s).

Departures from the paper: it names no samples. With m features φ is Gaussian up to O(1/m), and its
covariance is exact on average over draws.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from etalambda._common import unknown
from etalambda.theory.gaussian_field import GaussianField

_KERNELS = {
    "rational_quadratic": GaussianField.rational_quadratic,
    "squared_exponential": GaussianField.squared_exponential,
}


class RandomFourierField:
    """One draw of a flat Gaussian field on R^N, with exact derivatives.

    Args:
        size: N.
        kernel: "rational_quadratic", f = 1/(1 + s), or "squared_exponential", f = e^(-s).
        features: m, the number of waves.
        seed: The draw.

    Example:
        >>> field = RandomFourierField(10, features=200)
        >>> x = field.sample(3)
        >>> field.energy(x).shape, field.hessian(x).shape
        (torch.Size([3]), torch.Size([3, 10, 10]))
    """

    on_sphere = False

    def __init__(
        self,
        size: int,
        kernel: str = "rational_quadratic",
        *,
        features: int = 2000,
        seed: int = 0,
    ) -> None:
        if kernel not in _KERNELS:
            raise unknown("kernel", kernel, _KERNELS)
        if size < 2 or features < 1:
            raise ValueError(f"size must be >= 2 and features >= 1, got {size} and {features}")
        generator = torch.Generator().manual_seed(seed)
        draw = dict(dtype=torch.float64, generator=generator)
        self.field, self.size = _KERNELS[kernel](), size
        rate = -torch.rand(features, 1, **draw).log()
        scale = rate.sqrt() if kernel == "rational_quadratic" else 1.0
        self.waves = torch.randn(features, size, **draw) * scale / size**0.5
        self.phases = torch.rand(features, **draw) * 2 * math.pi
        self.amplitude = math.sqrt(2 * size * self.field.f0 / features)

    def energy(self, x: Tensor) -> Tensor:
        """φ, of shape ``x.shape[:-1]``."""
        return self.amplitude * self._angle(x).cos().sum(-1)

    def gradient(self, x: Tensor) -> Tensor:
        """∇φ, in the shape of ``x``."""
        return -self.amplitude * self._angle(x).sin() @ self.waves

    def hessian(self, x: Tensor) -> Tensor:
        """The Hessian, of shape ``(*x.shape, N)``."""
        return self.derivatives(x)[2]

    def derivatives(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Energy, gradient and Hessian from one pass over the waves."""
        angle = self._angle(x)
        cosine = self.amplitude * angle.cos()
        gradient = -self.amplitude * angle.sin() @ self.waves
        return cosine.sum(-1), gradient, -(self.waves.T * cosine[..., None, :]) @ self.waves

    def sample(self, count: int, *, seed: int = 0) -> Tensor:
        """``count`` points, uniform on the sphere of radius √N, shape (count, N)."""
        generator = torch.Generator().manual_seed(seed)
        z = torch.randn(count, self.size, dtype=torch.float64, generator=generator)
        return z * (self.size**0.5 / z.norm(dim=-1, keepdim=True))

    def _angle(self, x: Tensor) -> Tensor:
        if x.shape[-1:] != (self.size,):
            raise ValueError(f"x must end in {self.size} entries, got shape {tuple(x.shape)}")
        return x @ self.waves.T + self.phases
