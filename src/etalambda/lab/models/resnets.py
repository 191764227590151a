"""Residual networks of the papers, in their CIFAR form.

ResNet-18/34/50 (He et al. 2016a) with a 3x3 stem, as xie2022 uses them; PreResNet-32 (He et al.
2016b), as li2020 does; WRN-28-10 and 16-4 (Zagoruyko & Komodakis 2016), as lewkowycz2020 does.
Convolutions have no biases: a norm follows each of them.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import functional as F

Norm = Callable[[int], nn.Module]


def conv3(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    """A 3x3 convolution without bias that keeps the size at stride 1."""
    return nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions, each with its norm, and a shortcut (projected where shapes change)."""

    expansion = 1

    def __init__(self, inputs: int, width: int, stride: int, norm: Norm) -> None:
        super().__init__()
        self.body = nn.Sequential(
            conv3(inputs, width, stride), norm(width), nn.ReLU(), conv3(width, width), norm(width)
        )
        self.shortcut = _projection(inputs, width, stride, norm)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, width, H/stride, W/stride)."""
        return F.relu(self.body(x) + self.shortcut(x))


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 convolutions; four times as many channels come out as the 3x3 has."""

    expansion = 4

    def __init__(self, inputs: int, width: int, stride: int, norm: Norm) -> None:
        super().__init__()
        outputs = 4 * width
        self.body = nn.Sequential(
            nn.Conv2d(inputs, width, 1, bias=False), norm(width), nn.ReLU(),
            conv3(width, width, stride), norm(width), nn.ReLU(),
            nn.Conv2d(width, outputs, 1, bias=False), norm(outputs),
        )  # fmt: skip
        self.shortcut = _projection(inputs, outputs, stride, norm)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, 4 width, H/stride, W/stride)."""
        return F.relu(self.body(x) + self.shortcut(x))


def _projection(inputs: int, outputs: int, stride: int, norm: Norm) -> nn.Module:
    if stride == 1 and inputs == outputs:
        return nn.Identity()
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), norm(outputs))


class ResNet(nn.Module):
    """He et al. 2016a for 32x32 pictures: a 3x3 stem and four stages of 64 to 512 channels.

    Args:
        block: `BasicBlock` or `Bottleneck`.
        counts: Blocks in each stage.
        classes: Of the output.
        norm: Channels -> normalization layer; GroupNorm for the linear-scaling test of li2020.

    Example:
        >>> import torch
        >>> ResNet(BasicBlock, (1, 1, 1, 1))(torch.zeros(2, 3, 32, 32)).shape
        torch.Size([2, 10])
    """

    def __init__(
        self,
        block: type[BasicBlock] | type[Bottleneck],
        counts: tuple[int, ...],
        classes: int = 10,
        *,
        norm: Norm = nn.BatchNorm2d,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = [conv3(3, 64), norm(64), nn.ReLU()]
        inputs = 64
        for stage, count in enumerate(counts):
            width = 64 * 2**stage
            for index in range(count):
                stride = 2 if stage and not index else 1
                layers.append(block(inputs, width, stride, norm))
                inputs = width * block.expansion
        self.features = nn.Sequential(*layers)
        self.head = nn.Linear(inputs, classes)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, 32, 32) -> logits (B, classes)."""
        return self.head(self.features(x).mean((2, 3)))


class PreBlock(nn.Module):
    """Norm and ReLU before each convolution (He et al. 2016b)."""

    def __init__(
        self, inputs: int, width: int, stride: int, norm: Norm, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.first = nn.Sequential(norm(inputs), nn.ReLU())
        self.body = nn.Sequential(
            conv3(inputs, width, stride), norm(width), nn.ReLU(), nn.Dropout(dropout),
            conv3(width, width),
        )  # fmt: skip
        same = stride == 1 and inputs == width
        self.shortcut = None if same else nn.Conv2d(inputs, width, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, width, H/stride, W/stride)."""
        ready = self.first(x)
        return self.body(ready) + (x if self.shortcut is None else self.shortcut(ready))


class PreResNet(nn.Module):
    """Pre-activation ResNet of three stages: PreResNet-32 and the wide ResNets.

    Args:
        per_stage: Blocks in each of the three stages; the depth is 6 per_stage + 2 (or + 4 as
            Zagoruyko & Komodakis count).
        widen: Multiplies the widths 16, 32, 64 of the stages.
        classes: Of the output.
        norm: Channels -> normalization layer.
        dropout: Between the convolutions of a block.

    Example:
        >>> import torch
        >>> PreResNet(1)(torch.zeros(2, 3, 32, 32)).shape
        torch.Size([2, 10])
    """

    def __init__(
        self,
        per_stage: int,
        widen: int = 1,
        classes: int = 10,
        *,
        norm: Norm = nn.BatchNorm2d,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = [conv3(3, 16)]
        inputs = 16
        for stage in range(3):
            width = 16 * widen * 2**stage
            for index in range(per_stage):
                stride = 2 if stage and not index else 1
                layers.append(PreBlock(inputs, width, stride, norm, dropout))
                inputs = width
        self.features = nn.Sequential(*layers, norm(inputs), nn.ReLU())
        self.head = nn.Linear(inputs, classes)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, 32, 32) -> logits (B, classes)."""
        return self.head(self.features(x).mean((2, 3)))
