"""The forecast of the norm against both laws, simulated, and against the theory's formulas."""

import math

import pytest

from etalambda.diagnose import forecast_norm
from etalambda.theory import norm_dynamics

RATE = 2e-3


def relax(square, rate, growth, power, steps):
    """G' = (1-r)² G + q with q ∝ 1/G or constant."""
    path = [square]
    for _ in range(steps):
        square = (1 - rate) ** 2 * square + growth * (path[0] / square if power == 2 else 1)
        path.append(square)
    return path


@pytest.mark.parametrize("power", [1, 2])
@pytest.mark.parametrize("balance", [0.2, 0.7, 5.0])
def test_both_laws_arrive_where_and_when_foretold(power, balance):
    square = 3.0
    growth = balance * 2 * RATE * square
    found = forecast_norm(square**0.5, growth, RATE, scale_invariant=power == 2, tolerance=0.02)
    path = relax(square, RATE, growth, power, 6000)
    assert found.norm == pytest.approx(path[-1] ** 0.5, rel=1e-3)
    assert found.balance == pytest.approx(balance)
    near = [abs((g / path[-1]) ** power - 1) <= 0.02 for g in path]
    assert found.steps == pytest.approx(near.index(True), rel=0.02, abs=2)


def test_agrees_with_norm_dynamics():
    lr, decay, noise, norm = 0.1, 0.02, 3.0, 1.7
    growth = lr**2 * noise / norm**2
    found = forecast_norm(norm, growth, lr * decay)
    gamma = (norm**2 / lr) ** 2
    expected = norm_dynamics.time_to_equilibrium(gamma, lr * decay, noise)
    assert found.steps == pytest.approx(float(expected), rel=1e-12)
    limit = float(norm_dynamics.equilibrium_norm(lr, decay, noise))
    assert found.norm == pytest.approx(limit, rel=1e-3)


def test_limits_and_bad_input():
    assert forecast_norm(1.0, 1.0, 0.0) == (math.inf, math.inf, math.inf)
    assert forecast_norm(1.0, 0.0, 0.1) == (0.0, math.inf, 0.0)
    assert forecast_norm(1.0, 0.2, 0.1).steps == 0
    with pytest.raises(ValueError, match="norm must be a finite number above 0, got 0"):
        forecast_norm(0, 1.0, 0.1)
    with pytest.raises(ValueError, match="growth"):
        forecast_norm(1.0, -1.0, 0.1)
