"""f(0), f'(0), f''(0) by three routes: differences, gradients and products, dense matrices."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from etalambda.diagnose import covariance_constants, fit_mixture, overlap_covariance
from etalambda.diagnose.covariance import Sphere


def dense_routes(make, loss, batch, samples, seed):
    """f'(0) and f''(0) from whole gradients and Hessians: mean and standard error."""
    torch.manual_seed(seed)  # the sphere's scales are measured: take the same ones
    sphere = Sphere.of(make, loss, batch)
    torch.manual_seed(seed + 1000)
    n, slopes, bends = sphere.dimension, [], []
    for _ in range(samples):
        x = sphere.sample()
        basis = torch.linalg.qr(torch.cat([x[:, None], torch.eye(n).double()[:, 1:]], 1))[0][:, 1:]
        gradient = basis.T @ torch.autograd.functional.jacobian(sphere.energy, x)
        hessian = basis.T @ torch.autograd.functional.hessian(sphere.energy, x) @ basis
        slopes.append(-(n**2) * gradient.square().mean())
        # What a random pair of tangents sees, averaged over all of them in closed form.
        squares, trace, m = hessian.square().sum(), hessian.trace(), n - 1
        pair = squares / m - (2 * squares + trace**2) / (m * (m + 2))
        bends.append(n**3 / (n - 2) * pair)
    both = torch.stack([torch.stack(slopes), torch.stack(bends)]).double()
    return both.mean(1).tolist(), (both.std(1) / samples**0.5).tolist()


class Spins(nn.Module):
    """x on the sphere; its loss is a pure 3-spin energy density."""

    def __init__(self, couplings):
        super().__init__()
        self.x = nn.Parameter(torch.randn(len(couplings), dtype=torch.float64))
        self.couplings = couplings

    def forward(self, _):
        return (
            -torch.einsum("ijk,i,j,k->", self.couplings, self.x, self.x, self.x) / len(self.x) ** 2
        )


def test_three_spin_by_three_routes_within_two_standard_errors():
    """1, -3 and 6 are exact at any N for the mean over couplings: each draw is one sample."""
    n, found = 12, []
    for seed in range(30):
        torch.manual_seed(seed)
        couplings = torch.randn(n, n, n).double()
        arguments = (lambda c=couplings: Spins(c)), (lambda out, _: out), (torch.zeros(1),) * 2
        made = covariance_constants(*arguments, samples=30, h=0.05, seed=seed)
        (slope, bend), _ = dense_routes(*arguments, 6, seed)
        forward = made.f1_forward.value, made.f2_forward.value
        found.append([made.f0.value, made.f1.value, made.f2.value, *forward, slope, bend])
    values = torch.tensor(found).double()
    error = values.std(0) / len(values) ** 0.5
    truth = torch.tensor([1, -3, 6, -3, 6, -3, 6]).double()
    assert ((values.mean(0) - truth).abs() < 2 * error).all(), (values.mean(0), error)


def tanh_mlp():
    return nn.Sequential(nn.Linear(6, 7), nn.Tanh(), nn.Linear(7, 3)).double()


def test_tanh_mlp_by_three_routes_within_two_standard_errors():
    torch.manual_seed(3)
    batch = torch.randn(40, 6).double(), torch.randint(3, (40,))
    made = covariance_constants(tanh_mlp, nn.CrossEntropyLoss(), batch, samples=400, h=0.1)
    means, errors = dense_routes(tanh_mlp, nn.CrossEntropyLoss(), batch, 60, seed=0)
    for estimates, dense, error in zip(
        ((made.f1, made.f1_forward), (made.f2, made.f2_fine)), means, errors
    ):
        numbers = [(e.value, e.standard_error) for e in estimates] + [(dense, error)]
        for i, (a, da) in enumerate(numbers):
            for b, db in numbers[:i]:
                assert abs(a - b) < 2 * math.hypot(da, db)
    assert made.anisotropy > 1
    assert not made.diverging


def test_gaussian_weight_decay_is_zero_deep_down_and_falls_with_the_loss():
    torch.manual_seed(3)
    batch = torch.randn(40, 6).double(), torch.randint(3, (40,))
    made = covariance_constants(tanh_mlp, nn.CrossEntropyLoss(), batch, samples=60)
    level = made.mean.value
    at_mean, lower = (made.convexifying_weight_decay(v) for v in (level, level - 0.01))
    assert at_mean > lower >= 0
    edge = 2 * math.sqrt(made.f2.value) / made.squared_radius
    assert at_mean == pytest.approx(edge, rel=1e-9)


def test_a_networks_field_has_a_complexity_curve():
    """Many critical points at the mean loss, none below the ground state, minima below ε_c."""
    torch.manual_seed(3)
    batch = torch.randn(40, 10).double(), torch.randint(3, (40,))

    def make():
        layers = [nn.Linear(10, 16), nn.Tanh(), nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 3)]
        return nn.Sequential(*layers).double()

    field = covariance_constants(make, nn.CrossEntropyLoss(), batch, samples=150).field()
    low, edge = field.ground_state_energy, field.critical_energy
    assert low < edge < 0
    curve = field.total_complexity([1.01 * low, low, edge, 0.0])
    assert curve[0] < 0 < curve[2] < curve[3]
    assert curve[1].item() == pytest.approx(0, abs=1e-6)
    assert field.index_at_energy([edge, 0.0]).tolist() == pytest.approx([0, 0.5])


@pytest.mark.parametrize("depth", [1, 2, 3, 5])
def test_a_deep_linear_network_is_a_pure_model_of_its_depth(depth):
    """Its output is a product of one factor a layer, so the covariance is q^depth."""

    def make():
        layers = [nn.Linear(5, 40 if depth > 1 else 1, bias=False)]
        layers += [nn.Linear(40, 40, bias=False) for _ in range(depth - 2)]
        layers += [nn.Linear(40, 1, bias=False)] if depth > 1 else []
        return nn.Sequential(*layers).double()

    x = torch.ones(1, 5).double()
    q = np.linspace(0, 0.95, 12)
    found = overlap_covariance(make, lambda out, _: out.sum(), (x, x), q.tolist(), samples=800)
    rms = np.sqrt(np.mean(((found.values - q**depth) / found.standard_errors) ** 2))
    assert rms < 2
    fitted = fit_mixture(q, found.values, found.standard_errors, degrees=range(8))
    assert fitted.misfit < 1.5
    assert fitted.mean_degree == pytest.approx(depth, rel=0.2)


def test_bad_input_is_named():
    x = torch.ones(1, 5).double()
    with pytest.raises(ValueError, match=r"in \[-1, 1\], got 1.5"):
        overlap_covariance(tanh_mlp, nn.MSELoss(), (x, x), [0.0, 1.5])
    with pytest.raises(ValueError, match="standard_errors must be above 0"):
        fit_mixture([0.0, 1.0], [0.0, 1.0], [0.0, 1.0], degrees=(1,))
    with pytest.raises(ValueError, match="3 degrees need as many overlaps, got 2"):
        fit_mixture([0.0, 1.0], [0.0, 1.0], [1.0, 1.0], degrees=(1, 2, 3))
