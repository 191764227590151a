"""Fixed points of deep linear networks against gradient descent on their matrices."""

import math

import pytest
import torch

from etalambda.theory import deep_linear as dl


def train(layers, width, beta, decay, x, y, start, steps=6_000, lr=0.1):
    """Gradient descent from matrices of norm ``start``; x is (n, d). Outputs on x."""
    torch.manual_seed(0)
    shapes = [(width, x.shape[1]), *[(width, width)] * (layers - 1), (1, width)]
    weights = [torch.randn(*shape, dtype=torch.float64) for shape in shapes]
    weights = [(w * start / w.norm()).requires_grad_() for w in weights]

    def output():
        f = x.T
        for w in weights:
            f = w @ f
        return beta * f[0]

    for step in range(steps):
        residual = output() - y
        penalty = decay / 2 * sum(w.square().sum() for w in weights)
        grads = torch.autograd.grad(0.5 * residual.square().sum() + penalty, weights)
        if step % 50 == 0 and max(g.abs().max() for g in grads) < 1e-12:
            break
        weights = [
            (w - lr * g).detach().requires_grad_() for w, g in zip(weights, grads, strict=True)
        ]
    return output().detach(), weights


@pytest.mark.parametrize(("decay", "expected"), [(0.1, 0.8), (0.3, 0.4), (0.6, 0.0)])
def test_one_hidden_layer_is_s21_with_the_sign_mended(decay, expected):
    """n = 4: f = 1 - λ√n, and 0 from λ√n = 1 on. As printed, f would be 1.2 at λ = 0.1."""
    one = torch.ones(1, 1, dtype=torch.float64)
    f, _ = train(1, 4, 0.5, decay, one, one[0], 1.0)
    assert f.item() == pytest.approx(expected, abs=1e-9)
    found = dl.deep_linear_fixed_points(1, 0.5, decay, 1.0, 1.0)
    assert found.tolist() == pytest.approx([expected] if expected else [])


@pytest.mark.parametrize("layers", [2, 3])
def test_training_ends_at_the_larger_root_or_at_zero(layers):
    x, y = torch.tensor([[0.9]], dtype=torch.float64), torch.tensor([1.2], dtype=torch.float64)
    points = dl.deep_linear_fixed_points(layers, 0.7, 0.1, 0.81, 1.2)
    f, weights = train(layers, 3, 0.7, 0.1, x, y, 1.5)
    assert f.item() == pytest.approx(points[1].item(), abs=1e-9)
    norms = torch.stack([w.square().sum() for w in weights])
    balance = (1.2 - f.item()) * f.item() / 0.1
    torch.testing.assert_close(norms, torch.full_like(norms, balance), rtol=1e-7, atol=0)  # f̃
    assert train(layers, 3, 0.7, 0.1, x, y, 0.05)[0].item() == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("layers", [1, 2, 5])
@pytest.mark.parametrize("target", [0.8, -3.0])
def test_points_satisfy_s20_between_zero_and_target(layers, target):
    beta, x2 = 0.6, 1.7
    decay = 0.4 * dl.deep_linear_threshold(layers, beta, x2, target)
    for f in dl.deep_linear_fixed_points(layers, beta, decay, x2, target).tolist():
        assert 0 < f / target < 1
        right = ((target - f) * f) ** (layers - 1) * (target - f) ** 2 * x2
        assert right == pytest.approx(decay ** (layers + 1) / beta**2, rel=1e-9)


@pytest.mark.parametrize("layers", [1, 2, 4])
def test_threshold_separates_some_from_none(layers):
    edge = dl.deep_linear_threshold(layers, 0.8, 2.0, 1.5)
    below = dl.deep_linear_fixed_points(layers, 0.8, edge * (1 - 1e-9), 2.0, 1.5)
    assert len(below) == (1 if layers == 1 else 2)
    assert not len(dl.deep_linear_fixed_points(layers, 0.8, edge * (1 + 1e-9), 2.0, 1.5))


def test_edges():
    assert dl.deep_linear_fixed_points(3, 1.0, 0.0, 1.0, 2.0).tolist() == [2.0]
    assert dl.deep_linear_fixed_points(3, 1.0, 0.1, 1.0, 0.0).shape == (0,)
    ridge = dl.deep_linear_fixed_points(0, 0.5, 0.2, 3.0, 2.0).item()
    assert ridge == pytest.approx(2 * 0.75 / (0.75 + 0.2))
    assert dl.deep_linear_threshold(0, 1.0, 1.0, 1.0) == math.inf


@pytest.mark.parametrize("layers", [1, 2])
def test_several_samples(layers):
    x = torch.tensor([[1.0, 0.2], [-0.5, 0.8], [0.3, 1.1]], dtype=torch.float64)
    y = torch.tensor([1.0, -0.4, 0.7], dtype=torch.float64)
    f, _ = train(layers, 3, 0.6, 0.1, x, y, 1.5)
    v = dl.deep_linear_function(layers, 0.6, 0.1, x, y)
    torch.testing.assert_close(x @ v, f, atol=1e-8, rtol=0)
    assert not dl.deep_linear_function(layers, 0.6, 9.0, x, y).any()


def test_one_sample_agrees_with_several():
    for layers in (1, 2, 4):
        v = dl.deep_linear_function(layers, 0.9, 0.1, [[1.3]], [0.9])
        one = dl.deep_linear_fixed_points(layers, 0.9, 0.1, 1.69, 0.9)[-1]
        assert 1.3 * v.item() == pytest.approx(one.item(), rel=1e-12)


@pytest.mark.parametrize(
    ("call", "names"),
    [
        (lambda: dl.deep_linear_fixed_points(-1, 1, 1, 1, 1), "layers must be"),
        (lambda: dl.deep_linear_fixed_points(1, 0, 1, 1, 1), "beta must be"),
        (lambda: dl.deep_linear_fixed_points(1, 1, -1, 1, 1), "weight_decay must be"),
        (lambda: dl.deep_linear_threshold(0.5, 1, 1, 1), "layers must be"),
        (lambda: dl.deep_linear_function(0, 1, 1, [[1.0]], [1.0]), "layers must be"),
        (lambda: dl.deep_linear_function(1, 1, 1, [1.0], [1.0]), "inputs must have shape"),
    ],
)
def test_errors_name_the_argument(call, names):
    with pytest.raises(ValueError, match=names):
        call()
