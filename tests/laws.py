"""One list of algorithms. Adding one is a line here; it then faces every law of test_laws.py.

``OPTIMIZERS``: name -> a function from params (or groups) to an optimizer.
``HOOKS``: name -> a function from an optimizer (or several) to a hook on its steps.
``RULES``: name -> a function to a schedule rule, with the signals that it reads.
``MODELS``: name -> a function to a small float64 network and a closure that leaves its gradients.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from etalambda import optim
from etalambda import schedule as s

OPTIMIZERS: dict[str, Callable[[Any], Optimizer]] = {
    "torch SGD": lambda params: torch.optim.SGD(params, lr=0.05, momentum=0.9, weight_decay=0.01),
    "torch AdamW": lambda params: torch.optim.AdamW(params, lr=0.01, weight_decay=0.1),
    "AdamS": lambda params: optim.AdamS(params, lr=0.01, weight_decay=0.01),
    "AMSGradS": lambda params: optim.AdamS(params, lr=0.01, weight_decay=0.01, amsgrad=True),
    "SGDS": lambda params: optim.SGDS(params, lr=0.05, momentum=0.9, weight_decay=0.01),
    "SGDW": lambda params: optim.SGDW(params, lr=0.05, momentum=0.9, weight_decay=0.1),
    "Adai": lambda params: optim.Adai(params, lr=0.05, weight_decay=0.01),
    "AdaiS": lambda params: optim.AdaiS(params, lr=0.05, weight_decay=0.01),
}

HOOKS: dict[str, Callable[[Any], optim.WeightHook]] = {
    "cautious": optim.cautious_decay,
    "L1": optim.l1_decay,
    "target norm": lambda found: optim.target_norm_decay(found, ratio=0.5),
    "CPR": lambda found: optim.constrained_decay(found, bound=0.01, rate=0.1),
    "CPR warm start": lambda found: optim.constrained_decay(found, warm_start=3),
    "hyperball": optim.hyperball,
    "noise": lambda found: optim.weight_noise(found, std=0.1, timescale=5),
    "additive noise": lambda found: optim.weight_noise(found, 0.1, halving, relative=False),
}

RULES: dict[str, Callable[[], Any]] = {
    "factor 1": lambda: s.constant(),
    "constant": lambda: s.constant(0.5),
    "linear": lambda: s.linear(5, start=0.2, end=1.5),
    "cosine": lambda: s.cosine(6, end=10.0),
    "cosine_restarts": lambda: s.cosine_restarts(3.5),
    "warm restart": lambda: s.cosine_restarts(4, variant="warm_restart"),
    "power_law": lambda: s.power_law(0.5),
    "piecewise": lambda: s.piecewise({0: 0.8, 0.5: 0.1, 1: 0.9}, length=8),
    "polynomial": lambda: s.polynomial(9, power=2, start=1.0, end=0.1),
    "exponential": lambda: s.exponential(0.9),
    "staircase": lambda: s.staircase(3),
    "multi_step": lambda: s.multi_step({0: 4, 3: 0.5, 6: 0.25}),
    "warmup": lambda: s.warmup(4, start=0.1),
    "trapezoid": lambda: s.trapezoid(10, warmup=2, cooldown=0.4, end=0.1),
    "one_cycle": lambda: s.one_cycle(8),
    "u_shape": lambda: s.u_shape(8),
    "window": lambda: s.window(8, 0.25, 0.5, outside=0.1),
    "log_time": lambda: s.log_time(3),
    "replay": lambda: s.replay([0.5, 0.25, 0.125]),
    "lambda": lambda: halving,
    "matched": lambda: s.MatchedAnnealing(),
    "matched sma": lambda: s.MatchedAnnealing(memory=2, floor=0.1),
    "matched ema": lambda: s.MatchedAnnealing(memory=2, smoothing="ema", reference=-0.5),
    "matched median": lambda: s.MatchedAnnealing(memory=3, smoothing="median", warmup=False),
    "matched increment": lambda: s.MatchedAnnealing(variant="increment"),
    "matched aitken": lambda: s.MatchedAnnealing(variant="aitken", smoothing="min", memory=1),
    "matched clip": lambda: s.MatchedAnnealing(clip=0.5),
    "AutoL2": lambda: s.AutoL2(every=2, refractory=0),
    "AutoL2 by decay": lambda: s.AutoL2(every=2, refractory=0.1, unit="decay"),
    "coupled": lambda: s.CoupledToLR(power=2),
    "times": lambda: s.times(s.MatchedAnnealing(), s.linear(10), s.CoupledToLR()),
    "clip": lambda: s.clip(s.AutoL2(every=1, refractory=0), low=0.01),
    "join": lambda: s.join([s.linear(4, 1, 0.5), s.MatchedAnnealing(), s.cosine(9)], [3, 6]),
}


def halving(step: int) -> float:
    """A user's own shape: any function of the step, at module level so that it pickles."""
    return 0.5**step


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
