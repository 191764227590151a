"""Curvature against the dense Hessian, closed forms and scaling laws; the model is left alone."""

import copy

import pytest
import torch
from torch import nn
from torch.func import functional_call

from etalambda.diagnose import curvature, hessian_index, hessian_vector_product


def tanh_net(seed=0):
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 3)).double()
    return net, (torch.randn(20, 5).double(), torch.randint(3, (20,)))


def dense_hessian(net, loss, batch):
    names = [name for name, _ in net.named_parameters()]
    shapes = [p.shape for p in net.parameters()]
    flat = torch.cat([p.detach().reshape(-1) for p in net.parameters()])

    def value(vector):
        parts = torch.split(vector, [s.numel() for s in shapes])
        tensors = {n: p.reshape(s) for n, p, s in zip(names, parts, shapes)}
        return loss(functional_call(net, tensors, (batch[0],)), batch[1])

    return torch.autograd.functional.hessian(value, flat)


def test_against_the_dense_hessian():
    net, batch = tanh_net()
    truth = torch.linalg.eigvalsh(dense_hessian(net, nn.CrossEntropyLoss(), batch))
    found = curvature(net, nn.CrossEntropyLoss(), batch, steps=57, probes=40)
    assert found.minimum == pytest.approx(truth[0].item(), abs=1e-10)
    assert found.maximum == pytest.approx(truth[-1].item(), abs=1e-10)
    assert found.convexifying_weight_decay == pytest.approx(-truth[0].item(), abs=1e-10)
    assert abs(found.trace.value - truth.sum()) < 4 * found.trace.standard_error
    share = (truth < -0.01 * truth.abs().max()).double().mean().item()
    assert abs(found.index.value - share) < 4 * found.index.standard_error


def test_linear_regression_has_hessian_two_xx_over_n():
    torch.manual_seed(0)
    net, x = nn.Linear(4, 1, bias=False).double(), torch.randn(30, 4).double()
    product, n = hessian_vector_product(net, nn.MSELoss(), (x, torch.randn(30, 1).double()))
    identity = torch.eye(n).double()
    ours = torch.stack([product(row) for row in identity])
    torch.testing.assert_close(ours, 2 / 30 * x.T @ x, rtol=1e-12, atol=1e-14)


def test_convexifying_weight_decay_convexifies():
    """With the L2 term of that strength the smallest eigenvalue is 0, with more it is positive."""
    net, batch = tanh_net()
    bare = curvature(net, nn.CrossEntropyLoss(), batch, steps=57)
    for extra in (0.0, 0.3):
        w = bare.convexifying_weight_decay + extra
        optimizer = torch.optim.SGD(net.parameters(), lr=1.0, weight_decay=w)
        with_l2 = curvature(net, nn.CrossEntropyLoss(), batch, optimizers=optimizer, steps=57)
        assert with_l2.minimum == pytest.approx(extra, abs=1e-10)


def test_groups_without_decay_are_not_shifted():
    net, batch = tanh_net()
    groups = [dict(params=net[0].parameters(), weight_decay=2.0), dict(params=net[2].parameters())]
    optimizer = torch.optim.SGD(groups, lr=1.0)
    plain, n = hessian_vector_product(net, nn.CrossEntropyLoss(), batch)
    shifted, _ = hessian_vector_product(net, nn.CrossEntropyLoss(), batch, optimizers=optimizer)
    ones = torch.ones(n).double()
    assert (shifted(ones) - plain(ones)).tolist() == pytest.approx([2.0] * 36 + [0.0] * 21)


@pytest.mark.parametrize("scale", [0.1, 7.0])
def test_scaling_the_loss_scales_the_spectrum(scale):
    net, batch = tanh_net()
    loss = nn.CrossEntropyLoss()
    one = curvature(net, loss, batch, steps=20)
    many = curvature(net, lambda out, target: scale * loss(out, target), batch, steps=20)
    assert many.maximum == pytest.approx(scale * one.maximum, rel=1e-9)
    assert many.index.value == pytest.approx(one.index.value, abs=1e-9)


@pytest.mark.parametrize("mode", ["train", "eval", None])
def test_batchnorm_modes_and_an_untouched_model(mode):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Linear(6, 2)).double()
    batch = torch.randn(16, 4).double() + 3, torch.randint(2, (16,))
    before = copy.deepcopy(net.state_dict())
    net.train(mode != "eval")  # the other mode than asked for must come back
    was = net.training
    found = curvature(net, nn.CrossEntropyLoss(), batch, mode=mode, steps=10)
    assert net.training is was
    assert all(p.grad is None for p in net.parameters())
    torch.testing.assert_close(net.state_dict(), before, rtol=0, atol=0)
    other = "eval" if mode in ("train", None) else "train"
    assert curvature(net, nn.CrossEntropyLoss(), batch, mode=other, steps=10).maximum != (
        pytest.approx(found.maximum, rel=1e-3)
    )


def test_float64_on_request():
    net, batch = tanh_net()
    truth = curvature(net, nn.CrossEntropyLoss(), batch, steps=30)
    single = net.float()
    wide = curvature(single, nn.CrossEntropyLoss(), (batch[0].float(), batch[1]), steps=30)
    assert wide.maximum == pytest.approx(truth.maximum, rel=1e-4)
    assert single[0].weight.dtype == torch.float32
    doubled = curvature(
        single, nn.CrossEntropyLoss(), (batch[0].float(), batch[1]), dtype=torch.float64, steps=30
    )
    assert doubled.maximum == pytest.approx(truth.maximum, rel=1e-6)


def test_tied_and_frozen_parameters_count_once_and_never():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.Linear(3, 3, bias=False)
            self.b = nn.Linear(3, 3, bias=False)
            self.b.weight = self.a.weight
            self.frozen = nn.Linear(3, 3).requires_grad_(False)

        def forward(self, x):
            return self.frozen(self.b(self.a(x)))

    torch.manual_seed(0)
    net, batch = Tied().double(), (torch.randn(8, 3).double(), torch.randn(8, 3).double())
    product, n = hessian_vector_product(net, nn.MSELoss(), batch)
    assert n == 9
    w = net.a.weight.detach()

    def value(flat):
        matrix = flat.reshape(3, 3)
        return nn.MSELoss()(net.frozen(batch[0] @ matrix.T @ matrix.T), batch[1])

    truth = torch.autograd.functional.hessian(value, w.reshape(-1))
    torch.testing.assert_close(torch.stack([product(e) for e in torch.eye(9).double()]), truth)


def test_index_of_a_saddle_with_known_index():
    """½ Σ a_i w_i² at 0: three of ten directions go down."""
    a = torch.tensor([[-1.0] * 3 + [1.0] * 7]).double()
    net = nn.Linear(10, 1, bias=False).double()
    saddle = lambda out, target: ((out.squeeze(1) ** 2) * target / 2).sum()
    estimate = hessian_index(net, saddle, (torch.eye(10).double(), a[0]), steps=2, probes=400)
    assert abs(estimate.value - 0.3) < 4 * estimate.standard_error


def test_bad_input_is_named():
    net, batch = tanh_net()
    with pytest.raises(ValueError, match="mode must be"):
        curvature(net, nn.CrossEntropyLoss(), batch, mode="test")
    with pytest.raises(ValueError, match="finite loss"):
        curvature(net, lambda out, target: out.sum() * float("nan"), batch)
    with pytest.raises(ValueError, match="no trainable parameter"):
        curvature(net.requires_grad_(False), nn.CrossEntropyLoss(), batch)


def test_a_linear_loss_has_no_curvature():
    net, x = nn.Linear(3, 1).double(), torch.randn(5, 3).double()
    found = curvature(net, lambda out, target: out.sum(), (x, x), steps=3)
    assert (found.minimum, found.maximum) == (0.0, 0.0)


def test_several_batches_are_one_larger_batch():
    net, (x, y) = tanh_net()
    loss = nn.CrossEntropyLoss()
    parts = [(x[:4], y[:4]), (x[4:13], y[4:13]), (x[13:], y[13:])]
    whole, n = hessian_vector_product(net, loss, (x, y))
    mean, _ = hessian_vector_product(net, loss, parts)
    v = torch.randn(n).double()
    torch.testing.assert_close(mean(v), whole(v), rtol=1e-11, atol=1e-13)
    found = curvature(net, loss, parts, steps=20)
    assert found.maximum == pytest.approx(curvature(net, loss, (x, y), steps=20).maximum, rel=1e-9)
    with pytest.raises(ValueError, match="empty list"):
        curvature(net, loss, [])


def test_top_eigenvalues_and_their_residuals():
    net, batch = tanh_net()
    truth = torch.linalg.eigvalsh(dense_hessian(net, nn.CrossEntropyLoss(), batch)).flip(0)
    found = curvature(net, nn.CrossEntropyLoss(), batch, steps=57).spectrum.top(5)
    assert [ritz.value for ritz in found] == pytest.approx(truth[:5].tolist(), abs=1e-9)
    early = curvature(net, nn.CrossEntropyLoss(), batch, steps=12).spectrum.top(3)
    for ritz in early:
        assert (truth - ritz.value).abs().min() <= ritz.residual + 1e-12
    with pytest.raises(ValueError, match=r"k must lie in \[1, 12\], got 13"):
        curvature(net, nn.CrossEntropyLoss(), batch, steps=12).spectrum.top(13)


def test_a_frozen_norm_keeps_its_mode():
    net = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Linear(6, 2)).train()
    net[1].eval()
    batch = torch.randn(16, 4), torch.randint(2, (16,))
    curvature(net, nn.CrossEntropyLoss(), batch, mode="train", steps=2)
    assert net.training
    assert not net[1].training


class Energy(nn.Module):
    """A point in space whose loss is a field's energy there."""

    def __init__(self, x):
        super().__init__()
        self.x = nn.Parameter(x.clone())

    def forward(self, _):
        return self.x


def test_index_of_p_spin_critical_points():
    """The 3-spin sphere's saddles: our index of the Riemannian Hessian against the dense one."""
    from etalambda.theory.critical_points import find
    from etalambda.theory.spin_glass import SphericalSpinGlass

    model = SphericalSpinGlass({3: 1.0}, 12, seed=1)
    saddles = find(model, model.sample(6, seed=0))
    assert len(saddles) >= 3
    for x, index in zip(saddles.points, saddles.indices):
        radial = (x @ model.gradient(x)) / len(x)
        basis = torch.linalg.qr(torch.cat([x[:, None], torch.eye(12).double()[:, 1:]], 1))[0][:, 1:]

        def loss(point, _, basis=basis, radial=radial, x=x):
            t = basis.T @ (point - x)  # the tangent plane: the sphere bends by the radial force
            moved = x + basis @ t
            return model.energy(moved) - radial * t.square().sum() / 2

        product, n = hessian_vector_product(Energy(x), loss, (torch.zeros(1), torch.zeros(1)))
        dense = basis.T @ torch.stack([product(e) for e in torch.eye(n).double()]) @ basis
        share = (torch.linalg.eigvalsh(dense) < 0).double().mean().item()
        assert share == pytest.approx(float(index), abs=1e-9)
        estimate = hessian_index(
            Energy(x), loss, (torch.zeros(1),) * 2, steps=12, probes=100, threshold=1e-6
        )
        assert abs(estimate.value * n / (n - 1) - share) < 4 * estimate.standard_error + 1e-9
