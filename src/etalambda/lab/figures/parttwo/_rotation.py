"""AdamW whose steps are angles: the stacked form of `etalambda.optim.hyperball`, and a protractor.

In equilibrium AdamW turns a matrix by √(2 lr λ (1 - β1)/(1 + β1)) a step, as
`theory.plan.angular_step` has it. Both functions wrap the update of `engine.many.Many`: one
prescribes that angle, one measures it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from etalambda.theory.plan import angular_step

Update = Callable[..., tuple[list[Tensor], Any]]
"""(params, grads, state, lr, decays) -> params and state; tensors (T, ...), rates (T,)."""


def by_angle(update: Update, angles: Tensor) -> Update:
    """The update with every matrix at its norm, turned by the angle of its step, (steps, T).

    The lr still moves the biases, which do not decay.
    """
    left = iter(angles)

    def turned(
        params: list[Tensor], grads: Any, state: Any, lr: Tensor, decays: Any
    ) -> tuple[list[Tensor], Any]:
        free, state = update(params, grads, state, lr, {})
        angle = next(left).to(lr)
        return [_turn(a, b, angle) if a.dim() > 2 else b for a, b in zip(params, free)], state

    return turned


def settled(lr: Tensor, weight_decay: Tensor) -> Tensor:
    """AdamW's angle at every step as if its norm were in equilibrium."""
    return angular_step("adamw", lr * weight_decay)


def following(lr: Tensor, weight_decay: Tensor, start: float) -> Tensor:
    """AdamW's angle at every step with the norm on its way: lr √((1 - β1)/(1 + β1)) / √s.

    s, the mean square of a matrix, starts at ``start``; a step of independent updates, of about 1
    an entry, takes it to (1 - lr λ)² s + lr². Its equilibrium lr/(2λ) gives `settled`.

    >>> lr, decay = torch.full((2, 2000, 1), 0.01, dtype=torch.float64)
    >>> torch.allclose(following(lr, 50 * decay, 1.0)[-1], settled(lr, 50 * decay)[-1], rtol=0.01)
    True
    """
    square, angles = torch.full_like(lr[0], start), []
    unit = angular_step("adamw", 0.5)  # √((1 - β1)/(1 + β1))
    for rate, decay in zip(lr, weight_decay):
        angles.append(unit * rate / square.sqrt())
        square = (1 - rate * decay) ** 2 * square + rate**2
    return torch.stack(angles)


def _turn(start: Tensor, moved: Tensor, angle: Tensor) -> Tensor:
    """R · Norm(W + angle · R · Norm(ΔW)), R = ‖W‖, of T matrices; W itself where ΔW is 0."""
    change = moved - start
    radius, length = _norms(start), _norms(change)
    tilted = start + change * _wide(angle * radius / length.clamp_min(1e-30), start)
    return tilted * _wide(radius / _norms(tilted), start)


def measured(update: Update, angles: list[Tensor], every: int = 5) -> Update:
    """The update, noting by how much it turns matrices: (T,) radians, the mean over matrices."""
    calls = 0

    def noted(params: list[Tensor], *rest: Any) -> tuple[list[Tensor], Any]:
        nonlocal calls
        new, state = update(params, *rest)
        if calls % every == 0:
            pairs = [(a, b) for a, b in zip(params, new) if a.dim() > 2]
            angles.append(torch.stack([_angle(a, b) for a, b in pairs]).mean(0).cpu())
        calls += 1
        return new, state

    return noted


def _angle(start: Tensor, end: Tensor) -> Tensor:
    """The angle between T matrices and T others; from its tangent, as it may be small."""
    along = (start * end).flatten(1).sum(1) / _norms(start).square()
    return torch.atan2(_norms(end - start * _wide(along, start)), along * _norms(start))


def _norms(x: Tensor) -> Tensor:
    return x.flatten(1).norm(dim=1)


def _wide(x: Tensor, like: Tensor) -> Tensor:
    return x.view(-1, *[1] * (like.dim() - 1))
