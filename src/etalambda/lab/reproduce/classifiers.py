"""Scale-invariant networks that train by the hundred: f(cW) = f(W) for all they train (LLA-D1).

Every trained matrix feeds a normalization without gain and shift, and the last layer is fixed: a
constant of the network's shape, the same for every seed.
"""

from __future__ import annotations

from functools import cache
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from etalambda._common import unknown

NORMS = ("batch", "group")


class InvariantMLP(nn.Module):
    """Linear maps, each followed by a normalization and ReLU, and a fixed last layer.

    Args:
        widths: Sizes of all layers, input and output included.
        norm: ``batch`` normalizes a unit over the batch, at test time over all that is asked at
            once; ``group`` a picture over its units.

    Shape:
        ``x`` (B, widths[0]) gives (B, widths[-1]).

    Raises:
        ValueError: If the normalization is unknown.

    Example:
        >>> net = InvariantMLP((64, 32, 10))
        >>> x = torch.randn(5, 64)
        >>> before = net(x)
        >>> for p in net.parameters():
        ...     p.data *= 10
        >>> bool(torch.allclose(net(x), before, atol=1e-5))
        True
    """

    def __init__(self, widths: tuple[int, ...] = (64, 64, 64, 10), norm: str = "batch") -> None:
        super().__init__()
        if norm not in NORMS:
            raise unknown("norm", norm, NORMS)
        self.classes, self.dim = widths[-1], -2 if norm == "batch" else -1
        self.layers = nn.ParameterList(
            torch.randn(b, a) * (2 / a) ** 0.5 for a, b in pairwise(widths[:-1])
        )

    def forward(self, x: Tensor) -> Tensor:
        """Logits of the inputs."""
        for weight in self.layers:
            x = normalized(x @ weight.T, self.dim).relu()
        return x @ fixed_head(x.shape[-1], self.classes).to(x)


def normalized(x: Tensor, dim: int) -> Tensor:
    """Mean 0 and variance 1 along ``dim``; ε = 0 up to the smallest normal number."""
    x = x - x.mean(dim, keepdim=True)
    return x * x.square().mean(dim, keepdim=True).clamp_min(1e-30).rsqrt()


@cache
def fixed_head(width: int, classes: int) -> Tensor:
    """The last layer: orthogonal columns of norm √(classes), drawn once from seed 0, float64."""
    made = torch.Generator().manual_seed(0)
    random = torch.randn(width, max(width, classes), generator=made, dtype=torch.float64)
    basis: Any = torch.linalg.qr(random)[0] if width >= classes else random / width**0.5
    return basis[:, :classes] * classes**0.5
