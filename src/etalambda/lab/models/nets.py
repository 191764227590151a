"""The small networks that the lab trains by the hundred.

A network may say how many of its kind are computed at once: a static ``stacked(params, x)``, with
every parameter stacked along a new first dimension. It must agree with `torch.func.vmap` of the
module itself (a law in the tests); without one, `Stacked` uses vmap.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from etalambda.lab.models.resnets import BasicBlock, conv3

Params = Mapping[str, Tensor]


class MLP(nn.Module):
    """Linear layers with ReLU between them.

    Args:
        widths: Sizes of all layers, input and output included.

    Shape:
        ``x`` (B, widths[0]) gives (B, widths[-1]).

    Example:
        >>> MLP((64, 32, 10))(torch.zeros(5, 64)).shape
        torch.Size([5, 10])
    """

    def __init__(self, widths: tuple[int, ...] = (64, 64, 64, 10)) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))

    def forward(self, x: Tensor) -> Tensor:
        """Logits of the inputs."""
        for layer in self.layers[:-1]:
            x = layer(x).relu()
        return self.layers[-1](x)

    @staticmethod
    def stacked(params: Params, x: Tensor) -> Tensor:
        """(T, B, inputs) -> (T, B, classes), every parameter (T, ...)."""
        last = len(params) // 2 - 1
        for i in range(last + 1):
            weight, bias = params[f"layers.{i}.weight"], params[f"layers.{i}.bias"]
            x = torch.baddbmm(bias.unsqueeze(1), x, weight.transpose(1, 2))
            x = x.relu() if i < last else x
        return x


class Quadratic(nn.Module):
    """z = W2 (W1 x)² for two one-hot inputs (Gromov 2023), without biases; N(0, 1/fan_in).

    W1 x of two one-hot vectors is the sum of two rows of W1ᵀ, so the inputs are their indices.

    Args:
        p: Classes, and values of each input.
        width: Hidden width.

    Shape:
        ``x`` (B, 2) of integers in [0, p) gives (B, p).

    Example:
        >>> Quadratic(p=7)(torch.tensor([[2, 5], [6, 6]])).shape  # two sums modulo 7
        torch.Size([2, 7])
    """

    def __init__(self, p: int = 31, width: int = 128) -> None:
        super().__init__()
        self.first = nn.Parameter(torch.randn(2 * p, width) / (2 * p) ** 0.5)
        self.second = nn.Parameter(torch.randn(width, p) / width**0.5)

    def forward(self, x: Tensor) -> Tensor:
        """Logits of the pairs."""
        p = self.second.shape[-1]
        hidden = self.first[x[..., 0]] + self.first[x[..., 1] + p]
        return (hidden * hidden) @ self.second

    @staticmethod
    def stacked(params: Params, x: Tensor) -> Tensor:
        """(T, B, 2) -> (T, B, p), every parameter (T, ...)."""
        first, second = params["first"], params["second"]
        trials, rows, width = first.shape
        shift = torch.arange(trials, device=x.device).view(-1, 1, 1) * rows
        shift = shift + torch.tensor([0, rows // 2], device=x.device)
        pairs = (x + shift).view(-1, 2)
        squares = SquaredRows.apply(first.reshape(-1, width), pairs)
        return torch.bmm(squares.view(trials, -1, width), second)


class SquaredRows(torch.autograd.Function):
    """(w[i] + w[j])² for rows of w: a third of the time of the same in three torch calls."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, pairs: Tensor) -> Tensor:
        ctx.rows = F.embedding_bag(pairs, weight, mode="sum")
        ctx.pairs, ctx.shape = pairs, weight.shape
        return ctx.rows * ctx.rows

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        slope, ctx.rows = ctx.rows, None  # in its place: no second backward, no new memory
        torch.mul(slope, grad, out=slope)
        out = slope.new_zeros(ctx.shape)
        for column in (0, 1):
            out.index_add_(0, ctx.pairs[:, column], slope, alpha=2)
        return out, None


class SmallCNN(nn.Module):
    """Three 3x3 convolutions with BatchNorm and ReLU, mean over the image, one linear layer.

    Args:
        channels: Of every convolution.
        classes: Of the output.
        shape: Of an image: channels, height, width.

    Shape:
        ``x`` (B, 64), 8x8 images as rows, or (B, *shape), gives (B, classes).

    Example:
        >>> SmallCNN(4)(torch.zeros(5, 64)).shape
        torch.Size([5, 10])
        >>> SmallCNN(4, shape=(3, 32, 32))(torch.zeros(5, 3, 32, 32)).shape
        torch.Size([5, 10])
    """

    def __init__(
        self, channels: int = 8, classes: int = 10, shape: tuple[int, int, int] = (1, 8, 8)
    ) -> None:
        super().__init__()
        self.shape = shape
        stages: list[nn.Module] = []
        for inputs, stride in ((shape[0], 1), (channels, 2), (channels, 1)):
            conv = nn.Conv2d(inputs, channels, 3, stride=stride, padding=1, bias=False)
            stages += [conv, nn.BatchNorm2d(channels), nn.ReLU()]
        self.features = nn.Sequential(*stages)
        self.head = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits of the images."""
        return self.head(self.features(_images(x, self.shape)).mean((2, 3)))


class SmallResNet(nn.Module):
    """A 3x3 stem, three residual blocks of 1, 2 and 4 times the channels, one linear layer.

    Args:
        channels: Of the stem.
        classes: Of the output.
        shape: Of an image: channels, height, width.

    Shape:
        ``x`` (B, 64), 8x8 images as rows, or (B, *shape), gives (B, classes).

    Example:
        >>> SmallResNet(4)(torch.zeros(5, 64)).shape
        torch.Size([5, 10])
    """

    def __init__(
        self, channels: int = 8, classes: int = 10, shape: tuple[int, int, int] = (1, 8, 8)
    ) -> None:
        super().__init__()
        self.shape = shape
        self.stem = nn.Sequential(conv3(shape[0], channels), nn.BatchNorm2d(channels), nn.ReLU())
        self.blocks = nn.Sequential(
            BasicBlock(channels, channels, 1, nn.BatchNorm2d),
            BasicBlock(channels, 2 * channels, 2, nn.BatchNorm2d),
            BasicBlock(2 * channels, 4 * channels, 2, nn.BatchNorm2d),
        )
        self.head = nn.Linear(4 * channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits of the images."""
        return self.head(self.blocks(self.stem(_images(x, self.shape))).mean((2, 3)))


def _images(x: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """Rows of pixels as images, of one network or of several side by side (`Grouped`)."""
    return x.reshape(len(x), -1, *shape[1:])


MODELS: dict[str, Callable[[], nn.Module]] = {"mlp": MLP, "cnn": SmallCNN, "resnet": SmallResNet}
"""Networks for digits, by the name that the commands take."""
