r"""Critical points of a drawn landscape: gradient descent, and Newton with Levenberg's damping.

Numerical counterpart of Richemond & Guo 2019, eq. (7)-(11). The idea: minimizing |∇φ|² instead of
φ finds saddles of every index, and their energies, mean curvatures and indices can be held against
`etalambda.theory.gaussian_field`.

A `Landscape` is a `etalambda.theory.spin_glass.SphericalSpinGlass`, a
`etalambda.theory.random_field.RandomFourierField` or anything else with their members.
On the sphere |x|² = N derivatives are Riemannian: ∇ - (x·∇/N)x and P(∇² - (x·∇φ/N))P.

Departures from the paper: it has no search. Points that a search reaches are biased towards wide
basins, so (10), which is about all critical points, holds less well for them than (9).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor


class Landscape(Protocol):
    """What the searches need: exact derivatives of a drawn field."""

    size: int
    on_sphere: bool
    field: Any

    def energy(self, x: Tensor) -> Tensor:
        """φ, of shape ``x.shape[:-1]``."""
        ...

    def gradient(self, x: Tensor) -> Tensor:
        """The Euclidean gradient, in the shape of ``x``."""
        ...

    def derivatives(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Energy, gradient and Hessian, the last of shape ``(*x.shape, N)``."""
        ...

    def sample(self, count: int, *, seed: int = 0) -> Tensor:
        """``count`` points of the sphere, shape (count, N)."""
        ...


@dataclass(frozen=True)
class Measured:
    """What is known at some points, in units of φ: shapes (k, N), (k,), (k,), (k,), (k,).

    ``energies`` are ε = φ/N, ``mean_eigenvalues`` λ̄, ``indices`` α, ``gradient_norms`` |∇φ|/√N.

    Example:
        >>> from etalambda.theory.spin_glass import SphericalSpinGlass
        >>> glass = SphericalSpinGlass({3: 1.0}, 10)
        >>> measure(glass, glass.sample(2)).mean_eigenvalues.shape
        torch.Size([2])
    """

    points: Tensor
    energies: Tensor
    mean_eigenvalues: Tensor
    indices: Tensor
    gradient_norms: Tensor

    def __len__(self) -> int:
        return len(self.points)

    def where(self, keep: Tensor) -> Measured:
        """The points that a boolean mask keeps."""
        return Measured(*(value[keep] for value in vars(self).values()))


def local(landscape: Landscape, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Energy, gradient and Hessian at ``x``, Riemannian on the sphere (embedded in R^N).

    Example:
        >>> from etalambda.theory.spin_glass import SphericalSpinGlass
        >>> glass = SphericalSpinGlass({3: 1.0}, 10)
        >>> x = glass.sample(2)
        >>> energy, gradient, hessian = local(glass, x)
        >>> (gradient * x).sum(-1).abs().max() < 1e-12, hessian.shape  # tangent
        (tensor(True), torch.Size([2, 10, 10]))
    """
    energy, gradient, hessian = landscape.derivatives(x)
    if not landscape.on_sphere:
        return energy, gradient, hessian
    unit = x / x.norm(dim=-1, keepdim=True)
    radial = (gradient * x).sum(-1) / landscape.size
    tangent = torch.eye(landscape.size).double() - unit[..., :, None] * unit[..., None, :]
    bent = tangent @ hessian @ tangent - radial[..., None, None] * tangent
    return energy, (tangent @ gradient[..., None])[..., 0], bent


def spectrum(landscape: Landscape, hessian: Tensor, x: Tensor) -> Tensor:
    """Sorted eigenvalues: N of them, N - 1 tangent ones on the sphere.

    Example:
        >>> from etalambda.theory.spin_glass import SphericalSpinGlass
        >>> glass = SphericalSpinGlass({3: 1.0}, 10)
        >>> x = glass.sample(2)
        >>> spectrum(glass, local(glass, x)[2], x).shape
        torch.Size([2, 9])
    """
    if not landscape.on_sphere:
        return torch.linalg.eigvalsh(hessian)
    unit = x / x.norm(dim=-1, keepdim=True)
    lift = 10 * hessian.abs().sum(-1).amax(-1) + 1  # moves the radial direction to the top
    lifted = hessian + lift[..., None, None] * unit[..., :, None] * unit[..., None, :]
    return torch.linalg.eigvalsh(lifted)[..., :-1]


def measure(landscape: Landscape, x: Tensor) -> Measured:
    """Energies, mean eigenvalues, indices and gradient norms at ``x`` of shape (k, N).

    >>> from etalambda.theory.spin_glass import SphericalSpinGlass
    >>> glass = SphericalSpinGlass({3: 1.0}, 10)
    >>> seen = measure(glass, glass.sample(2))
    >>> seen.energies.shape, bool(((0 <= seen.indices) & (seen.indices <= 1)).all())
    (torch.Size([2]), True)
    """
    energy, gradient, hessian = local(landscape, x)
    eigenvalues = spectrum(landscape, hessian, x)
    return Measured(
        x,
        energy / landscape.size,
        eigenvalues.mean(-1),
        (eigenvalues < 0).double().mean(-1),
        gradient.norm(dim=-1) / landscape.size**0.5,
    )


def descend(landscape: Landscape, start: Tensor, steps: int, lr: float = 0.05) -> Tensor:
    """``steps`` of gradient descent on φ (projected on the sphere) from ``start``, shape (k, N).

    >>> from etalambda.theory.random_field import RandomFourierField
    >>> field = RandomFourierField(5, features=100)
    >>> start = field.sample(2)
    >>> bool((field.energy(descend(field, start, 20)) < field.energy(start)).all())
    True
    """
    x = start
    for _ in range(steps):
        x = retract(landscape, x - lr * landscape.gradient(x))
    return x


def find(
    landscape: Landscape, start: Tensor, *, steps: int = 200, tolerance: float = 1e-9
) -> Measured:
    """The critical points that Levenberg's method reaches from ``start``, shape (k, N).

    Minimizes |∇φ|² by steps -(H² + μ)⁻¹Hg; points with |∇φ|/√N above ``tolerance`` after ``steps``
    are left out.

    >>> from etalambda.theory.spin_glass import SphericalSpinGlass
    >>> glass = SphericalSpinGlass({2: 1.0}, 6)
    >>> found = find(glass, glass.sample(3))
    >>> len(found), bool((found.gradient_norms < 1e-9).all())
    (3, True)
    """
    x = start
    eye = torch.eye(landscape.size).double()
    _, g, h = local(landscape, x)
    damping = torch.full(x.shape[:1], 0.1, dtype=torch.float64)
    for _ in range(steps):
        if (g.norm(dim=-1) < tolerance * landscape.size**0.5 / 10).all():
            break
        system = h @ h + damping[:, None, None] * eye
        move = torch.linalg.solve(system, h @ g[..., None])[..., 0]
        trial = retract(landscape, x - move)
        _, trial_g, trial_h = local(landscape, trial)
        better = trial_g.norm(dim=-1) < g.norm(dim=-1)
        pick = better[:, None]
        x, g = torch.where(pick, trial, x), torch.where(pick, trial_g, g)
        h = torch.where(better[:, None, None], trial_h, h)
        damping = torch.where(better, damping / 4, damping * 4).clamp(1e-14, 1e6)
    seen = measure(landscape, x)
    return seen.where(seen.gradient_norms <= tolerance)


def retract(landscape: Landscape, x: Tensor) -> Tensor:
    """``x`` itself in flat space, its projection to |x|² = N on the sphere.

    Example:
        >>> from etalambda.theory.spin_glass import SphericalSpinGlass
        >>> retract(SphericalSpinGlass({3: 1.0}, 4), torch.ones(4) * 7)
        tensor([1., 1., 1., 1.])
    """
    if not landscape.on_sphere:
        return x
    return x * (landscape.size**0.5 / x.norm(dim=-1, keepdim=True))
