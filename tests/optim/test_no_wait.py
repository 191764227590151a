"""What an accelerator would wait for: a step there may read no number back to the host.

The same tensor operations run here on the CPU, where `Reads` counts what the host reads.
"""

import pytest
import torch
from torch.nn import Parameter
from torch.utils._python_dispatch import TorchDispatchMode

from etalambda.optim import (
    cautious_decay,
    constrained_decay,
    hyperball,
    keep_on_sphere,
    l1_decay,
    sphere,
    target_norm_decay,
    weight_noise,
)
from tests.optim._drive import agree, run, weights

SHAPES = ((3, 4), (5,), (2, 1, 3))
HOOKS = {
    "sphere": lambda o: keep_on_sphere(o, o.param_groups[0]["params"], "initial"),
    "spheres": lambda o: keep_on_sphere(o, o.param_groups[0]["params"], 2.5, per="tensor"),
    "hyperball": hyperball,
    "target norm": lambda o: target_norm_decay(o, 0.5),
    "CPR": lambda o: constrained_decay(o, bound=0.01, rate=0.1),
    "cautious": cautious_decay,
    "L1": l1_decay,
    "noise": lambda o: weight_noise(o, std=0.1, timescale=5),
}
every_hook = pytest.mark.parametrize("name", HOOKS)


class Reads(TorchDispatchMode):
    """Counts how often the host looks at a tensor's value: ``item``, ``float``, ``if tensor``."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += func is torch.ops.aten._local_scalar_dense.default
        return func(*args, **(kwargs or {}))


def reads(optimizer, params):
    """What the host reads in a step, after two that make the state."""
    list(run(optimizer, params, 2))
    with Reads() as seen:
        optimizer.step()
    return seen.count


def hooked(name):
    params = weights(shapes=SHAPES)
    optimizer = torch.optim.SGD(params, lr=0.05, weight_decay=0.2)
    HOOKS[name](optimizer)
    return optimizer, params


def test_a_read_is_counted():
    with Reads() as seen:
        float(torch.ones(())), torch.ones(()).item(), bool(torch.ones(()) > 0)
    assert seen.count == 3


@every_hook
def test_hooks_read_nothing(name, monkeypatch):
    monkeypatch.setattr(sphere, "HOST", ())
    assert reads(*hooked(name)) == 0


@every_hook
def test_without_the_host_the_steps_are_the_same(name, monkeypatch):
    here = list(run(*hooked(name)))
    monkeypatch.setattr(sphere, "HOST", ())
    agree(run(*hooked(name)), here)


@pytest.mark.parametrize("hook", [hyperball, target_norm_decay])
def test_without_the_host_nothing_becomes_of_nothing(hook, monkeypatch):
    """No direction, no norm: a hook that may not look must not divide by 0 either."""
    monkeypatch.setattr(sphere, "HOST", ())
    w = Parameter(torch.randn(4, 3))
    optimizer = torch.optim.SGD([w], lr=0.1, weight_decay=0.2)
    hook(optimizer)
    if hook is target_norm_decay:
        with torch.no_grad():
            w.zero_()
    before = w.detach().clone()
    w.grad = torch.zeros_like(w)
    optimizer.step()
    torch.testing.assert_close(w.detach(), before)
