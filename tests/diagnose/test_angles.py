"""Angles against geometry, and the equilibrium angle against random walks with weight decay."""

import math

import pytest
import torch

from etalambda.diagnose import AngularUpdates, Monitor, angle, every, predicted_angles


@pytest.mark.parametrize("theta", [1e-8, 1e-5, 1e-3, 0.5, 1.5, 3.0, math.pi])
def test_angle_is_exact_over_nine_decades(theta):
    a = torch.tensor([2.0, 0.0], dtype=torch.float64)
    b = 7 * torch.tensor([math.cos(theta), math.sin(theta)], dtype=torch.float64)
    assert angle(a, b) == pytest.approx(theta, rel=1e-7)


def test_angle_of_small_float32_turns_survives_where_arccos_does_not():
    torch.manual_seed(0)
    a = torch.randn(100_000)
    b = a + 1e-4 * torch.randn(100_000)
    cosine = torch.nn.functional.cosine_similarity(a, b, dim=0).clamp(max=1)
    assert angle(a, b) == pytest.approx(1e-4, rel=0.02)
    assert abs(float(torch.acos(cosine)) - 1e-4) > 2e-5


def test_zero_vectors_and_shapes():
    assert angle(torch.zeros(3), torch.ones(3)) == 0
    with pytest.raises(ValueError, match=r"got \(3,\) and \(2,\)"):
        angle(torch.zeros(3), torch.ones(2))


def random_walk(make, steps=4000, width=4000):
    """Steps on pure gradient noise orthogonal to the weight, as a normalised layer sees."""
    torch.manual_seed(0)
    w = torch.nn.Parameter(torch.randn(width).double() / math.sqrt(width))
    optimizer = make([w])
    monitor = Monitor(optimizer, every(1, start=steps - 400), turn=AngularUpdates())
    for _ in range(steps):
        g = torch.randn(width).double()
        w.grad = g - w.detach() * (g @ w.detach()) / w.detach().square().sum()
        w.grad /= w.detach().norm()
        optimizer.step()
    return [row["turn/angle/0"] for row in monitor.rows if "turn/angle/0" in row], optimizer


@pytest.mark.parametrize(
    "make",
    [
        lambda p: torch.optim.SGD(p, lr=0.1, weight_decay=0.02),
        lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, weight_decay=0.02),
        lambda p: torch.optim.AdamW(p, lr=0.01, weight_decay=0.2),
    ],
)
def test_random_walks_reach_the_predicted_angle(make):
    measured, optimizer = random_walk(make)
    (predicted,) = predicted_angles(optimizer)
    assert sum(measured) / len(measured) == pytest.approx(predicted, rel=0.05)


def test_alignment_is_minus_one_for_pure_decay():
    w = torch.nn.Parameter(torch.ones(3))
    optimizer = torch.optim.SGD([w], lr=0.1, weight_decay=0.5)
    monitor = Monitor(optimizer, turn=AngularUpdates())
    w.grad = torch.zeros(3)
    for _ in range(2):
        optimizer.step()
    assert monitor.last["turn/alignment/0"] == pytest.approx(-1, abs=1e-6)
    assert monitor.last["turn/angle/0"] == pytest.approx(0, abs=1e-7)


def test_optimizers_without_a_formula_read_nan():
    w = torch.nn.Parameter(torch.ones(3))
    assert math.isnan(predicted_angles(torch.optim.RMSprop([w], weight_decay=0.1))[0])


def test_lion_by_its_formula():
    class Lion(torch.optim.Optimizer):
        def __init__(self, params):
            super().__init__(params, dict(lr=0.01, weight_decay=0.5, betas=(0.9, 0.99)))

    (ours,) = predicted_angles(Lion([torch.nn.Parameter(torch.ones(1))]))
    spread = 0.1**2 + 0.9**2 * 0.01 / 1.99
    assert ours == pytest.approx(math.sqrt(math.pi / 2 * 2 * 0.005 * spread))
