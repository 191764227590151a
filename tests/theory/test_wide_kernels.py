"""Kernels at infinite width against the gradients of finite networks."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

from etalambda.theory import wide_kernels as wk
from etalambda.theory.wide import wide_network
from tests.reference.two_layer import relu_ntk


class NTK(nn.Module):
    """A ReLU network in the NTK parametrization, in float64, without biases."""

    def __init__(self, d, width, layers):
        super().__init__()
        sizes = [d] + [width] * layers + [1]
        self.weights = nn.ParameterList(
            torch.randn(o, i, dtype=torch.float64) for i, o in pairwise(sizes)
        )

    def forward(self, x):
        x = x @ self.weights[0].T / math.sqrt(x.shape[1])
        for weight in self.weights[1:]:
            x = x.clamp_min(0) @ weight.T * math.sqrt(2 / weight.shape[1])
        return x[:, 0]


def test_one_hidden_layer_is_the_reference():
    a, b = torch.randn(5, 3).double(), torch.randn(4, 3).double()
    torch.testing.assert_close(wk.relu_ntk(a, b), relu_ntk(a, b), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("layers", [1, 2])
def test_finite_networks_approach_it_at_one_over_root_width(layers):
    a, gaps, widths = torch.randn(4, 3).double(), [], (64, 256, 1024)
    expected = wk.relu_ntk(a, a, layers)
    for width in widths:
        square = 0.0
        for seed in range(12):
            torch.manual_seed(seed)
            found = wk.empirical_ntk(NTK(3, width, layers), a, a)
            square += (found - expected).square().mean().item() / 12
        gaps.append(math.sqrt(square))
    slope = np.polyfit(np.log(widths), np.log(gaps), 1)[0]
    assert slope == pytest.approx(-0.5, abs=0.2)


@pytest.mark.parametrize("layers", [0, 1, 3])
def test_it_is_a_kernel(layers):
    a = torch.randn(9, 3).double()
    a[0] = 0
    theta = wk.relu_ntk(a, a, layers)
    torch.testing.assert_close(theta, theta.T, rtol=1e-12, atol=1e-14)
    assert torch.linalg.eigvalsh(theta)[0] > -1e-10
    torch.testing.assert_close(theta.diagonal(), (layers + 1) * a.square().sum(1) / 3)
    torch.testing.assert_close(wk.relu_ntk(3 * a, a, layers), 3 * theta)


def test_homogeneous_degree_is_layers_plus_one():
    """θ -> cθ multiplies the output by c^(layers + 1), the k of wide_network."""
    torch.manual_seed(0)
    net, x = NTK(3, 16, 2), torch.randn(5, 3).double()
    before = net(x)
    with torch.no_grad():
        for p in net.parameters():
            p.mul_(1.3)
    torch.testing.assert_close(net(x), 1.3**3 * before)
    predict = wide_network(lambda a, b: wk.relu_ntk(a, b, 2), 3, 0.01)
    assert torch.isfinite(predict([1.0, 1e4], x, x[:, 0], at=-x)).all()


@pytest.mark.parametrize(
    ("call", "names"),
    [
        (lambda: wk.relu_ntk([1.0], [1.0]), "a and b must have shapes"),
        (lambda: wk.relu_ntk([[1.0]], [[1.0]], -1), "layers must be"),
        (lambda: wk.empirical_ntk(nn.Linear(2, 3), torch.eye(2), torch.eye(2)), "one output"),
    ],
)
def test_errors_name_the_argument(call, names):
    with pytest.raises(ValueError, match=names):
        call()
