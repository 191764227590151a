"""The toy loss: flow converges, descent with decay is thrown out again and again."""

import math

import pytest
import torch

from etalambda.theory import toy


def test_gradient_is_autograd_and_tangent():
    point = torch.randn(20, 2, dtype=torch.float64, requires_grad=True)
    x, y = point.unbind(-1)
    (expected,) = torch.autograd.grad((x * x / (x * x + y * y)).sum(), point)
    found = toy.gradient(point.detach())
    torch.testing.assert_close(found, expected)
    assert (found * point.detach()).sum(-1).abs().max() < 1e-12
    torch.testing.assert_close(toy.loss(3 * point.detach()), toy.loss(point.detach()))


def test_figure_5a():
    """Below 1e-3 for 20 steps, then above 0.05, then below again; two near starts separate."""
    path = toy.descent(**toy.FIGURE_5A, steps=400)
    losses = toy.loss(path)[:, 0]
    low = (losses < 1e-3).unfold(0, 20, 1).all(-1).nonzero()[0].item()
    assert losses[low:].max() > 0.05
    assert losses[low + 20 :].min() < 1e-3
    apart = (path[:, 0] - path[:, 1]).norm(dim=-1) / path[:, 0].norm(dim=-1)
    assert apart[0] < 2e-4
    assert apart.max() > 0.2


def test_nearby_starts_separate_exponentially():
    """A positive Lyapunov exponent: ln of the gap of the angle per step, over 3000 steps."""
    start = torch.tensor([[0.3, 1.0], [0.3 + 1e-9, 1.0]], dtype=torch.float64)
    total, steps = 0.0, 3000
    for _ in range(steps // 10):
        start = toy.descent(start, 0.1, 0.5, 10)[-1]
        gap = (start[1] - start[0]).norm()
        total += math.log(gap / 1e-9)
        start[1] = start[0] + (start[1] - start[0]) * (1e-9 / gap)
    assert total / steps > 0.02


def test_flow_decreases_whatever_the_decay():
    for decay in (0.0, 0.5):
        path = toy.descent([0.5, 1.0], 1e-4, decay, 5000)
        ratio = (path[:, 0] / path[:, 1]).abs()
        assert (ratio.diff() < 0).all()


@pytest.mark.parametrize("y", [2.0, 0.5, 0.2])
def test_multiplier_is_one_step_near_the_minimum(y):
    after = toy.descent([1e-7, y], 0.1, 0.5, 1)[1]
    found = (after[0] / after[1]).item() / (1e-7 / y)
    assert found == pytest.approx(toy.multiplier(y, 0.1, 0.5).item(), rel=1e-9)


def test_criterion():
    edge = toy.unstable_below(0.1, 0.5)
    assert toy.multiplier(edge, 0.1, 0.5).item() == pytest.approx(-1)
    steps = toy.steps_to_instability(1.0, 0.1, 0.5)
    assert (1 - 0.05) ** steps == pytest.approx(edge)
    path = toy.descent([1e-9, 1.0], 0.1, 0.5, 60)
    turn = (path[:, 0].abs() / path[:, 1].abs()).argmin().item()
    assert abs(turn - steps) <= 2
    assert toy.steps_to_instability(1.0, 0.1, 0.0) == math.inf
    assert toy.steps_to_instability(0.1, 0.1, 0.5) == 0


@pytest.mark.parametrize(
    ("call", "names"),
    [
        (lambda: toy.loss([0.0, 0.0]), "must not be the origin"),
        (lambda: toy.loss([1.0, 2.0, 3.0]), "must have shape"),
        (lambda: toy.descent([1.0, 2.0], 0.0, 0.1, 5), "lr must be"),
        (lambda: toy.unstable_below(1.0, 1.0), "must be below 1"),
    ],
)
def test_errors_name_the_argument(call, names):
    with pytest.raises(ValueError, match=names):
        call()
