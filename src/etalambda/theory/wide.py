r"""Infinitely wide networks under L2 regularization: the function, on and off the training set.

Lewkowycz & Gur-Ari 2020, *On the training dynamics of deep networks with L2 regularization*. The
idea: a k-homogeneous network of infinite width is a kernel machine whose kernel decays,

    Θ_t = e^(-2(k-1)λt) Θ_0                                                         (2)
    df_t(x)/dt = -Σ_{x' in S} Θ_t(x, x') ℓ'(f_t(x'), y') - kλ f_t(x)                (1)

and for ℓ = ½ (f - y)² each eigenvector of Θ_0 moves by itself: ``mode``, eq. (3); all together are
``solution``, eq. (S10). Away from the training set f is driven by the training residuals alone.

    paper   t  k       Θ_0     λ             y        f_0      S
    code    t  degree  kernel  weight_decay  targets  initial  inputs

t is the time of gradient flow, lr · steps. The loss is a *sum* over samples: for a mean over n of
them pass nλ and t/n, and the ridge solution then has nλ.

Departures from the paper: (3) and (S10) are evaluated in the stable form of ``wide_modes``; "the
decay time ∝ 1/(kλ)" is the late rate, half-decay carries a logarithm (``half_decay_time``). The
loss is summed in all formulas of the paper's theory and averaged in its experiments.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from etalambda.theory._arrays import ArrayLike, float64, nonnegative
from etalambda.theory.deep_linear import (
    deep_linear_fixed_points,
    deep_linear_function,
    deep_linear_threshold,
)
from etalambda.theory.wide_flow import flow
from etalambda.theory.wide_modes import (
    check_degree,
    half_decay_time,
    kernel_at,
    mode,
    peak_time,
    response,
)

__all__ = [
    "deep_linear_fixed_points",
    "deep_linear_function",
    "deep_linear_threshold",
    "flow",
    "half_decay_time",
    "kernel_at",
    "mode",
    "peak_time",
    "ridge",
    "solution",
    "wide_network",
]

Kernel = Callable[[Tensor, Tensor], Tensor]


def solution(
    t: ArrayLike,
    degree: float,
    weight_decay: float,
    kernel: ArrayLike,
    targets: ArrayLike,
    initial: ArrayLike,
    *,
    cross: ArrayLike | None = None,
    initial_at: ArrayLike = 0.0,
) -> Tensor:
    """f_t for the loss ½ Σ (f - y)²: on the training points, eq. (S10), or at other points.

    Args:
        t: Times, any shape T.
        degree: k.
        weight_decay: λ.
        kernel: Θ_0 on the n training points, shape (n, n), symmetric positive semidefinite.
        targets: y, shape (n,) or (n, outputs).
        initial: f_0 on the training points, a number or the shape of ``targets``.
        cross: Θ_0 between m other points and the training points, shape (m, n). With it the
            result is at these points, with their ``initial_at`` (a number, (m,) or (m, outputs)).

    Returns:
        float64, shape T + that of ``targets``, with m for n if ``cross`` is given.

    Raises:
        ValueError: If shapes disagree, ``kernel`` is not symmetric positive semidefinite, or t,
            degree or weight_decay is negative.

    Example:
        >>> solution([0.0, 9.0, 999.0], 2, 0.01, [[2.0, 1.0], [1.0, 2.0]], [1.0, -1.0], 0.0)
        tensor([[ 0.0000e+00,  0.0000e+00],
                [ 9.7691e-01, -9.7691e-01],
                [ 1.6287e-06, -1.6287e-06]], dtype=torch.float64)
    """
    check_degree(degree)
    t, decay = nonnegative(t=t, weight_decay=weight_decay)
    values, vectors, targets = _modes(kernel, targets)
    initial = _like("initial", initial, targets.shape)
    y, f0 = vectors.T @ targets, vectors.T @ initial
    times = t.reshape((*t.shape, *(1 for _ in y.shape)))
    values = values.reshape((-1, *(1 for _ in y.shape[1:])))
    parts = response(times.numpy(), degree, values.numpy(), decay.numpy())
    h, r = (torch.from_numpy(part) for part in parts)
    if cross is None:
        return torch.tensordot(h * f0 + r * y, vectors, ([t.ndim], [1])).movedim(-1, t.ndim)
    (cross,) = float64(cross=cross)
    if cross.ndim != 2 or cross.shape[1] != len(targets):
        raise ValueError(f"cross must have shape (m, {len(targets)}), got {tuple(cross.shape)}")
    start = _like("initial_at", initial_at, (len(cross), *targets.shape[1:]))
    free = torch.exp(-degree * decay * times)
    early = _impulse(times, degree, decay, f0, y)
    late = ((h - free) * f0 + r * y) / values  # f = free f_0 + γ · driven
    kick = _between(torch.zeros(()), 2 * (degree - 1) * decay, times) * values
    driven = torch.where(kick < 1e-8, early, late)  # below, the difference would cancel
    driven = torch.where(values > 0, driven, 0.0)  # Θ(x, S) has no part along a null vector
    moved = torch.tensordot(driven, cross @ vectors, ([t.ndim], [1])).movedim(-1, t.ndim)
    return free * start + moved


def ridge(
    weight_decay: float, kernel: ArrayLike, targets: ArrayLike, *, cross: ArrayLike | None = None
) -> Tensor:
    """Θ(x, S)(Θ + λI)⁻¹ Y: where degree 1 ends, whatever the start. Loss ½ Σ (f - y)².

    Args:
        weight_decay: λ; at 0 the minimum-norm interpolant.
        kernel, targets, cross: As in ``solution``.

    Returns:
        float64, the shape of ``targets``, or (m, ...) with ``cross``.

    Raises:
        ValueError: As ``solution``.

    Example:
        >>> ridge(1.0, [[2.0, 1.0], [1.0, 2.0]], [1.0, -1.0])
        tensor([ 0.5000, -0.5000], dtype=torch.float64)
    """
    (decay,) = nonnegative(weight_decay=weight_decay)
    values, vectors, targets = _modes(kernel, targets)
    total = values + decay
    inverse = torch.where(total > 0, 1 / total, 0.0)
    weights = vectors @ (
        inverse.reshape(-1, *(1 for _ in targets.shape[1:])) * (vectors.T @ targets)
    )
    (rows,) = float64(cross=kernel if cross is None else cross)
    return rows @ weights


def wide_network(kernel: Kernel, degree: float, weight_decay: float) -> Callable[..., Tensor]:
    """The infinitely wide network with this kernel, as a function of time and data.

    Args:
        kernel: Θ_0, a function of two batches of inputs to the matrix between them.
        degree: k.
        weight_decay: λ.

    Returns:
        ``predict(t, inputs, targets, at=None, initial=0.0, initial_at=0.0)``: f_t at the points
        ``at``, or on the training ``inputs``; shapes and errors as ``solution``.

    Raises:
        ValueError: If degree or weight_decay is negative.

    Example:
        >>> predict = wide_network(lambda a, b: a @ b.T, degree=2, weight_decay=0.01)
        >>> x = torch.tensor([[1.0], [2.0]], dtype=torch.float64)
        >>> predict(5.0, x, [1.0, 2.0], at=3 * x[:1])
        tensor([2.9869], dtype=torch.float64)
    """
    check_degree(degree)
    nonnegative(weight_decay=weight_decay)

    def predict(
        t: ArrayLike,
        inputs: Tensor,
        targets: ArrayLike,
        at: Tensor | None = None,
        initial: ArrayLike = 0.0,
        initial_at: ArrayLike = 0.0,
    ) -> Tensor:
        cross = None if at is None else kernel(at, inputs)
        theta = kernel(inputs, inputs)
        return solution(
            t, degree, weight_decay, theta, targets, initial, cross=cross, initial_at=initial_at
        )

    return predict


def _modes(kernel: ArrayLike, targets: ArrayLike) -> tuple[Tensor, Tensor, Tensor]:
    """Eigenvalues (round-off below 0 clipped), eigenvectors and targets, or an error."""
    kernel, targets = float64(kernel=kernel, targets=targets)
    if targets.ndim not in (1, 2) or kernel.shape != (len(targets), len(targets)):
        raise ValueError(
            f"kernel must have shape (n, n) and targets (n,) or (n, outputs), got "
            f"{tuple(kernel.shape)} and {tuple(targets.shape)}"
        )
    scale = kernel.abs().max().clamp_min(1e-300)
    if (kernel - kernel.T).abs().max() > 1e-8 * scale:
        raise ValueError("kernel must be symmetric; pass (kernel + kernel.T) / 2 if it nearly is")
    values, vectors = torch.linalg.eigh((kernel + kernel.T) / 2)
    if values[0] < -1e-8 * len(targets) * scale:
        raise ValueError(
            f"kernel must be positive semidefinite, its smallest eigenvalue is {values[0].item()}; "
            "a kernel is J Jᵀ for some J"
        )
    return values.clamp_min(0), vectors, targets


def _like(name: str, value: ArrayLike, shape: tuple[int, ...]) -> Tensor:
    """``value`` broadcast to ``shape``, or an error that names it."""
    (value,) = float64(**{name: value})
    if value.ndim and value.shape != shape:
        raise ValueError(f"{name} must be a number or have shape {shape}, got {tuple(value.shape)}")
    return value.expand(shape)


def _impulse(t: Tensor, degree: float, decay: Tensor, f0: Tensor, y: Tensor) -> Tensor:
    """∫₀ᵗ e^(-as - kλ(t-s)) (y - f_s) ds for γ -> 0, where f_s = e^(-kλs) f_0."""
    rate, loss = 2 * (degree - 1) * decay, degree * decay
    return _between(rate, loss, t) * y - torch.exp(-loss * t) * _between(0 * rate, rate, t) * f0


def _between(p: Tensor, q: Tensor, t: Tensor) -> Tensor:
    """(e^(-pt) - e^(-qt))/(q - p), which is t e^(-pt) where p = q."""
    low, gap = torch.minimum(p, q), (q - p).abs()
    ratio = torch.where(gap > 0, -torch.expm1(-gap * t) / torch.where(gap > 0, gap, 1.0), t)
    return torch.exp(-low * t) * ratio
