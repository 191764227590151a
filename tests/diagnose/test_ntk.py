"""The empirical NTK against its definition, and its decay under L2 against theorem 1."""

import math

import pytest
import torch
from torch import nn

from etalambda.diagnose import empirical_ntk, ntk_modes, predicted_ntk_decay
from etalambda.theory import wide_modes


def test_equals_products_of_gradients():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()
    x, z = torch.randn(3, 3).double(), torch.randn(2, 3).double()

    def gradient(point, output):
        parts = torch.autograd.grad(net(point[None])[0, output], net.parameters())
        return torch.cat([p.reshape(-1) for p in parts])

    blocks = empirical_ntk(net, x, z, per_output=True)
    for i in range(3):
        for j in range(2):
            for a in range(2):
                for b in range(2):
                    truth = gradient(x[i], a) @ gradient(z[j], b)
                    assert blocks[i, j, a, b].item() == pytest.approx(truth.item(), rel=1e-11)
    mean = blocks.diagonal(dim1=2, dim2=3).mean(-1)
    torch.testing.assert_close(empirical_ntk(net, x, z), mean)


def test_is_symmetric_positive_and_skips_frozen_tensors():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 1)).double()
    x = torch.randn(5, 3).double()
    full = empirical_ntk(net, x)
    torch.testing.assert_close(full, full.T)
    assert torch.linalg.eigvalsh(full).min() > -1e-12
    net[0].requires_grad_(False)
    hidden = torch.cat([torch.relu(net[0](x)), torch.ones(5, 1).double()], 1).detach()
    torch.testing.assert_close(empirical_ntk(net, x), hidden @ hidden.T)


class Wide(nn.Module):
    """Two layers without biases in NTK parametrization: degree 2."""

    def __init__(self, width):
        super().__init__()
        self.a = nn.Parameter(torch.randn(width, 3).double())
        self.b = nn.Parameter(torch.randn(1, width).double())

    def forward(self, x):
        return torch.relu(x @ self.a.T) @ self.b.T * math.sqrt(2 / self.b.numel())


def test_l2_shrinks_the_kernel_as_predicted_the_better_the_wider():
    weight_decay, lr, steps = 0.05, 0.02, 250  # λt = 0.25
    predicted = predicted_ntk_decay(2, weight_decay, lr * steps)
    misses = []
    for width in (32, 512, 8192):
        torch.manual_seed(1)
        net, x = Wide(width), torch.randn(6, 3).double()
        y = torch.sign(x[:, :1])
        before = empirical_ntk(net, x).diagonal().sum()
        optimizer = torch.optim.SGD(net.parameters(), lr=lr, weight_decay=weight_decay)
        for _ in range(steps):
            optimizer.zero_grad()
            ((net(x) - y).square().sum() / 2).backward()
            optimizer.step()
        kept = (empirical_ntk(net, x).diagonal().sum() / before).item()
        misses.append(abs(kept - predicted))
    assert misses[2] < 0.02
    assert misses[2] < misses[1] < misses[0]


@pytest.mark.parametrize("per_output", [False, True])
def test_batches_of_jacobians_change_nothing(per_output):
    net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()
    x, z = torch.randn(7, 3).double(), torch.randn(5, 3).double()
    for others in (None, z):
        whole = empirical_ntk(net, x, others, per_output=per_output)
        parts = empirical_ntk(net, x, others, per_output=per_output, batch_size=3)
        torch.testing.assert_close(parts, whole)


def test_modes_of_a_wide_network_follow_theorem_2():
    """Full-batch descent with L2, degree 2: each mode of the outputs against its closed form."""
    weight_decay, lr, steps = 0.05, 0.01, 300
    torch.manual_seed(1)
    net, x = Wide(8192), torch.randn(6, 3).double()
    y = torch.sign(x[:, 0])
    modes = ntk_modes(empirical_ntk(net, x))
    start = modes.components(net(x).detach().squeeze(1))
    optimizer = torch.optim.SGD(net.parameters(), lr=lr, weight_decay=weight_decay)
    for _ in range(steps):
        optimizer.zero_grad()
        ((net(x).squeeze(1) - y).square().sum() / 2).backward()
        optimizer.step()
    found = modes.components(net(x).detach().squeeze(1))
    t = lr * steps
    expected = wide_modes.mode(t, 2, modes.eigenvalues, weight_decay, modes.components(y), start)
    assert (found - expected).abs().max() < 0.03
    assert (expected - start).abs().max() > 0.3


def test_bad_input_is_named():
    net = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    with pytest.raises(ValueError, match="mixes samples"):
        empirical_ntk(net, torch.eye(2))
    with pytest.raises(ValueError, match="no trainable parameter"):
        empirical_ntk(nn.Linear(2, 1).requires_grad_(False), torch.eye(2))
    with pytest.raises(ValueError, match=r"shape \(n, n\), got \(2, 3\)"):
        ntk_modes(torch.ones(2, 3))
    with pytest.raises(ValueError, match="must be symmetric"):
        ntk_modes(torch.tensor([[1.0, 2.0], [0.0, 1.0]]))
    with pytest.raises(ValueError, match="time must be"):
        predicted_ntk_decay(2, 0.1, -1.0)
