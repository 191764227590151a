r"""Where a deep linear network under L2 regularization ends: its fixed points and their stability.

Lewkowycz & Gur-Ari 2020, SM B. The idea: infinitely wide networks forget everything, finite ones
need not. For f(x) = β W_L ... W_0 x, L + 1 matrices, all norms agree at a fixed point of gradient
flow, ‖W_l‖² = f̃ = -(1/λ) Σ ℓ' f, and

    λ^(L+1)/β² = [-Σ ℓ' f]^(L-1) ‖Σ ℓ' x‖²                                          (S20)

which for one sample (x, y) is ((y - f) f)^(L-1) (y - f)² x².

    paper   L       β     λ             x²             y        W_l
    code    layers  beta  weight_decay  input_norm2    target   -

β = n^(-L/2) is the NTK's, β = 1 the standard parametrization; the loss is ½ Σ (f - y)².

Departures from the paper: for one hidden layer and x = y = 1 it prints λ√n = f - 1; it is 1 - f,
and only for λ²n < 1 (S21). Which root is stable, when there is one, and the solution for several
samples are derived here.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from etalambda._common import check_nonnegative, check_positive
from etalambda.theory._arrays import ArrayLike, float64


def deep_linear_fixed_points(
    layers: int, beta: float, weight_decay: float, input_norm2: float, target: float
) -> Tensor:
    """The outputs f ≠ 0 at which gradient flow on one sample can rest, eq. (S20), sorted.

    f = 0 is a fixed point, too, for L >= 1. With one hidden layer (L = 1) the one output is stable.
    For L >= 2 there are two or none: the one nearer to the target is stable, as is f = 0, and the
    other divides their basins.

    Args:
        layers: L, one less than the number of matrices.
        beta: β > 0.
        weight_decay: λ >= 0; at 0 the target is reached.
        input_norm2: ‖x‖² > 0.
        target: y.

    Returns:
        float64, shape (0,), (1,) or (2,), all between 0 and y.

    Raises:
        ValueError: If ``layers`` is negative or another argument is out of range.

    Example:
        >>> deep_linear_fixed_points(1, 0.5, 0.1, 1.0, 1.0)  # S21, n = 4: 1 - λ √n
        tensor([0.8000], dtype=torch.float64)
        >>> deep_linear_fixed_points(2, 1.0, 0.3, 1.0, 1.0)
        tensor([0.0295, 0.6545], dtype=torch.float64)
    """
    if layers < 0 or layers != int(layers):
        raise ValueError(f"layers must be an integer of at least 0, got {layers}")
    check_positive(beta=beta, input_norm2=input_norm2)
    check_nonnegative(weight_decay=weight_decay, target=abs(target))
    if target == 0:
        return torch.zeros(0, dtype=torch.float64)
    if weight_decay == 0:
        return torch.tensor([float(target)], dtype=torch.float64)
    size = abs(target)
    level = (layers + 1) * math.log(weight_decay) - 2 * math.log(beta)
    level -= math.log(input_norm2) + 2 * layers * math.log(size)  # of u^(L-1) (1 - u)^(L+1)
    shares = torch.tensor(_shares(layers, level), dtype=torch.float64)
    return (target * shares).sort().values


def deep_linear_threshold(layers: int, beta: float, input_norm2: float, target: float) -> float:
    """The largest λ at which a network that learned anything can rest; above it only f = 0 is left.

    Arguments and errors as ``deep_linear_fixed_points``; infinite for L = 0, a linear model.

    Example:
        >>> deep_linear_threshold(1, 0.5, 1.0, 1.0)  # S21: λ √n < 1
        0.5
    """
    if layers < 0 or layers != int(layers):
        raise ValueError(f"layers must be an integer of at least 0, got {layers}")
    check_positive(beta=beta, input_norm2=input_norm2)
    if layers == 0:
        return math.inf
    top = beta**2 * input_norm2 * abs(target) ** (2 * layers) * math.exp(_highest(layers))
    return top ** (1 / (layers + 1))


def deep_linear_function(
    layers: int, beta: float, weight_decay: float, inputs: ArrayLike, targets: ArrayLike
) -> Tensor:
    """v of the stable solution f(x) = vᵀx on several samples; zeros if only f = 0 is left.

    At a fixed point v = (XᵀX + rI)⁻¹ Xᵀ Y with r = λ/(β² f̃^L): a deep linear network is a ridge
    regression that picks its own r. The smallest r that satisfies (S20) is the stable one.

    Args:
        layers: L >= 1.
        beta: β > 0.
        weight_decay: λ > 0.
        inputs: X, shape (n, d).
        targets: Y, shape (n,).

    Returns:
        float64, shape (d,).

    Raises:
        ValueError: If shapes disagree or a number is out of range.

    Example:
        >>> deep_linear_function(1, 0.5, 0.1, [[1.0]], [1.0])
        tensor([0.8000], dtype=torch.float64)
    """
    if layers < 1 or layers != int(layers):
        raise ValueError(f"layers must be an integer of at least 1, got {layers}")
    check_positive(beta=beta, weight_decay=weight_decay)
    inputs, targets = float64(inputs=inputs, targets=targets)
    if inputs.ndim != 2 or targets.shape != inputs.shape[:1]:
        raise ValueError(
            "inputs must have shape (n, d) and targets (n,), got "
            f"{tuple(inputs.shape)} and {tuple(targets.shape)}"
        )
    values, vectors = torch.linalg.eigh(inputs.T @ inputs)
    values, moment = values.clamp_min(0), vectors.T @ (inputs.T @ targets)

    def excess(log_r: Tensor) -> Tensor:
        """log of f̃^L r β²/λ, which is 0 at a fixed point; any shape of ``log_r``."""
        r = log_r.exp()[..., None]
        squared = (moment / (values + r)) ** 2  # λ f̃ = Σ (y - f) f = r ‖v‖²
        norm2 = (r * squared).sum(-1) / weight_decay
        return layers * norm2.log() + log_r + 2 * math.log(beta) - math.log(weight_decay)

    scale = math.log(float(values.max().clamp_min(1e-300)))
    grid = torch.linspace(scale - 80, scale + 10, 4001, dtype=torch.float64)
    below = excess(grid) < 0
    if not moment.any() or below.all():
        return torch.zeros_like(moment)
    first = int((~below).int().argmax())
    low, high = grid[max(first - 1, 0)], grid[first]
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if excess(middle) < 0 else (low, middle)
    return vectors @ (moment / (values + high.exp()))


def _highest(layers: int) -> float:
    """The log of the maximum of u^(L-1) (1 - u)^(L+1), at u = (L - 1)/(2L)."""
    rise = (layers - 1) * math.log((layers - 1) / (2 * layers)) if layers > 1 else 0.0
    return rise + (layers + 1) * math.log((layers + 1) / (2 * layers)) if layers else math.inf


def _shares(layers: int, level: float) -> list[float]:
    """u = f/y in (0, 1) with (L-1) ln u + (L+1) ln(1-u) = level: at most two."""
    if layers == 0:
        return [1 / (1 + math.exp(level))] if level < 700 else [0.0]
    peak = (layers - 1) / (2 * layers)
    if level >= _highest(layers):
        return [peak] if level == _highest(layers) and layers > 1 else []

    def height(u: float) -> float:
        rise = (layers - 1) * math.log(u) if layers > 1 else 0.0
        return rise + (layers + 1) * math.log1p(-u)

    def bisect(inside: float, outside: float) -> float:
        """From a u that is high enough to one that is not."""
        for _ in range(200):
            middle = (inside + outside) / 2
            if middle in (inside, outside):
                break
            high = 0 < middle < 1 and height(middle) > level
            inside, outside = (middle, outside) if high else (inside, middle)
        return inside

    right = bisect(peak, 1.0) if layers > 1 else -math.expm1(level / 2)
    return [bisect(peak, 0.0), right] if layers > 1 else [right]
