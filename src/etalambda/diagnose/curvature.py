"""Curvature of the loss where training stands, with and without the L2 term.

The Hessian is known by its products with vectors (Pearlmutter 1994): the gradient's graph is kept,
so that one product costs one backward pass. `curvature` gives both edges of the spectrum, its
trace, the thresholded index, and the **convexifying weight decay** max(0, -λ_min): adding
(w/2)‖θ‖² shifts every eigenvalue by w, so this is the smallest torch ``weight_decay`` under L2 for
which the loss is locally convex. Richemond & Guo 2019 ask for it and answer with an index
fraction; see ``theory.gaussian_field`` for what Gaussian fields say in its place.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.optim import Optimizer

from etalambda._common import as_optimizers
from etalambda.diagnose._tensors import Loss, flat
from etalambda.diagnose.lanczos import Estimate, Spectrum, lanczos

Batches = tuple[Tensor, Tensor] | Sequence[tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Curvature:
    """The Hessian's spectrum at one point, on one batch.

    Attributes:
        minimum: λ_min.
        maximum: λ_max.
        trace: With its standard error over the probes.
        index: Fraction of eigenvalues below ``-threshold`` times the largest absolute one.
        convexifying_weight_decay: max(0, -λ_min), as torch's ``weight_decay`` under L2.
        spectrum: Nodes and weights, for densities, other thresholds and ``top(k)``.

    Example:
        >>> net, x, y = torch.nn.Linear(2, 1, bias=False), torch.eye(2), torch.zeros(2, 1)
        >>> found = curvature(net, lambda out, target: (out - target).square().sum(), (x, y))
        >>> found.index.value, found.convexifying_weight_decay
        (0.0, 0.0)
    """

    minimum: float
    maximum: float
    trace: Estimate
    index: Estimate
    convexifying_weight_decay: float
    spectrum: Spectrum


def hessian_vector_product(
    model: nn.Module,
    loss: Loss,
    batch: Batches,
    *,
    optimizers: Optimizer | Iterable[Optimizer] | None = None,
    mode: str | None = None,
    dtype: torch.dtype | None = None,
    process_group: Any = None,
) -> tuple[Callable[[Tensor], Tensor], int]:
    """v -> H v for the loss on one batch, over all trainable parameters, and their number.

    Args:
        model: Left as it is: buffers, gradients and train/eval mode do not change.
        loss: ``loss(model(inputs), targets)`` -> 0-d tensor, without any L2 term.
        batch: ``(inputs, targets)``, or a list of such: the loss is then the mean over all their
            samples. Each one's graph is kept, so memory grows with their number.
        optimizers: If given, each tensor's ``weight_decay`` w is added to its diagonal: the
            Hessian of the loss with its L2 term.
        mode: ``"train"`` or ``"eval"`` for BatchNorm and dropout; None leaves the model's.
        dtype: Compute in this dtype, such as ``torch.float64``; None keeps the model's.
        process_group: Of ranks that hold the same weights and batches of their own (DDP): the
            loss is the mean over all ranks' samples. All of them call, in the same order;
            ``torch.distributed.group.WORLD`` is all there are.

    Raises:
        ValueError: If ``mode`` is unknown, nothing is trainable, there is no batch, or the loss is
            not finite.

    Example:
        >>> net, x, y = torch.nn.Linear(2, 1, bias=False), torch.eye(2), torch.zeros(2, 1)
        >>> loss = lambda out, y: (out - y).square().sum()
        >>> product, n = hessian_vector_product(net, loss, (x, y))
        >>> n, product(torch.ones(2))
        (2, tensor([2., 2.]))
    """
    if mode not in (None, "train", "eval"):
        raise ValueError(f"mode must be 'train', 'eval' or None, got {mode!r}")
    model = model.module if isinstance(model, nn.parallel.DistributedDataParallel) else model
    names = [name for name, p in model.named_parameters() if p.requires_grad]
    if not names:
        raise ValueError("the model has no trainable parameter; is everything frozen?")
    batches = _listed(batch)
    graphs = [_graph(model, loss, one, names, mode, dtype) for one in batches]
    counts = torch.tensor([float(len(inputs)) for inputs, _ in batches], dtype=torch.float64)
    total = counts.sum()
    if process_group is not None:
        home = graphs[0][1][0].device
        total = total.to(home)
        torch.distributed.all_reduce(total, group=process_group)
    shares = (counts / total.cpu()).tolist()
    leaves = graphs[0][1]
    decay = _diagonal(dict(model.named_parameters()), names, leaves, optimizers)

    def product(v: Tensor) -> Tensor:
        curved = sum(share * _curved(*graph, v) for share, graph in zip(shares, graphs))
        if process_group is not None:
            torch.distributed.all_reduce(curved, group=process_group)
        return curved + decay * v

    return product, sum(leaf.numel() for leaf in leaves)


def _listed(batch: Any) -> list[tuple[Tensor, Tensor]]:
    """One ``(inputs, targets)`` or several, as a list."""
    found = list(batch)
    if not found:
        raise ValueError("batch is an empty list; pass at least one (inputs, targets)")
    return [batch] if isinstance(found[0], Tensor) else found


def _graph(
    model: nn.Module,
    loss: Loss,
    batch: tuple[Tensor, Tensor],
    names: list[str],
    mode: str | None,
    dtype: torch.dtype | None,
) -> tuple[Tensor, list[Tensor]]:
    """The flat gradient on one batch with its graph kept, and the leaves it hangs on."""

    def cast(t: Tensor) -> Tensor:
        return t.to(dtype) if dtype is not None and t.is_floating_point() else t

    tensors = {name: cast(p.detach()) for name, p in model.named_parameters()}
    leaves = [tensors[name].clone().requires_grad_() for name in names]
    tensors |= dict(zip(names, leaves))
    tensors |= {name: cast(b).clone() for name, b in model.named_buffers()}
    modes = [(module, module.training) for module in model.modules()]
    try:
        if mode is not None:
            model.train(mode == "train")
        value = loss(functional_call(model, tensors, (cast(batch[0]),)), cast(batch[1]))
    finally:
        for module, training in modes:  # each its own: a frozen BatchNorm stays in eval mode
            module.training = training
    if not torch.isfinite(value):
        raise ValueError(f"the loss is {value.item()}: curvature needs a finite loss")
    return flat(torch.autograd.grad(value, leaves, create_graph=True), leaves), leaves


def _curved(gradient: Tensor, leaves: list[Tensor], v: Tensor) -> Tensor:
    """H v on one batch."""
    if not gradient.requires_grad:  # a linear loss: the Hessian is 0
        return torch.zeros_like(v)
    parts = torch.autograd.grad(gradient @ v, leaves, retain_graph=True, allow_unused=True)
    return flat(parts, leaves)


def curvature(
    model: nn.Module,
    loss: Loss,
    batch: Batches,
    *,
    optimizers: Optimizer | Iterable[Optimizer] | None = None,
    mode: str | None = None,
    dtype: torch.dtype | None = None,
    process_group: Any = None,
    steps: int = 64,
    probes: int = 1,
    threshold: float = 0.01,
    seed: int = 0,
) -> Curvature:
    """Edges, trace and index of the loss's Hessian, and the weight decay that convexifies it.

    The first arguments are those of `hessian_vector_product`, the others those of `lanczos` and
    ``Spectrum.index``. Costs one forward pass and ``1 + steps * probes`` backward passes.

    Example:
        >>> net, x, y = torch.nn.Linear(2, 1, bias=False), torch.eye(2), torch.zeros(2, 1)
        >>> found = curvature(net, lambda out, target: (out - target).square().sum(), (x, y))
        >>> round(found.minimum, 5), round(found.maximum, 5), found.convexifying_weight_decay
        (2.0, 2.0, 0.0)
    """
    product, dimension = hessian_vector_product(
        model,
        loss,
        batch,
        optimizers=optimizers,
        mode=mode,
        dtype=dtype,
        process_group=process_group,
    )
    leaf = next(p for p in model.parameters() if p.requires_grad)
    spectrum = lanczos(
        product,
        dimension,
        steps=steps,
        probes=probes,
        seed=seed,
        dtype=dtype or leaf.dtype,
        device=leaf.device,
    )
    return Curvature(
        spectrum.low,
        spectrum.high,
        spectrum.trace(),
        spectrum.index(threshold),
        max(0.0, -spectrum.low),
        spectrum,
    )


def hessian_index(model: nn.Module, loss: Loss, batch: Batches, **options: object) -> Estimate:
    """The thresholded fraction of negative curvature directions; options as for `curvature`.

    Example:
        >>> net, x = torch.nn.Linear(2, 1, bias=False), torch.eye(2)
        >>> saddle = lambda out, target: (target * out.square()).sum()
        >>> hessian_index(net, saddle, (x, torch.tensor([[1.0], [-1.0]])), steps=2).value > 0
        True
    """
    return curvature(model, loss, batch, **options).index  # pyrefly: ignore[bad-argument-type]


def _diagonal(
    parameters: dict[str, nn.Parameter],
    names: list[str],
    leaves: list[Tensor],
    optimizers: Optimizer | Iterable[Optimizer] | None,
) -> Tensor:
    """The L2 term's Hessian: each tensor's weight decay, once an entry; 0 without optimizers."""
    found = [] if optimizers is None else as_optimizers(optimizers)
    groups = [group for optimizer in found for group in optimizer.param_groups]
    decay = {id(p): float(g.get("weight_decay", 0)) for g in groups for p in g["params"]}
    sizes = zip(names, leaves)
    return torch.cat(
        [
            leaf.new_full((leaf.numel(),), decay.get(id(parameters[name]), 0.0))
            for name, leaf in sizes
        ]
    )
