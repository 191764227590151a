"""How far the weights turn: the angular update, measured and predicted, and its alignment.

Kosson et al. 2024 (*Rotational equilibrium*), after Li, Lyu & Arora 2020. Under weight decay the
norm settles where growth by updates and shrinkage by decay balance; from then on each step turns a
weight vector by a fixed angle that lr and λ set together, whatever the gradient's size:

    SGD, momentum μ   √(2ηλ / (1 + μ))
    AdamW             √(2ηλ (1 - β1) / (1 + β1))
    Lion              √(π/2) √(2ηλ) √((1 - β1)² + β1² (1 - β2)/(1 + β2))

    paper   angle                  η    λ             μ, β1, β2
    code    AngularUpdates(...)    lr   weight_decay  momentum, betas

The measured angle is 2 atan2(‖â - b̂‖, ‖â + b̂‖): arccos of a float32 cosine returns 0 for every
angle below 1e-3. Departures from the paper: whole tensors, not neurons.
"""

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from etalambda._common import as_optimizers
from etalambda.diagnose.decay import intrinsic_lr
from etalambda.theory.budget import FORMS
from etalambda.theory.plan import angular_step


def angle(a: Tensor, b: Tensor) -> float:
    """The angle between two tensors taken as vectors, in radians; 0 if one of them is 0.

    Example:
        >>> round(angle(torch.tensor([1.0, 0.0]), torch.tensor([1.0, 1e-5])), 9)
        1e-05
    """
    if a.shape != b.shape:
        raise ValueError(f"shapes must agree, got {tuple(a.shape)} and {tuple(b.shape)}")
    x, y = (t.detach().reshape(-1).double() for t in (a, b))
    norms = torch.linalg.vector_norm(x), torch.linalg.vector_norm(y)
    if not (norms[0] > 0 and norms[1] > 0):
        return 0.0
    x, y = x / norms[0], y / norms[1]
    apart, together = torch.linalg.vector_norm(x - y), torch.linalg.vector_norm(x + y)
    return 2 * math.atan2(float(apart), float(together))


class AngularUpdates:
    """A `Monitor` quantity: what every tensor did since the quantity was last taken.

    Each call compares the weights with a copy made at the call before (the first returns nothing),
    so with ``every(10)`` the numbers are over ten steps. A row holds, a tensor, ``angle`` in
    radians, ``update``, the norm of the change, and ``alignment``, the cosine between the change
    and the weight: negative where decay or the gradient shrinks it.

    Example:
        >>> w = torch.nn.Parameter(torch.tensor([1.0, 0.0]))
        >>> optimizer, turned = torch.optim.SGD([w], lr=1.0), AngularUpdates()
        >>> turned([optimizer])
        {}
        >>> w.grad = torch.tensor([0.0, -1.0])
        >>> optimizer.step()
        >>> {key: round(value, 4) for key, value in turned([optimizer]).items()}
        {'angle/0': 0.7854, 'update/0': 1.0, 'alignment/0': 0.0}
    """

    def __init__(self) -> None:
        self._before: list[Tensor] = []

    def __call__(self, optimizers: Optimizer | Iterable[Optimizer]) -> dict[str, float]:
        groups = [g for optimizer in as_optimizers(optimizers) for g in optimizer.param_groups]
        now = [p.detach().clone() for group in groups for p in group["params"]]
        row: dict[str, float] = {}
        for index, (old, new) in enumerate(zip(self._before, now)):
            change = (new - old).double().reshape(-1)
            size = float(torch.linalg.vector_norm(change))
            weight = old.double().reshape(-1)
            scale = size * float(torch.linalg.vector_norm(weight))
            row[f"angle/{index}"] = angle(old, new)
            row[f"update/{index}"] = size
            row[f"alignment/{index}"] = float(change @ weight) / scale if scale else 0.0
        self._before = now
        return row


def predicted_angles(optimizers: Optimizer | Iterable[Optimizer]) -> list[float]:
    """The angular update per step in rotational equilibrium, one float a param group.

    Kosson et al. 2024, tables 1 and 2, in radians for one step, from the lr and λ of now; see
    `etalambda.theory.plan.angular_step`. NaN for an optimizer without a formula.

    Example:
        >>> w = torch.nn.Parameter(torch.ones(2))
        >>> round(predicted_angles(torch.optim.SGD([w], lr=0.1, weight_decay=5e-4))[0], 4)
        0.01
    """
    found = as_optimizers(optimizers)
    groups = [(optimizer, group) for optimizer in found for group in optimizer.param_groups]
    return [_predicted(o, group, rate) for (o, group), rate in zip(groups, intrinsic_lr(found))]


def _predicted(optimizer: Optimizer, group: dict[str, Any], rate: float) -> float:
    for cls in type(optimizer).__mro__:
        if cls.__name__.lower() in FORMS:
            momentum = float(group.get("momentum", 0.0))
            betas = group.get("betas", (0.9, 0.999))
            return float(angular_step(cls.__name__, rate, momentum=momentum, betas=betas))
    return math.nan
