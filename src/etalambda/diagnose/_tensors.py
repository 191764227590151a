"""What the room's modules share about losses and gradients."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

Loss = Callable[[Tensor, Tensor], Tensor]
"""``loss(outputs, targets)`` -> 0-d tensor."""


def flat(parts: Iterable[Tensor | None], leaves: list[Tensor]) -> Tensor:
    """Gradients of ``leaves`` as one vector; what does not depend on a leaf is 0 there."""
    pairs = zip(parts, leaves)
    return torch.cat([(torch.zeros_like(p) if g is None else g).reshape(-1) for g, p in pairs])
