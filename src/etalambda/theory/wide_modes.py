r"""One mode of an infinitely wide network under L2 regularization, in a form that never overflows.

Lewkowycz & Gur-Ari 2020, *On the training dynamics of deep networks with L2 regularization*. The
idea: in a k-homogeneous network L2 makes the kernel itself decay, so the function first learns and
later forgets. Along an eigenvector of the kernel Θ_0 with eigenvalue γ, for the loss ½ Σ (f - y)²,

    df/dt = -γ e^(-2(k-1)λt) (f - y) - k λ f                                        (S8)
    f(t) = h f_0 + y [S(z_t) - h S(z_0)],   h = exp(z_t - z_0 - kλt)                (3), stable

with a = 2(k-1)λ, z_t = γ e^(-at)/a and

    k > 1:  S(z) = z^(1-q) e^z Γ(q, z) = ∫₀^∞ e^(-s) (1 + s/z)^(q-1) ds,   q = (k-2)/(2(k-1))
    k < 1:  S(z) = ∫₀^|z| e^(-s) (1 - s/|z|)^p ds,   p = k/(2(1-k)):  the kernel grows

    paper   t  k       γ           λ             y       f_0      Θ
    code    t  degree  eigenvalue  weight_decay  target  initial  kernel

t is the time of gradient flow, lr · steps, and λ that of (λ/2)‖θ‖², torch's ``weight_decay``. The
loss is a *sum* over samples: for a mean over n of them pass nλ and t/n.

Departures from the paper: (3) as printed overflows for γ/λ above about 700 and is 0/0 at k = 1
(where "setting k = 1 in (3)" is not possible) and at λ = 0; S is written so that all of its values
lie in [0, 1], and both cases are their exact limits. 0 <= k < 2, which the paper leaves out, too.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, exp, from_numpy

from etalambda.theory._arrays import ArrayLike, float64, nonnegative, positive

Array = NDArray[np.float64]
Bools = NDArray[np.bool_]

# Double-exponential quadrature: s = exp(x - exp(-x)) on (0, ∞), tanh-sinh on (0, 1). The errors of
# S measured against 50 digits stay below 2e-14 for z from 1e-14 to 1e12.
_X = np.arange(-4.5, 4.31, 0.03)
_S = np.exp(_X - np.exp(-_X))
_S_WEIGHT = 0.03 * _S * (1 + np.exp(-_X)) * np.exp(-_S)
_U = np.arange(-3.6, 3.61, 0.03)
_UNIT = 1 / (1 + np.exp(-np.pi * np.sinh(_U)))
_UNIT_WEIGHT = 0.03 * np.pi * np.cosh(_U) * _UNIT * _UNIT[::-1]


def _settled(z: Array, q: float) -> Array:
    """S of a decaying kernel (k > 1), in [0, 1]: 0 at z = 0, 1 at infinity."""
    found = np.zeros_like(z)
    for s, weight in zip(_S, _S_WEIGHT, strict=True):
        # Degree 2 has q = 0: a quotient is five times faster than a power.
        found += weight * (z / (z + s) if q == 0 else np.exp((q - 1) * np.log1p(s / z)))
    return found


def _settled_growing(z: Array, p: float) -> Array:
    """S of a growing kernel (k < 1), in [0, 1]. Beyond |z| = 40 the far end is below 1e-17."""
    near, far = np.zeros_like(z), np.zeros_like(z)
    small = np.minimum(z, 40.0)
    for u, rest, weight in zip(_UNIT, _UNIT[::-1], _UNIT_WEIGHT, strict=True):
        near += weight * small * np.exp(-small * u) * rest**p
    for s, weight in zip(_S, _S_WEIGHT, strict=True):
        far += weight * np.maximum(1 - s / np.maximum(z, 40.0), 0.0) ** p
    return np.where(z <= 40, near, far)


def response(
    t: Array, degree: float, eigenvalue: Array, weight_decay: Array
) -> tuple[Array, Array]:
    """(h, r) with f(t) = h f_0 + r y, for arrays that broadcast; checked by the callers.

    Example:
        >>> h, r = response(np.array([0.0, 1.0]), 1, np.array(3.0), np.array(1.0))
        >>> print(h.round(4), r.round(4))  # e^(-4t) and 3/4 (1 - e^(-4t))
        [1.     0.0183] [0.     0.7363]
    """
    rate = 2 * (degree - 1) * weight_decay
    # A rate so small that γ/rate overflows is none: it would act after 1e250 times 1/γ.
    rate = np.where(np.abs(rate) < 1e-250 * np.maximum(eigenvalue, 1.0), 0.0, rate)
    with np.errstate(divide="ignore", over="ignore", invalid="ignore", under="ignore"):
        total = eigenvalue + degree * weight_decay
        gone = np.where(total > 0, total * t, 0.0)
        flat = np.exp(-gone), np.where(total > 0, -np.expm1(-gone) * eigenvalue / total, 0.0)
        if not np.any(rate):
            return flat
        z0 = eigenvalue / np.where(rate == 0, 1.0, np.abs(rate))
        drop = np.where(eigenvalue > 0, z0 * np.abs(np.expm1(-rate * t)), 0.0)  # |z_t - z_0|
        h = np.exp(-drop - degree * weight_decay * t)
        zt = np.where(eigenvalue > 0, z0 * np.exp(-rate * t), 0.0)
        if degree > 1:
            q = (degree - 2) / (2 * (degree - 1))
            r = _settled(zt, q) - h * _settled(z0, q)  # (3)
        else:
            p = degree / (2 * (1 - degree))
            r = _settled_growing(zt, p) - h * _settled_growing(z0, p)
    return np.where(rate == 0, flat[0], h), np.where(rate == 0, flat[1], np.clip(r, 0.0, 1.0))


def mode(
    t: ArrayLike,
    degree: float,
    eigenvalue: ArrayLike,
    weight_decay: ArrayLike,
    target: ArrayLike,
    initial: ArrayLike,
) -> Tensor:
    """f(t) along one eigenvector of the kernel, eq. (3). Absolute error about 1e-13 · |y|.

    Args:
        t: Time of gradient flow, lr · steps.
        degree: k, the degree of homogeneity: 1 for a linear model, 2 for one hidden layer, the
            number of weight layers of a ReLU network without biases. Any number from 0.
        eigenvalue: γ of Θ_0, for the sum over samples.
        weight_decay: λ.
        target: y along the eigenvector.
        initial: f_0 along it.

    Returns:
        float64, the broadcast shape.

    Raises:
        ValueError: If t, degree, eigenvalue or weight_decay is negative or NaN.

    Example:
        >>> mode([0, 1, 100, 1e4], 2, eigenvalue=10.0, weight_decay=1e-3, target=1.0, initial=0.0)
        tensor([0.0000e+00, 9.9975e-01, 9.9976e-01, 1.1239e-04], dtype=torch.float64)
    """
    check_degree(degree)
    t, eigenvalue, decay = nonnegative(t=t, eigenvalue=eigenvalue, weight_decay=weight_decay)
    target, initial = float64(target=target, initial=initial)
    h, r = response(t.numpy(), degree, eigenvalue.numpy(), decay.numpy())
    return from_numpy(np.asarray(h)) * initial + from_numpy(np.asarray(r)) * target


def kernel_at(t: ArrayLike, degree: float, weight_decay: float, kernel: ArrayLike) -> Tensor:
    """Θ_t = e^(-2(k-1)λt) Θ_0, eq. (2): the kernel decays above degree 1 and grows below.

    Args:
        t: Times, any shape T.
        degree: k.
        weight_decay: λ.
        kernel: Θ_0, any shape.

    Returns:
        float64, shape T + that of ``kernel``.

    Raises:
        ValueError: If t, degree or weight_decay is negative or NaN.

    Example:
        >>> kernel_at([0.0, 1.0], 2, 0.5, [[4.0]]).flatten()
        tensor([4.0000, 1.4715], dtype=torch.float64)
    """
    check_degree(degree)
    (kernel,), (t, decay) = float64(kernel=kernel), nonnegative(t=t, weight_decay=weight_decay)
    shrink = exp(-2 * (degree - 1) * decay * t)
    return shrink.reshape((*t.shape, *(1 for _ in kernel.shape))) * kernel


def peak_time(degree: float, eigenvalue: ArrayLike, weight_decay: ArrayLike) -> Tensor:
    """When a mode that starts at 0 is largest: f = y γ_t / (γ_t + kλ) there, γ_t = γ e^(-2(k-1)λt).

    Args:
        degree: k. For k <= 1 the mode never turns back.
        eigenvalue: γ > 0.
        weight_decay: λ.

    Returns:
        float64; infinite for k <= 1 and for λ = 0.

    Raises:
        ValueError: If degree or weight_decay is negative, or eigenvalue not above 0.

    Example:
        >>> peak_time(2, eigenvalue=10.0, weight_decay=0.01)
        tensor(1.2518, dtype=torch.float64)
    """
    check_degree(degree)
    (gammas,), (decays,) = positive(eigenvalue=eigenvalue), nonnegative(weight_decay=weight_decay)
    gammas, decays = np.broadcast_arrays(gammas.numpy(), decays.numpy())
    if degree <= 1:
        return from_numpy(np.full(gammas.shape, np.inf))

    def rising(t: Array) -> Bools:
        now = gammas * np.exp(-2 * (degree - 1) * decays * t)
        return response(t, degree, gammas, decays)[1] * (now + degree * decays) < now

    return from_numpy(np.where(decays > 0, _last_true(rising, 1 / gammas), np.inf))


def half_decay_time(degree: float, eigenvalue: ArrayLike, weight_decay: ArrayLike) -> Tensor:
    """When a mode that starts at 0 has fallen back to half of its peak, for good.

    For γ much above λ it is ln(γ/(2(k-1)λ))/(2(k-1)λ) to first order, where the kernel's γ_t meets
    2(k-1)λ: the 1/λ time of the paper times a logarithm. Arguments and errors as ``peak_time``.

    Example:
        >>> half_decay_time(2, eigenvalue=10.0, weight_decay=[0.01, 0.001])
        tensor([ 335.7029, 4505.9547], dtype=torch.float64)
    """
    peak = peak_time(degree, eigenvalue, weight_decay).numpy()
    (gammas,), (decays,) = positive(eigenvalue=eigenvalue), nonnegative(weight_decay=weight_decay)
    gammas, decays = np.broadcast_arrays(gammas.numpy(), decays.numpy())
    start = np.where(np.isfinite(peak), peak, 0.0)
    half = response(start, degree, gammas, decays)[1] / 2

    def above(t: Array) -> Bools:
        return (t <= start) | (response(t, degree, gammas, decays)[1] > half)

    return from_numpy(np.where(np.isfinite(peak), _last_true(above, start + 1 / gammas), np.inf))


def check_degree(degree: float) -> None:
    """Raise a ValueError unless ``degree`` is a finite number of at least 0."""
    if not (np.isfinite(degree) and degree >= 0):
        raise ValueError(
            f"degree must be a finite number of at least 0, got {degree}; a ReLU network without "
            "biases has the number of its weight layers"
        )


def _last_true(holds: Callable[[Array], Bools], guess: Array) -> Array:
    """The last time at which ``holds`` (true, then false for ever), by doubling and bisection."""
    low, high = np.zeros_like(guess), np.array(guess, dtype=float)
    for _ in range(80):  # beyond 2^80 guesses: there is no end, and the caller says so
        late = holds(high)
        if not late.any():
            break
        low, high = np.where(late, high, low), np.where(late, 2 * high, high)
    for _ in range(60):
        middle = (low + high) / 2
        early = holds(middle)
        low, high = np.where(early, middle, low), np.where(early, high, middle)
    return (low + high) / 2
