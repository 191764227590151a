"""Weight norms and the effective learning rate, read off live optimizers.

Li, Lyu & Arora 2020, section 5. The idea: a network that feeds its weights W into normalisation
does not see their size, so a step of lr η on W is a step of η/‖W‖² on the direction W/‖W‖.

    effective lr = η / ‖W‖²          and          γ = (‖W‖² / η)² = (effective lr)⁻²

    paper   η    W                           η/‖W‖²
    code    lr   the parameters of a group   effective_lr

Departures from the paper: SGD's momentum β is counted as the lr η/(1 - β) (the paper's appendix C
prints ηλ/(1 - γ) there); for optimizers that precondition the gradient (Adam) the number compares
one moment of a run with another, not one run with another.
"""

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.optim import Optimizer

from etalambda._common import as_optimizers


def _squared_norm(tensor: Tensor) -> Tensor:
    """‖w‖² as a 0-d float64 tensor on the tensor's device; of the whole for a sharded tensor."""
    squared = torch.linalg.vector_norm(tensor.detach(), dtype=_accumulator(tensor)) ** 2
    full = getattr(squared, "full_tensor", None)  # DTensor: a partial sum until it is gathered
    return (full() if full is not None else squared).double()


def _accumulator(tensor: Tensor) -> torch.dtype:
    return torch.complex128 if tensor.is_complex() else torch.float64


def weight_norms(optimizers: Optimizer | Iterable[Optimizer], *, per: str = "group") -> list[float]:
    """‖W‖ of every param group, or of every tensor with ``per="tensor"``, in order.

    Returns:
        One float a group (all its tensors taken as one vector) or a tensor. Complex entries count
        by modulus. An empty group has norm 0.

    Raises:
        ValueError: If ``per`` is neither ``"group"`` nor ``"tensor"``.

    Example:
        >>> w = torch.nn.Parameter(torch.tensor([3.0, 4.0]))
        >>> b = torch.nn.Parameter(torch.tensor([12.0]))
        >>> optimizer = torch.optim.SGD([w, b], lr=0.1)
        >>> weight_norms(optimizer), weight_norms(optimizer, per="tensor")
        ([13.0], [5.0, 12.0])
    """
    if per not in ("group", "tensor"):
        raise ValueError(f"per must be 'group' or 'tensor', got {per!r}")
    norms = []
    for optimizer in as_optimizers(optimizers):
        for group in optimizer.param_groups:
            squares = [_squared_norm(p) for p in group["params"]]
            norms += [[s] for s in squares] if per == "tensor" else [squares]
    return [float(sum(float(s) for s in squares)) ** 0.5 for squares in norms]


def effective_lr(optimizers: Optimizer | Iterable[Optimizer], *, per: str = "group") -> list[float]:
    """η/‖W‖² of every param group or tensor: how far one step turns scale-invariant weights.

    Li, Lyu & Arora 2020, section 5. SGD's momentum β counts as η/(1 - β).

    Returns:
        One float a group (or tensor), in order; infinite where all weights are 0.

    Raises:
        ValueError: If ``per`` is neither ``"group"`` nor ``"tensor"``.

    Example:
        >>> w = torch.nn.Parameter(torch.tensor([3.0, 4.0]))
        >>> effective_lr(torch.optim.SGD([w], lr=0.5))
        [0.02]
    """
    found, rates = as_optimizers(optimizers), []
    for optimizer in found:
        for group in optimizer.param_groups:
            copies = len(group["params"]) if per == "tensor" else 1
            rates += [float(group["lr"]) / (1 - group.get("momentum", 0.0))] * copies
    return [r / n**2 if n else float("inf") for r, n in zip(rates, weight_norms(found, per=per))]
