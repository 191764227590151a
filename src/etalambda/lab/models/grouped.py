"""Many convolutional networks as one: the channels of T networks side by side, grouped convolution.

A convolution of T groups computes T networks in one kernel, where vmap starts from the same kernel
but pays for moving the trial dimension to and fro; BatchNorm over T·C channels is BatchNorm of each
network exactly. The networks' own ``forward`` runs unchanged on (B, T·C, H, W): only their layers
are exchanged, so nothing is written twice. What mixes channels of two tensors (concatenation) would
mix networks; `is_groupable` lets through what is known not to.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.func import functional_call

from etalambda.lab.models.nets import SmallCNN, SmallResNet
from etalambda.lab.models.resnets import BasicBlock, Bottleneck, PreBlock, PreResNet, ResNet

KNOWN = (
    nn.Sequential, nn.Conv2d, nn.BatchNorm2d, nn.ReLU, nn.MaxPool2d, nn.AvgPool2d, nn.Identity,
    nn.Flatten, nn.Linear, nn.Dropout, SmallCNN, SmallResNet, BasicBlock, Bottleneck, ResNet,
    PreBlock, PreResNet,
)  # fmt: skip


def is_groupable(net: nn.Module) -> bool:
    """Whether all layers are known to keep channels apart, and there is a convolution to gain by.

    >>> is_groupable(SmallCNN()), is_groupable(nn.Linear(2, 2))
    (True, False)
    """
    modules = list(net.modules())
    return all(type(m) in KNOWN for m in modules) and any(isinstance(m, nn.Conv2d) for m in modules)


class Grouped:
    """T networks of one shape as one network of T times the channels.

    Args:
        template: One of the networks; only its structure is used.
        count: T.

    Raises:
        ValueError: If the network is not groupable.
    """

    def __init__(self, template: nn.Module, count: int) -> None:
        if not is_groupable(template):
            raise ValueError(f"{type(template).__name__} cannot be grouped; use vmap")
        self.count, self.net = count, copy.deepcopy(template)
        self._apart: set[str] = set()
        for name, module in list(self.net.named_modules()):
            if isinstance(module, nn.Conv2d):
                module.groups = count * module.groups
            elif isinstance(module, nn.Linear):
                parent, _, last = name.rpartition(".")
                setattr(self.net.get_submodule(parent), last, _Linears(module, count))
                self._apart |= {f"{name}.weight", f"{name}.bias"}

    def __call__(
        self,
        params: Mapping[str, Tensor],
        buffers: Mapping[str, Tensor],
        x: Tensor,
        training: bool = True,
    ) -> Tensor:
        """(T, B, ...) -> (T, B, classes); running statistics are updated in place."""
        self.net.train(training)
        # (T, B, C, H, W) -> (B, T·C, H, W); rows of pixels (T, B, N) -> (B, T·N)
        side_by_side = x.movedim(0, 1).flatten(1, 2)
        tensors = {
            n: t if n in self._apart else _joined(t) for n, t in (*params.items(), *buffers.items())
        }
        out = functional_call(self.net, tensors, (side_by_side,))
        return out.view(len(out), self.count, -1).movedim(1, 0)


def _joined(tensor: Tensor) -> Tensor:
    """(T, C, ...) -> (T·C, ...), a view; counters (T,) stay."""
    return tensor if tensor.dim() == 1 else tensor.flatten(0, 1)


class _Linears(nn.Module):
    """T linear layers: (B, T·inputs) -> (B, T·outputs), weights (T, outputs, inputs)."""

    def __init__(self, one: nn.Linear, count: int) -> None:
        super().__init__()
        self.count, self.weight, self.bias = count, one.weight, one.bias

    def forward(self, x: Tensor) -> Tensor:
        apart = x.view(len(x), self.count, -1).movedim(1, 0)
        out = torch.bmm(apart, self.weight.mT)
        if self.bias is not None:
            out = out + self.bias.unsqueeze(1)
        return out.movedim(0, 1).flatten(1)
