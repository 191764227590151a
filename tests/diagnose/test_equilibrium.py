"""Equilibrium detection: false alarms on runs that are not there, power on runs that are."""

import math

import pytest
import torch
from torch import nn

from etalambda.diagnose import Monitor, equilibrium, every, weight_norms
from etalambda.theory import norm_dynamics

RATE = 2e-3


def simulate(start, rate, steps, runs, noise=0.3, growth=0.0, seed=0):
    """The exact norm law G' = (1-r)²G + η²|g|²/G for many runs; η = 1, |g|² noisy and drifting."""
    generator = torch.Generator().manual_seed(seed)
    g = torch.as_tensor(start).double().expand(runs).clone()
    norms, updates = [], []
    for t in range(steps):
        square = math.exp(growth * t) * torch.exp(
            noise * torch.randn(runs, generator=generator).double() - noise**2 / 2
        )
        norms.append(g.sqrt())
        updates.append((square / g).sqrt())
        g = (1 - rate) ** 2 * g + square / g
    return torch.stack(norms, 1), torch.stack(updates, 1)


SETTLED = (1 / (2 * RATE)) ** 0.5  # G with |g|² = 1


def test_at_most_one_false_alarm_in_twenty_on_runs_that_still_move():
    """200 runs: relaxing from above and below, growing without end, and following a drift."""
    window = int(0.5 / RATE)
    moving = [
        simulate(6 * SETTLED, RATE, window + 30, 50, seed=1),  # falling towards equilibrium
        simulate(SETTLED / 6, RATE, window + 5, 50, seed=2),  # rising
        simulate(SETTLED, RATE, 3 * window, 50, growth=2 * math.log(2) / window, seed=3),
        simulate(SETTLED, RATE, 3 * window, 50, growth=-2 * math.log(2) / window, seed=4),
    ]
    alarms = sum(
        equilibrium(n, RATE, u).reached for norms, updates in moving for n, u in zip(norms, updates)
    )
    assert alarms <= 10
    grown, _ = simulate(SETTLED, 0.0, 2000, 5)  # no decay, no equilibrium, however long
    assert not any(equilibrium(n, 0.0).reached for n in grown)


def test_settled_runs_are_recognised():
    norms, updates = simulate(SETTLED, RATE, 1500, 200)
    found = [equilibrium(n, RATE, u) for n, u in zip(norms, updates)]
    assert sum(e.reached for e in found) >= 190
    assert sum(e.balance for e in found) / 200 == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("start", [0.1, 10.0])
def test_detected_within_a_fifth_of_the_predicted_time(start):
    """Predicted: the time until γ is within 2 % of its limit (LLA-X0t)."""
    gamma = (start * SETTLED) ** 2
    predicted = float(norm_dynamics.time_to_equilibrium(gamma, RATE, 1.0, tolerance=0.02))
    (norms,), (updates,) = simulate(start * SETTLED, RATE, int(2 * predicted), 1, noise=0.1)
    first = next(
        t for t in range(20, len(norms), 5) if equilibrium(norms[:t], RATE, updates[:t]).reached
    )
    assert first == pytest.approx(predicted, rel=0.2)


class Head(nn.Module):
    """One layer, normalised or not, with a fixed read-out."""

    def __init__(self, normalised):
        super().__init__()
        self.first = nn.Linear(10, 24, bias=False)
        self.norm = nn.BatchNorm1d(24, affine=False) if normalised else nn.Identity()
        self.last = nn.Linear(24, 2, bias=False).requires_grad_(False)

    def forward(self, x):
        return self.last(torch.relu(self.norm(self.first(x))))


@pytest.mark.parametrize("normalised", [True, False])
def test_real_sgd_with_and_without_normalisation(normalised):
    torch.manual_seed(0)
    net = Head(normalised)
    lr, weight_decay = 0.1, 0.04
    optimizer = torch.optim.SGD([net.first.weight], lr=lr, weight_decay=weight_decay)
    push = lambda _: lr * net.first.weight.grad.norm()
    monitor = Monitor(optimizer, every(1), norm=weight_norms, update=push)
    for _ in range(900):
        x, y = torch.randn(16, 10), torch.randint(2, (16,))  # nothing to learn: noise alone
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(x), y).backward()
        optimizer.step()
    norms = [row["norm/0"] for row in monitor.rows]
    found = equilibrium(norms, lr * weight_decay, [row["update"] for row in monitor.rows])
    assert found.reached is normalised, found.reason


@pytest.mark.parametrize("scale", [0.3, 3.0])
def test_real_sgd_is_detected_within_a_fifth_of_the_predicted_time(scale):
    """From a weight scaled away from its equilibrium; |g|²‖W‖² is measured once it is back."""
    torch.manual_seed(0)
    net, lr, weight_decay = Head(True), 0.1, 0.04
    optimizer = torch.optim.SGD([net.first.weight], lr=lr, weight_decay=weight_decay)
    push = lambda _: lr * net.first.weight.grad.norm()
    with torch.no_grad():
        net.first.weight.mul_(scale * 0.99 / net.first.weight.norm())  # it settles at 0.99
    monitor = Monitor(optimizer, every(1), norm=weight_norms, update=push)
    for _ in range(1200):
        x, y = torch.randn(16, 10), torch.randint(2, (16,))
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(x), y).backward()
        optimizer.step()
    norms = [row["norm/0"] for row in monitor.rows]
    updates = [row["update"] for row in monitor.rows]
    noise = sum((u / lr * n) ** 2 for u, n in zip(updates[-500:], norms[-500:])) / 500
    start = (norms[0] ** 2 / lr) ** 2
    predicted = norm_dynamics.time_to_equilibrium(start, lr * weight_decay, noise, tolerance=0.02)
    first = next(
        t
        for t in range(20, len(norms), 5)
        if equilibrium(norms[:t], lr * weight_decay, updates[:t]).reached
    )
    assert first == pytest.approx(float(predicted), rel=0.2)


def test_reasons_and_bad_input():
    assert "too coarse" in equilibrium([1.0] * 100, 0.1).reason
    assert "not steady" in equilibrium(torch.linspace(1, 9, 1000), 1e-3).reason
    assert "steady but not balanced" in equilibrium([1.0] * 900, 1e-3, [1.0] * 900).reason
    assert not equilibrium([], 0.1).reached
    with pytest.raises(ValueError, match="as long as norms, got 3 and 900"):
        equilibrium([1.0] * 900, 1e-3, [1.0] * 3)
    with pytest.raises(ValueError, match="finite and positive"):
        equilibrium([1.0, math.nan], 0.1)
