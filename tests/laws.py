"""One list of algorithms. Adding one is a line here; it then faces every law of test_laws.py.

``OPTIMIZERS``: name -> a function from params (or groups) to an optimizer.
``RULES``: name -> a function to a schedule rule, with the signals that it reads.
``MODELS``: name -> a function to a small float64 network and a closure that leaves its gradients.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from etalambda import optim

OPTIMIZERS: dict[str, Callable[[Any], Optimizer]] = {
    "torch SGD": lambda params: torch.optim.SGD(params, lr=0.05, momentum=0.9, weight_decay=0.01),
    "torch AdamW": lambda params: torch.optim.AdamW(params, lr=0.01, weight_decay=0.1),
    "AdamS": lambda params: optim.AdamS(params, lr=0.01, weight_decay=0.01),
}

RULES: dict[str, Callable[[], Any]] = {}


def mlp() -> tuple[nn.Module, Callable[[], Tensor]]:
    """A regression net of 57 weights, and the closure that leaves its gradients."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1)).double()
    x, y = torch.randn(16, 4).double(), torch.randn(16, 1).double()

    def closure() -> Tensor:
        net.zero_grad()
        loss = (net(x) - y).square().mean()
        loss.backward()
        return loss

    return net, closure


MODELS: dict[str, Callable[[], tuple[nn.Module, Callable[[], Tensor]]]] = {"mlp": mlp}
