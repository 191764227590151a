"""Covariance constants of networks: smooth and kinked ones, fixed tensors, bad input."""

import math

import pytest
import torch
from torch import nn

from etalambda.diagnose import covariance_constants


def network(activation):
    def make():
        return nn.Sequential(nn.Linear(10, 12), activation(), nn.Linear(12, 3)).double()

    return make


def batch():
    torch.manual_seed(3)
    return torch.randn(64, 10).double(), torch.randint(3, (64,))


def test_tanh_is_smooth_and_its_two_routes_agree():
    found = covariance_constants(network(nn.Tanh), nn.CrossEntropyLoss(), batch(), samples=300)
    assert not found.diverging
    spread = math.hypot(found.f2.standard_error, found.f2_fine.standard_error)
    assert abs(found.f2.value - found.f2_fine.value) < 3 * spread
    assert found.f0.value > 0 > found.f1.value
    assert found.field().P > 0


def test_relu_diverges_and_reports_its_step():
    found = covariance_constants(network(nn.ReLU), nn.CrossEntropyLoss(), batch(), samples=200)
    assert found.diverging
    assert found.f2 == found.f2_forward
    assert found.h == 0.2


def test_biases_that_start_at_zero_do_not_count():
    def make():
        net = nn.Linear(5, 2).double()
        nn.init.zeros_(net.bias)
        return net

    x = torch.randn(9, 5).double()
    found = covariance_constants(make, nn.MSELoss(), (x, torch.zeros(9, 2).double()), samples=20)
    assert found.dimension == 10


def test_bad_input_is_named_and_the_random_state_comes_back():
    net = nn.Linear(3, 1)
    data = torch.randn(4, 3), torch.zeros(4, 1)
    with pytest.raises(ValueError, match="must draw new ones"):
        covariance_constants(lambda: net, nn.MSELoss(), data, samples=5)
    with pytest.raises(ValueError, match="at least 2"):
        covariance_constants(lambda: nn.Linear(3, 1), nn.MSELoss(), data, samples=1)
    with pytest.raises(ValueError, match="not finite"):
        covariance_constants(
            lambda: nn.Linear(3, 1), lambda o, t: o.sum() * math.inf, data, samples=3
        )
    state = torch.get_rng_state()
    covariance_constants(lambda: nn.Linear(3, 1), nn.MSELoss(), data, samples=3)
    assert torch.equal(torch.get_rng_state(), state)
