r"""The smallest scale-invariant loss, x²/(x² + y²), and why weight decay makes it chaotic.

Li, Lyu & Arora 2020, section 4 and Figure 5a. The idea: the loss depends on x/y alone, so gradient
flow reaches its minimum x = 0 whatever the decay. Steps do not: decay shrinks y, and near x = 0

    x/y  ->  (x/y) (1 - 2η/((1 - λ_e) y²)),   unstable once  y² < η/(1 - λ_e),

so the weights are thrown out, the norm grows, and it starts again. Nearby starts separate.

    paper   η   λ             λ_e = ηλ      (x, y)
    code    lr  weight_decay  lr · decay    start

Departures from the paper: Figure 5a's start is not given; ``FIGURE_5A`` has (0.01, 1) and a second
start 1 % away. The criterion is derived here.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from etalambda._common import check_nonnegative, check_positive
from etalambda.theory._arrays import ArrayLike, float64

FIGURE_5A = dict(start=[[0.01, 1.0], [0.0101, 1.0]], lr=0.1, weight_decay=0.5)
"""The two runs of Figure 5a: ``descent(**FIGURE_5A, steps=400)``."""


def loss(point: ArrayLike) -> Tensor:
    """x²/(x² + y²) of (..., 2): the squared sine of the angle to the y axis.

    Example:
        >>> loss([[1.0, 1.0], [0.0, 3.0]])
        tensor([0.5000, 0.0000], dtype=torch.float64)
    """
    x, y = _pair(point)
    return x * x / (x * x + y * y)


def gradient(point: ArrayLike) -> Tensor:
    """(2xy², -2x²y)/(x² + y²)², shape (..., 2): orthogonal to the point.

    Example:
        >>> gradient([1.0, 1.0])
        tensor([ 0.5000, -0.5000], dtype=torch.float64)
    """
    x, y = _pair(point)
    return torch.stack([2 * x * y * y, -2 * x * x * y], -1) / (x * x + y * y)[..., None] ** 2


def descent(start: ArrayLike, lr: float, weight_decay: float, steps: int) -> Tensor:
    """Gradient descent with L2: w = (1 - ηλ) w - η ∇L(w).

    Args:
        start: (..., 2), none of them 0.
        lr: η.
        weight_decay: λ.
        steps: n.

    Returns:
        float64, shape (n + 1, ..., 2).

    Raises:
        ValueError: If a number is out of range, or a start is the origin, where L is undefined.

    Example:
        >>> path = descent(**FIGURE_5A, steps=400)
        >>> low, high = loss(path[:, 0]).aminmax()
        >>> bool(low < 1e-3), bool(high > 0.05)  # it converges, and is thrown out again
        (True, True)
    """
    check_positive(lr=lr, steps=steps)
    check_nonnegative(weight_decay=weight_decay)
    _pair(start)
    (now,) = float64(start=start)
    found = [now]
    for _ in range(steps):
        now = (1 - lr * weight_decay) * now - lr * gradient(now)
        found.append(now)
    return torch.stack(found)


def multiplier(y: ArrayLike, lr: float, weight_decay: float) -> Tensor:
    """What one step multiplies x/y by, near x = 0: 1 - 2η/((1 - ηλ) y²).

    Args:
        y: y before the step, any shape.
        lr: η.
        weight_decay: λ with ηλ < 1.

    Returns:
        float64, the shape of ``y``; below -1 the minimum repels.

    Raises:
        ValueError: If ηλ >= 1, where one step of decay leaves nothing.

    Example:
        >>> multiplier([1.0, 0.3], lr=0.1, weight_decay=0.5)
        tensor([ 0.7895, -1.3392], dtype=torch.float64)
    """
    (y,) = float64(y=y)
    return 1 - 2 * lr / (_kept(lr, weight_decay) * y * y)


def unstable_below(lr: float, weight_decay: float) -> float:
    """|y| below which gradient descent leaves the minimum: √(η/(1 - ηλ)).

    Example:
        >>> round(unstable_below(lr=0.1, weight_decay=0.5), 4)
        0.3244
    """
    return math.sqrt(lr / _kept(lr, weight_decay))


def steps_to_instability(y: float, lr: float, weight_decay: float) -> float:
    """Steps that decay alone, at the minimum, needs from y to there: ln(y²_c/y²)/(2 ln(1 - ηλ)).

    Of order 1/(ηλ) again; 0 if |y| is below already, infinite without decay.

    Example:
        >>> round(steps_to_instability(1.0, lr=0.1, weight_decay=0.5), 1)
        21.9
    """
    check_positive(y=abs(y))
    ratio = math.log(unstable_below(lr, weight_decay) / abs(y))
    if ratio >= 0:
        return 0.0
    kept = math.log(_kept(lr, weight_decay))
    return ratio / kept if kept else math.inf


def _kept(lr: float, weight_decay: float) -> float:
    check_positive(lr=lr)
    check_nonnegative(weight_decay=weight_decay)
    if lr * weight_decay >= 1:
        raise ValueError(
            f"lr · weight_decay must be below 1, got {lr * weight_decay}; lower weight_decay"
        )
    return 1 - lr * weight_decay


def _pair(point: ArrayLike) -> tuple[Tensor, Tensor]:
    (point,) = float64(point=point)
    if not point.ndim or point.shape[-1] != 2:
        raise ValueError(f"point must have shape (..., 2), got {tuple(point.shape)}")
    if (point == 0).all(-1).any():
        raise ValueError("point must not be the origin; the loss is undefined there")
    return point[..., 0], point[..., 1]
