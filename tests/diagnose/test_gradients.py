"""Noise trace against the exact covariance, homogeneity against networks of known degree."""

import copy

import pytest
import torch
from torch import nn

from etalambda.diagnose import gradient_noise_trace, homogeneity, scale_invariance


def test_noise_trace_is_unbiased_and_falls_as_one_over_the_batch():
    """Against per-sample gradients of a linear model: Tr Σ_B = Tr Σ_1 / B."""
    torch.manual_seed(0)
    net = nn.Linear(6, 1, bias=False).double()
    x, y = torch.randn(4000, 6).double(), torch.randn(4000, 1).double()
    per_sample = 2 * (net(x) - y).detach() * x
    truth = per_sample.var(0).sum().item()
    for size in (2, 10, 50):
        order = torch.randperm(4000)[: 4000 // size * size].reshape(-1, size)
        found = [gradient_noise_trace(net, nn.MSELoss(), (x[i], y[i])) for i in order]
        mean, spread = sum(found) / len(found), torch.tensor(found).std() / len(found) ** 0.5
        assert abs(mean - truth / size) < 4 * spread


def test_batchnorm_in_train_mode_is_left_alone():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))
    before = copy.deepcopy(net.state_dict())
    batch = torch.randn(32, 4), torch.randint(3, (32,))
    assert gradient_noise_trace(net, nn.CrossEntropyLoss(), batch) > 0
    torch.testing.assert_close(net.state_dict(), before, rtol=0, atol=0)
    assert all(p.grad is None for p in net.parameters())
    with pytest.raises(ValueError, match="at least 2 samples, got 1"):
        gradient_noise_trace(net, nn.CrossEntropyLoss(), (batch[0][:1], batch[1][:1]))


@pytest.mark.parametrize("depth", [1, 2, 3, 5])
def test_a_relu_network_without_biases_has_its_depth_as_degree(depth):
    torch.manual_seed(0)
    layers = [nn.Linear(7, 7, bias=False)]
    for _ in range(depth - 1):
        layers += [nn.ReLU(), nn.Linear(7, 7, bias=False)]
    found = homogeneity(nn.Sequential(*layers).double(), torch.randn(9, 7).double())
    assert found.degree == pytest.approx(depth, abs=1e-12)
    assert found.holds(1e-12)


def test_trained_biases_break_homogeneity_and_frozen_gains_do_not_count():
    torch.manual_seed(0)
    x = torch.randn(16, 7).double()
    biased = nn.Sequential(nn.Linear(7, 7), nn.ReLU(), nn.Linear(7, 2)).double()
    assert not homogeneity(biased, x).holds(0.05)
    norm = nn.BatchNorm1d(7, eps=1e-12)
    net = nn.Sequential(nn.Linear(7, 7, bias=False), norm, nn.Linear(7, 2, bias=False)).double()
    norm.requires_grad_(False)
    found = homogeneity(net, x)
    assert (found.degree, found.holds(1e-9)) == (pytest.approx(1, abs=1e-9), True)


def test_zero_outputs_are_named():
    net = nn.Linear(3, 1, bias=False)
    with pytest.raises(ValueError, match="all outputs are 0"):
        homogeneity(net, torch.zeros(2, 3))


def test_scale_invariance_tensor_by_tensor():
    """In front of a norm yes, its gains and the head no; an unused tensor has no verdict."""
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Linear(5, 9, bias=False), nn.LayerNorm(9), nn.ReLU(), nn.Linear(9, 3, bias=False)
    ).double()
    net.register_parameter("unused", nn.Parameter(torch.ones(2).double()))
    with torch.no_grad():
        net[0].weight *= 30  # far above the norm's ε
    batch = torch.randn(24, 5).double(), torch.randint(3, (24,))
    before = copy.deepcopy(net.state_dict())
    found = scale_invariance(net, nn.CrossEntropyLoss(), batch)
    assert [name for name, one in found.items() if one.holds(1e-4)] == ["0.weight"]
    assert found["0.weight"].alignment < 1e-6 < 1e-2 < found["3.weight"].alignment
    assert found["3.weight"].change == pytest.approx(1)  # the outputs double
    assert not found["unused"].holds()
    torch.testing.assert_close(net.state_dict(), before, rtol=0, atol=0)
    assert all(p.grad is None for p in net.parameters())
