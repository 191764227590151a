"""The empirical neural tangent kernel, and how fast L2 makes it decay.

Lewkowycz & Gur-Ari 2020, theorem 1: for a k-homogeneous network trained with L2 of strength λ the
kernel Θ(x, x') = ∂f(x)/∂θ · ∂f(x')/∂θ shrinks, at infinite width, as

    Θ_t = exp(-2(k - 1)λt) Θ_0,       t = lr × steps

    paper   Θ_t(x, x')       k                  λ
    code    empirical_ntk    degree             weight_decay

Departures from the paper: at finite width the feature part of the dynamics adds to the decay.
"""

import math

import torch
from torch import Tensor, nn
from torch.func import functional_call, jacrev, vmap

from etalambda._common import check_nonnegative


def empirical_ntk(
    model: nn.Module, inputs: Tensor, others: Tensor | None = None, *, per_output: bool = False
) -> Tensor:
    """Θ(x, x') over all trainable parameters.

    Args:
        model: In eval mode if it has BatchNorm or dropout: samples must not see each other.
        inputs: Shape ``(n, ...)``.
        others: Shape ``(m, ...)``; None means ``inputs``.
        per_output: Return the blocks between outputs instead of their mean trace.

    Returns:
        ``(n, m)``: the trace over outputs divided by their number; or ``(n, m, outputs, outputs)``.

    Raises:
        ValueError: If a layer mixes samples (BatchNorm in train mode).

    Example:
        >>> net = torch.nn.Linear(2, 1, bias=False)
        >>> empirical_ntk(net, torch.eye(2))
        tensor([[1., 0.],
                [0., 1.]])
    """
    if model.training and any(
        isinstance(m, nn.modules.batchnorm._BatchNorm) for m in model.modules()
    ):
        raise ValueError("BatchNorm in train mode mixes samples; call model.eval() first")
    left = _jacobians(model, inputs)
    right = left if others is None else _jacobians(model, others)
    parts = [torch.einsum("nap,mbp->nmab", a, b) for a, b in zip(left, right)]
    blocks = torch.stack(parts).sum(0)
    return blocks if per_output else blocks.diagonal(dim1=2, dim2=3).mean(-1)


def _jacobians(model: nn.Module, inputs: Tensor) -> list[Tensor]:
    """∂f(x)/∂θ of every trainable tensor, each ``(n, outputs, size of the tensor)``."""
    free = {n: p.detach() for n, p in model.named_parameters() if p.requires_grad}
    if not free:
        raise ValueError("the model has no trainable parameter; is everything frozen?")
    fixed = {n: p.detach() for n, p in model.named_parameters() if not p.requires_grad}
    fixed |= dict(model.named_buffers())

    def outputs(named: dict[str, Tensor], x: Tensor) -> Tensor:
        return functional_call(model, named | fixed, (x[None],))[0].reshape(-1)

    found = vmap(jacrev(outputs), (None, 0))(free, inputs)
    return [jacobian.flatten(2) for jacobian in found.values()]


def predicted_ntk_decay(degree: float, weight_decay: float, time: float) -> float:
    """exp(-2(k - 1)λt): what is left of the kernel under L2 at infinite width (theorem 1).

    Args:
        degree: k, see `homogeneity`. 1 keeps the kernel, below 1 it grows.
        weight_decay: torch's, under L2 (SGD).
        time: t = lr × steps of plain SGD.

    Example:
        >>> round(predicted_ntk_decay(degree=2, weight_decay=0.01, time=50.0), 4)
        0.3679
    """
    check_nonnegative(weight_decay=weight_decay, time=time)
    return math.exp(-2 * (degree - 1) * weight_decay * time)
