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

from etalambda._common import as_optimizers, check_positive
from etalambda.diagnose._passes import Turns, angles
from etalambda.diagnose._rows import Deferred
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

    Each call compares the weights with a copy made at the call before (the first enters nothing),
    so with ``every(10)`` the numbers are over ten steps. A row holds, a tensor, ``angle`` in
    radians, ``update``, the norm of the change, and ``alignment``, the cosine between the change
    and the weight: negative where decay or the gradient shrinks it. `Panel` has the same for the
    whole model and for kinds of tensors.

    Example:
        >>> from etalambda.diagnose import Monitor, every
        >>> w = torch.nn.Parameter(torch.tensor([1.0, 0.0]))
        >>> optimizer = torch.optim.SGD([w], lr=1.0)
        >>> monitor = Monitor(optimizer, every(1), turn=AngularUpdates())
        >>> for _ in range(2):
        ...     w.grad = torch.tensor([0.0, -0.5])
        ...     optimizer.step()
        >>> round(monitor.last["turn/angle/0"], 3), monitor.last["turn/update/0"]
        (0.322, 0.5)
    """

    def __init__(self) -> None:
        self._turns = Turns()

    def __call__(self, optimizers: Optimizer | Iterable[Optimizer]) -> dict[str, Any]:
        groups = [g for optimizer in as_optimizers(optimizers) for g in optimizer.param_groups]
        turns = self._turns([p for group in groups for p in group["params"]])
        if turns is None:
            return {}

        def finish(numbers: Tensor) -> dict[str, Any]:
            seen = dict(turns.finish(numbers))
            moved = seen["update"] > 0
            alignment = torch.where(moved, seen["along"] / seen["update"], 0.0)
            columns = dict(angle=angles(seen), update=seen["update"], alignment=alignment)
            return {name: column.tolist() for name, column in columns.items()}

        return {"": Deferred(turns.tensors, finish)}


def predicted_angles(optimizers: Optimizer | Iterable[Optimizer], *, steps: int = 1) -> list[float]:
    """The angular update in rotational equilibrium, one float a param group, in radians.

    Kosson et al. 2024, tables 1 and 2, from the lr and λ of now; see
    `etalambda.theory.plan.angular_step`. Over k steps of gradients that are independent, momentum
    β makes the turns of neighbouring steps alike, so that they add up to more than √k of them:

        angle_k² = angle_1² (k + 2 Σ_{j<k} (k - j) βʲ)

    Args:
        optimizers: One optimizer or several.
        steps: k, such as the number of steps between two rows of a `Monitor`.

    Returns:
        NaN for an optimizer without a formula, and for Lion and Muon over several steps.

    Example:
        >>> w = torch.nn.Parameter(torch.ones(2))
        >>> optimizer = torch.optim.SGD([w], lr=0.1, weight_decay=5e-4)
        >>> [round(predicted_angles(optimizer, steps=k)[0], 4) for k in (1, 4)]
        [0.01, 0.02]
    """
    check_positive(steps=steps)
    found = as_optimizers(optimizers)
    groups = [(optimizer, group) for optimizer in found for group in optimizer.param_groups]
    rates = intrinsic_lr(found)
    return [float(predicted(o, group, rate, steps)) for (o, group), rate in zip(groups, rates)]


def predicted(
    optimizer: Optimizer, group: dict[str, Any], rate: float | Tensor, steps: int = 1
) -> float | Tensor:
    """One group's entry of `predicted_angles`; a tensor where its rate is one."""
    for cls in type(optimizer).__mro__:
        if (name := cls.__name__.lower()) in FORMS:
            momentum = float(group.get("momentum", 0.0))
            betas = tuple(group.get("betas", (0.9, 0.999)))
            beta = momentum if "momentum" in group else betas[0]
            one = angular_step(cls.__name__, rate, momentum=momentum, betas=betas)
            if steps > 1 and name in ("lion", "muon"):
                return math.nan
            together = steps + 2 * sum((steps - j) * beta**j for j in range(1, min(steps, 1000)))
            return one * together**0.5
    return math.nan
