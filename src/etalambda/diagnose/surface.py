"""Slices of the loss: along directions through the weights, and between two checkpoints.

Li et al. 2018 (*Visualizing the loss landscape*): a random direction is scaled filter by filter to
the norm of the weights, so that slices of networks with different norms can be compared. Under
weight decay that matters twice: a scale-invariant network looks sharper merely because it shrank.

Departures from the paper: biases and norm gains stay fixed, as its code does and its text omits.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call

from etalambda.diagnose._tensors import Loss

Direction = dict[str, Tensor]


def filter_normalized_direction(model: nn.Module, *, seed: int = 0) -> Direction:
    """A random direction with, filter by filter, the norm of the model's weights.

    Returns:
        A tensor a trainable parameter of two or more dimensions; 1-D ones are left out.

    Example:
        >>> net = torch.nn.Linear(3, 2)
        >>> direction = filter_normalized_direction(net)["weight"]
        >>> torch.allclose(direction.norm(dim=1), net.weight.norm(dim=1))
        True
    """
    generator = torch.Generator().manual_seed(seed)
    found = {}
    for name, p in model.named_parameters():
        if p.ndim < 2 or not p.requires_grad:
            continue
        draw = torch.randn(p.shape, generator=generator, dtype=torch.float64).to(p)
        rows, weights = draw.flatten(1), p.detach().flatten(1)
        scale = weights.norm(dim=1) / rows.norm(dim=1).clamp_min(1e-30)
        found[name] = (rows * scale[:, None]).reshape(p.shape)
    return found


@torch.no_grad()
def loss_slice(
    model: nn.Module,
    loss: Loss,
    batch: tuple[Tensor, Tensor],
    directions: Sequence[Direction],
    *grids: Sequence[float] | Tensor,
) -> Tensor:
    """The loss on θ + Σ a_i d_i for every combination of the grids' coefficients.

    Args:
        model: Left as it is, buffers too.
        loss: ``loss(outputs, targets)`` -> 0-d tensor.
        batch: ``(inputs, targets)``.
        directions: One or two, from `filter_normalized_direction` or a difference of weights.
        grids: One grid of coefficients a direction.

    Returns:
        Shape ``(len(grid),)`` for one direction, ``(len(grid), len(grid2))`` for two.

    Raises:
        ValueError: If directions and grids differ in number, or a direction does not fit.

    Example:
        >>> net = torch.nn.Linear(1, 1, bias=False)
        >>> one = {"weight": torch.ones(1, 1) - net.weight.detach()}
        >>> batch = torch.ones(1, 1), torch.ones(1, 1)
        >>> bool(loss_slice(net, torch.nn.MSELoss(), batch, [one], [1.0]) == 0)
        True
    """
    if len(directions) != len(grids) or not grids:
        raise ValueError(f"one grid a direction, got {len(directions)} and {len(grids)}")
    named = {name: p.detach() for name, p in model.named_parameters()}
    for direction in directions:
        if wrong := [
            n for n, d in direction.items() if n not in named or named[n].shape != d.shape
        ]:
            raise ValueError(f"the direction does not fit the model at {wrong[0]!r}")
    axes = [torch.as_tensor(grid, dtype=torch.float64) for grid in grids]
    points = torch.cartesian_prod(*axes).reshape(-1, len(axes))
    values = []
    for point in points.tolist():
        moved = dict(named)
        for direction, a in zip(directions, point):
            moved |= {name: moved[name] + a * d for name, d in direction.items()}
        moved |= {name: b.clone() for name, b in model.named_buffers()}
        values.append(loss(functional_call(model, moved, (batch[0],)), batch[1]))
    return torch.stack(values).reshape([len(axis) for axis in axes])


def direction_between(model: nn.Module, other: nn.Module | dict[str, Tensor]) -> Direction:
    """From ``model`` to another checkpoint: coefficient 0 is here, 1 is there.

    Example:
        >>> a, b = torch.nn.Linear(2, 1), torch.nn.Linear(2, 1)
        >>> sorted(direction_between(a, b))
        ['bias', 'weight']
    """
    there = dict(other.named_parameters()) if isinstance(other, nn.Module) else other
    here = dict(model.named_parameters())
    if missing := sorted(set(here) - set(there)):
        raise ValueError(f"the other checkpoint lacks {missing[0]!r}")
    return {name: there[name].detach() - p.detach() for name, p in here.items()}
