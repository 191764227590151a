"""The empirical neural tangent kernel, and how fast L2 makes it decay.

Lewkowycz & Gur-Ari 2020, theorem 1: for a k-homogeneous network trained with L2 of strength λ the
kernel Θ(x, x') = ∂f(x)/∂θ · ∂f(x')/∂θ shrinks, at infinite width, as

    Θ_t = exp(-2(k - 1)λt) Θ_0,       t = lr × steps

    paper   Θ_t(x, x')       k                  λ
    code    empirical_ntk    degree             weight_decay

Departures from the paper: at finite width the feature part of the dynamics adds to the decay.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call, jacrev, vmap

from etalambda._common import check_nonnegative, check_positive


def empirical_ntk(
    model: nn.Module,
    inputs: Tensor,
    others: Tensor | None = None,
    *,
    per_output: bool = False,
    batch_size: int | None = None,
) -> Tensor:
    """Θ(x, x') over all trainable parameters.

    Args:
        model: In eval mode if it has BatchNorm or dropout: samples must not see each other.
        inputs: Shape ``(n, ...)``.
        others: Shape ``(m, ...)``; None means ``inputs``.
        per_output: Return the blocks between outputs instead of their mean trace.
        batch_size: How many Jacobians of each side are held at a time; None holds all.

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
    if batch_size is None:
        return _kernel(model, inputs, inputs if others is None else others, per_output)
    check_positive(batch_size=batch_size)
    right = (inputs if others is None else others).split(batch_size)
    rows = [
        torch.cat([_kernel(model, left, part, per_output) for part in right], 1)
        for left in inputs.split(batch_size)
    ]
    return torch.cat(rows)


def _kernel(model: nn.Module, left: Tensor, right: Tensor, per_output: bool) -> Tensor:
    first = _jacobians(model, left)
    second = first if right is left else _jacobians(model, right)
    parts = [torch.einsum("nap,mbp->nmab", a, b) for a, b in zip(first, second)]
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


@dataclass(frozen=True)
class KernelModes:
    """A kernel's eigenvalues, the largest first, and eigenvectors, shape ``(n, n)``, as columns.

    Example:
        >>> found = ntk_modes(torch.tensor([[2.0, 0.0], [0.0, 5.0]]))  # a `KernelModes`
        >>> found.eigenvalues
        tensor([5., 2.], dtype=torch.float64)
    """

    eigenvalues: Tensor
    vectors: Tensor

    def components(self, function: Tensor) -> Tensor:
        """f_a = ê_a · f of a function on the inputs, ``(n,)`` or ``(n, outputs)``: the modes."""
        return self.vectors.T @ function.to(self.vectors)


def ntk_modes(kernel: Tensor) -> KernelModes:
    """The modes of a kernel on one set of inputs (Lewkowycz & Gur-Ari 2020, theorem 2).

    Each mode of the function evolves by itself, as `etalambda.theory.wide.mode` says for its
    eigenvalue γ_a: compare ``components`` of the outputs along a run with it.

    Args:
        kernel: Shape ``(n, n)``, of `empirical_ntk`; symmetric.

    Raises:
        ValueError: If it is not a symmetric matrix.

    Example:
        >>> found = ntk_modes(torch.tensor([[2.0, 0.0], [0.0, 5.0]]))
        >>> found.eigenvalues, found.components(torch.tensor([1.0, 3.0])).abs()
        (tensor([5., 2.], dtype=torch.float64), tensor([3., 1.], dtype=torch.float64))
    """
    matrix = kernel.detach().double()
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise ValueError(f"kernel must have shape (n, n), got {tuple(matrix.shape)}")
    if not torch.allclose(matrix, matrix.T, rtol=1e-4, atol=1e-6 * float(matrix.abs().max())):
        raise ValueError("kernel must be symmetric; pass the kernel of one set of inputs")
    values, vectors = torch.linalg.eigh((matrix + matrix.T) / 2)
    return KernelModes(values.flip(0), vectors.flip(1))
