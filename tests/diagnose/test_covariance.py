"""Covariance constants against spin glasses, whose f is known, by three routes."""

import math

import pytest
import torch
from torch import nn

from etalambda.diagnose import covariance_constants


class Spherical(nn.Module):
    """A point on the sphere; the 'network' whose loss is a pure 3-spin energy density."""

    def __init__(self, couplings):
        super().__init__()
        self.x = nn.Parameter(torch.randn(len(couplings), dtype=torch.float64))
        self.couplings = couplings

    def forward(self, _):
        x = self.x
        return -torch.einsum("ijk,i,j,k->", self.couplings, x, x, x) / len(x) ** 2


def test_three_spin_constants_are_found_by_three_routes():
    """p = 3: f(0), f'(0), f''(0) = 1, -3, 6; averaged over couplings since N is small."""
    found = []
    for seed in range(8):
        torch.manual_seed(seed)
        n = 24
        couplings = torch.randn(n, n, n).double()
        # x/√N per slot: H = -N^(-1) Σ J x x x, L = H/N
        constants = covariance_constants(
            lambda c=couplings: Spherical(c),
            lambda out, _: out,
            (torch.zeros(1), torch.zeros(1)),
            samples=100,
            h=0.2,
            seed=seed,
        )
        assert constants.dimension == n
        assert not constants.diverging
        found.append([constants.f0, constants.f1, constants.f2, constants.f2_forward])
    for column, truth in zip(zip(*found), (1, -3, 6, 6)):
        values = torch.tensor([estimate.value for estimate in column])
        error = values.std() / math.sqrt(len(values))
        finite_n = 3 / 24 * abs(truth)  # corrections of relative order 1/N
        assert abs(values.mean() - truth) < 2 * error + finite_n


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
