"""Convolutional networks of the papers without residuals, in their CIFAR and MNIST forms.

VGG-16 with and without BatchNorm (Simonyan & Zisserman 2015), DenseNet-121 (Huang et al. 2017) and
GoogLeNet (Szegedy et al. 2015, with BatchNorm) as xie2022 uses them; lewkowycz2020's CNN (LG-M3)
and its fully connected nets (LG-M2, S7); the MNIST CNN of li2020 (LLA-M2).
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

VGG16 = (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0)


def vgg16(classes: int = 10, *, batch_norm: bool = True) -> nn.Module:
    """VGG-16 with one linear layer, 32x32 pictures; 0 in the plan is a pooling.

    >>> vgg16()(torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 10])
    """
    layers: list[nn.Module] = []
    inputs = 3
    for width in VGG16:
        if not width:
            layers.append(nn.MaxPool2d(2))
            continue
        layers.append(nn.Conv2d(inputs, width, 3, padding=1))
        layers += [nn.BatchNorm2d(width), nn.ReLU()] if batch_norm else [nn.ReLU()]
        inputs = width
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(512, classes))


class DenseLayer(nn.Module):
    """BN-ReLU-1x1, BN-ReLU-3x3; what comes out is joined to what went in."""

    def __init__(self, inputs: int, growth: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.BatchNorm2d(inputs), nn.ReLU(), nn.Conv2d(inputs, 4 * growth, 1, bias=False),
            nn.BatchNorm2d(4 * growth), nn.ReLU(),
            nn.Conv2d(4 * growth, growth, 3, padding=1, bias=False),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, inputs + growth, H, W)."""
        return torch.cat([self.body(x), x], 1)


def densenet121(classes: int = 10, *, growth: int = 32) -> nn.Module:
    """DenseNet-121 for 32x32 pictures: 6, 12, 24, 16 layers, halved in between.

    >>> densenet121(growth=4)(torch.zeros(1, 3, 32, 32)).shape
    torch.Size([1, 10])
    """
    width = 2 * growth
    layers: list[nn.Module] = [nn.Conv2d(3, width, 3, padding=1, bias=False)]
    for stage, count in enumerate((6, 12, 24, 16)):
        if stage:
            layers += [
                nn.BatchNorm2d(width), nn.ReLU(), nn.Conv2d(width, width // 2, 1, bias=False),
                nn.AvgPool2d(2),
            ]  # fmt: skip
            width //= 2
        for _ in range(count):
            layers.append(DenseLayer(width, growth))
            width += growth
    layers += [nn.BatchNorm2d(width), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(width, classes))


def _unit(inputs: int, outputs: int, size: int = 1) -> list[nn.Module]:
    conv = nn.Conv2d(inputs, outputs, size, padding=size // 2)
    return [conv, nn.BatchNorm2d(outputs), nn.ReLU()]


class Inception(nn.Module):
    """Four branches side by side: 1x1; 1x1-3x3; 1x1-3x3-3x3 (for 5x5); pool-1x1."""

    def __init__(self, inputs: int, widths: tuple[int, int, int, int, int, int]) -> None:
        super().__init__()
        one, to_three, three, to_five, five, pool = widths
        self.branches = nn.ModuleList([
            nn.Sequential(*_unit(inputs, one)),
            nn.Sequential(*_unit(inputs, to_three), *_unit(to_three, three, 3)),
            nn.Sequential(
                *_unit(inputs, to_five), *_unit(to_five, five, 3), *_unit(five, five, 3)
            ),
            nn.Sequential(nn.MaxPool2d(3, 1, padding=1), *_unit(inputs, pool)),
        ])  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, sum of the branches, H, W)."""
        return torch.cat([branch(x) for branch in self.branches], 1)


_INCEPTIONS = (
    (192, (64, 96, 128, 16, 32, 32)), (256, (128, 128, 192, 32, 96, 64)), None,
    (480, (192, 96, 208, 16, 48, 64)), (512, (160, 112, 224, 24, 64, 64)),
    (512, (128, 128, 256, 24, 64, 64)), (512, (112, 144, 288, 32, 64, 64)),
    (528, (256, 160, 320, 32, 128, 128)), None,
    (832, (256, 160, 320, 32, 128, 128)), (832, (384, 192, 384, 48, 128, 128)),
)  # fmt: skip


def googlenet(classes: int = 10) -> nn.Module:
    """GoogLeNet in its common CIFAR form: a 3x3 stem of 192 channels, nine inceptions.

    >>> sum(isinstance(m, Inception) for m in googlenet())
    9
    """
    layers: list[nn.Module] = _unit(3, 192, 3)
    for plan in _INCEPTIONS:
        layers.append(nn.MaxPool2d(3, 2, padding=1) if plan is None else Inception(*plan))
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1024, classes))


def fully_connected(
    inputs: int = 784, width: int = 2048, depth: int = 3, classes: int = 10, *, bias: bool = False
) -> nn.Module:
    """lewkowycz2020's nets: ``depth`` hidden layers of one width with ReLU, LeCun-normal √2.

    Without biases the network is (depth + 1)-homogeneous (LG-D2).

    >>> fully_connected(4, 8, 2)(torch.zeros(3, 2, 2)).shape
    torch.Size([3, 10])
    """
    sizes = (inputs, *[width] * depth, classes)
    layers: list[nn.Module] = [nn.Flatten()]
    for a, b in pairwise(sizes):
        layers += [nn.Linear(a, b, bias=bias), nn.ReLU()]
        nn.init.normal_(layers[-2].weight, std=(2 / a) ** 0.5)  # type: ignore[arg-type]
    return nn.Sequential(*layers[:-1])


def lewkowycz_cnn(classes: int = 10, *, width: int = 300, batch_norm: bool = True) -> nn.Module:
    """LG-M3: four 3x3 convolutions of 300 channels, two 6x6 poolings of stride 1, 500, classes.

    >>> lewkowycz_cnn(width=4)(torch.zeros(1, 3, 32, 32)).shape
    torch.Size([1, 10])
    """

    def act() -> list[nn.Module]:
        return [nn.BatchNorm2d(width), nn.ReLU()] if batch_norm else [nn.ReLU()]

    return nn.Sequential(
        nn.Conv2d(3, width, 3, padding=1), *act(), nn.Conv2d(width, width, 3), *act(),
        nn.AvgPool2d(6, 1), nn.Conv2d(width, width, 3, padding=1), *act(),
        nn.Conv2d(width, width, 3), nn.AvgPool2d(6, 1), nn.Flatten(),
        nn.Linear(18 * 18 * width, 500), nn.Linear(500, classes),
    )  # fmt: skip


def mnist_cnn(classes: int = 10, *, width: int = 32) -> nn.Module:
    """LLA-M2: three 3x3 convolutions with BatchNorm and ReLU, pooled, one linear layer.

    >>> mnist_cnn(width=4)(torch.zeros(2, 1, 28, 28)).shape
    torch.Size([2, 10])
    """
    layers: list[nn.Module] = []
    for inputs in (1, width, width):
        layers += [nn.Conv2d(inputs, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)]
        layers += [nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(9 * width, classes))
