r"""Infinitely wide networks under L2 regularization and any loss: eqs. (1) and (2) as an ODE.

Lewkowycz & Gur-Ari 2020; symbols, units and the idea are those of ``etalambda.theory.wide``.

    df_t(x)/dt = -Σ_{x' in S} Θ_t(x, x') ℓ'(f_t(x'), y') - kλ f_t(x)                (1)

Departures from the paper: none.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from etalambda.theory._arrays import ArrayLike, float64, nonnegative
from etalambda.theory.wide_modes import check_degree, kernel_at


def flow(
    t: ArrayLike,
    degree: float,
    weight_decay: float,
    kernel: ArrayLike,
    loss: Callable[[Tensor], Tensor],
    initial: ArrayLike,
    *,
    tolerance: float = 1e-10,
) -> Tensor:
    """f_t under any loss, eq. (1) as an ODE on the training points and any others.

    Args:
        t: Times in increasing order, shape (times,).
        degree: k.
        weight_decay: λ.
        kernel: Θ_0 from all m points to the n training points, shape (m, n); the first n rows are
            the training points.
        loss: From f on the training points, shape (n,) or (n, outputs), to the summed loss.
        initial: f_0 on all points, shape (m,) or (m, outputs).
        tolerance: Relative and absolute, of the integrator (DOP853).

    Returns:
        float64, shape (times,) + that of ``initial``.

    Raises:
        ValueError: If shapes disagree, t decreases, or a number is out of range.
        RuntimeError: If the integrator cannot reach the tolerance.

    Example:
        >>> logistic = lambda f: torch.nn.functional.softplus(-f).sum()  # label +1
        >>> flow([0.0, 1.0, 100.0], 2, 0.1, [[1.0]], logistic, [0.0]).flatten()
        tensor([0.0000e+00, 3.6793e-01, 9.8248e-08], dtype=torch.float64)
    """
    from scipy.integrate import solve_ivp

    check_degree(degree)
    t, decay = nonnegative(t=t, weight_decay=weight_decay)
    kernel, start = float64(kernel=kernel, initial=initial)
    if t.ndim != 1 or not len(t) or (t.diff() < 0).any():
        raise ValueError("t must be a sequence of increasing times")
    if kernel.ndim != 2 or len(kernel) != len(start) or kernel.shape[1] > len(kernel):
        raise ValueError(
            f"kernel must be (all points, training points) with {len(start)} rows as initial has, "
            f"got {tuple(kernel.shape)}"
        )

    def slope(s: float, flat: np.ndarray) -> np.ndarray:
        f = torch.from_numpy(flat).reshape(start.shape)
        seen = f[: kernel.shape[1]].clone().requires_grad_()
        (gradient,) = torch.autograd.grad(loss(seen), seen)
        moved = kernel_at(s, degree, decay.item(), kernel) @ gradient  # (1), (2)
        return (-moved - degree * decay * f).flatten().numpy()

    span, grid = (0.0, t[-1].item()), t.numpy()
    found = solve_ivp(
        slope, span, start.flatten().numpy(), "DOP853", grid, rtol=tolerance, atol=tolerance
    )
    if not found.success:
        raise RuntimeError(f"the flow did not reach t = {span[1]}: {found.message}")
    return torch.from_numpy(np.ascontiguousarray(found.y.T)).reshape(len(t), *start.shape)
