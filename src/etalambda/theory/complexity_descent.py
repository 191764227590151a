r"""Complexity gradient descent: moving down the number of saddles, in (ε, λ̄) and in weights.

Richemond & Guo 2019, section 3.3, eq. (17), (18). The idea: descend Σ itself, so that a run leaves
the energies and curvatures where saddles are many. In the plane u = (ε, λ̄), with C₂ = 1/(f₂Q),

    raw     du/dt = -∇Σ = C₂ M u                                                        (18)
    ridge   dε/dt = -dΣ(ε)/dε = (1 - κc) ε/(f₂P),   λ̄ = λ̄(ε),   until max(ε_c, -E₀)

and in weight space by the chain rule, since ε = φ(x)/N and λ̄ = tr ∇²φ(x)/n are functions of x.

Departures from the paper: (18) is printed without C₂. Followed literally it does not raise the
curvature: M's entries are all positive, so the flow turns to its top eigenvector, on which ε and
λ̄ have one sign, away from the ridge (10), where they differ. From ε > 0 both flows climb. The
paper stops at the plane; the two directions in weight space are this library's reading of it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from etalambda.theory import complexity
from etalambda.theory._arrays import ArrayLike, float64, nonnegative
from etalambda.theory.critical_points import Landscape
from etalambda.theory.gaussian_field import GaussianField


def stop_energy(field: GaussianField) -> float:
    """max(ε_c, -E₀): below it there are no saddles, or no critical points at all.

    >>> round(stop_energy(GaussianField.p_spin(3)), 4)
    -1.633
    >>> round(stop_energy(GaussianField.rational_quadratic()), 4)
    -1.0197
    """
    try:
        return max(field.critical_energy, field.ground_state_energy)
    except ValueError:  # no exponential number of critical points at any energy
        return field.critical_energy


def raw_flow(field: GaussianField, energy: float, mean_eigenvalue: float, t: ArrayLike) -> Tensor:
    """exp(t C₂M) u₀, the flow (18): (ε, λ̄) in the last dimension, ``t.shape`` before it.

    >>> field = GaussianField.rational_quadratic()
    >>> raw_flow(field, -1.0, 4 / 3, 3.0)[1] < 0  # the curvature has fallen below 0
    tensor(True)
    """
    complexity.gradient(field, energy, mean_eigenvalue)  # its errors are the right ones
    (t,) = nonnegative(t=t)
    rates, axes = torch.linalg.eigh(complexity.form(field) / (field.f2 * field.Q))
    start = axes.T @ torch.tensor([energy, mean_eigenvalue], dtype=torch.float64)
    return (torch.exp(t[..., None] * rates) * start) @ axes.T


def ridge_flow(field: GaussianField, energy: float, t: ArrayLike) -> Tensor:
    """The flow along the ridge from ε₀ < 0, halted at ``stop_energy``; (ε, λ̄(ε)) as above.

    ε grows as exp((1 - κc)t/(f₂P)). Also defined at Q = 0.

    >>> ridge_flow(GaussianField.p_spin(3), -1.0, [0.0, 100.0])
    tensor([[-1.0000,  3.0000],
            [-1.6330,  4.8990]], dtype=torch.float64)
    """
    (t,) = nonnegative(t=t)
    if not energy < 0:
        raise ValueError(f"energy must be below 0, got {energy}: from above the flow climbs")
    rate = -complexity.ridge_gradient(field, 1.0).item()
    path = (energy * torch.exp(rate * t)).clamp_min(min(stop_energy(field), energy))
    return torch.stack([path, field.mean_eigenvalue(path)], -1)


def mean_curvature(landscape: Landscape, x: Tensor) -> tuple[Tensor, Tensor]:
    """λ̄(x) = tr ∇²φ/n and its gradient, by autograd; Riemannian on the sphere, n = N - 1 there.

    Shapes ``x.shape[:-1]`` and ``x.shape``.

    Example:
        >>> from etalambda.theory.spin_glass import SphericalSpinGlass
        >>> glass = SphericalSpinGlass({3: 1.0}, 10)
        >>> curvature, slope = mean_curvature(glass, glass.sample(2))
        >>> curvature.shape, slope.shape
        (torch.Size([2]), torch.Size([2, 10]))
    """
    x = x.detach().requires_grad_()
    with torch.enable_grad():
        _, gradient, hessian = landscape.derivatives(x)
        trace = hessian.diagonal(dim1=-2, dim2=-1).sum(-1)
        if landscape.on_sphere:
            unit = x / x.norm(dim=-1, keepdim=True)
            trace = trace - torch.einsum("...i,...ij,...j->...", unit, hessian, unit)
            mean = trace / (landscape.size - 1) - (x * gradient).sum(-1) / landscape.size
        else:
            mean = trace / landscape.size
        (slope,) = torch.autograd.grad(mean.sum(), x)
    return mean.detach(), slope


def raw_direction(landscape: Landscape, x: Tensor, field: GaussianField) -> Tensor:
    """-N ∇_x Σ(ε(x), λ̄(x)): the literal descent in weight space, in the shape of ``x``.

    ``field`` holds the constants, the landscape's own or measured ones, with Q > 0 (a finite
    ``size`` makes it so). It costs the gradient of a trace beside the gradient.

    Example:
        >>> from etalambda.theory.spin_glass import SphericalSpinGlass
        >>> glass = SphericalSpinGlass({2: 0.5, 4: 0.5}, 6)
        >>> field = GaussianField.mixed({2: 0.5, 4: 0.5})
        >>> raw_direction(glass, glass.sample(2), field).shape
        torch.Size([2, 6])
    """
    energy = landscape.energy(x) / landscape.size
    mean, slope = mean_curvature(landscape, x)
    by_energy, by_shift = complexity.gradient(field, energy, mean).unbind(-1)
    pull = by_energy[..., None] * landscape.gradient(x)
    return -(pull + by_shift[..., None] * landscape.size * slope)


def ridge_rate(field: GaussianField, energy: ArrayLike) -> Tensor:
    """|dΣ(ε)/dε|/|dΣ/dε at the stop|: how fast the ridge flow descends φ, 1 where it stops.

    In weight space the ridge flow is gradient descent on φ with the learning rate times this: slow
    near ε = 0, where saddles are most numerous, and fastest at the threshold.

    >>> ridge_rate(GaussianField.p_spin(3), [0.0, -0.8165])
    tensor([0.0000, 0.5000], dtype=torch.float64)
    """
    (energy,) = float64(energy=energy)
    return (energy / stop_energy(field)).abs().clamp_max(1)


def missing_convexity(field: GaussianField, energy: ArrayLike) -> Tensor:
    """(2√f₂ - λ̄(ε))₊/2√f₂, 1 at ε = 0 and 0 below ε_c: what decays with the loss along the ridge.

    The reading of (17) that holds: not λ̄, which grows, but the distance to convexity falls in
    proportion to L - L_c. In flat space ``convexifying_l2`` is √f₂ times it.

    >>> missing_convexity(GaussianField.p_spin(3), [0.0, -0.8165, -2.0])
    tensor([1.0000, 0.5000, 0.0000], dtype=torch.float64)
    """
    return (1 - field.mean_eigenvalue(energy) / field.radius).clamp_min(0)
