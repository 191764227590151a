"""The flows against an integrator, the directions in weight space against finite differences."""

import pytest
import torch
from scipy.integrate import solve_ivp

from etalambda.theory import complexity, critical_points
from etalambda.theory import complexity_descent as cgd
from etalambda.theory.gaussian_field import GaussianField
from etalambda.theory.random_field import RandomFourierField
from etalambda.theory.spin_glass import SphericalSpinGlass

RQ, P3 = GaussianField.rational_quadratic(), GaussianField.p_spin(3)


def test_flows_against_an_integrator():
    times = [0.0, 0.3, 0.7]
    raw = solve_ivp(
        lambda t, u: -RQ.complexity_gradient(*u).numpy(),
        (0, 0.7),
        [-0.8, 1.0],
        t_eval=times,
        rtol=1e-11,
        atol=1e-12,
    )
    found = cgd.raw_flow(RQ, -0.8, 1.0, times)
    torch.testing.assert_close(found, torch.tensor(raw.y.T), rtol=1e-8, atol=1e-8)
    ridge = solve_ivp(
        lambda t, e: -complexity.ridge_gradient(P3, e).numpy(),
        (0, 0.7),
        [-0.9],
        t_eval=times,
        rtol=1e-11,
        atol=1e-12,
    )
    found = cgd.ridge_flow(P3, -0.9, times)[:, 0]
    torch.testing.assert_close(found, torch.tensor(ridge.y[0]), rtol=1e-8, atol=1e-8)


def test_raw_descent_leaves_the_ridge():
    """From a state on the ridge with λ̄ > 0 it ends with λ̄ < 0; the ridge flow stays and stops."""
    start = RQ.mean_eigenvalue(-1.0).item()
    end = cgd.raw_flow(RQ, -1.0, start, 4.0)
    assert start > 0 > end[1]
    top = torch.linalg.eigh(RQ.M)[1][:, 1]
    assert torch.cosine_similarity(end, top, dim=0).abs() > 0.999
    path = cgd.ridge_flow(RQ, -0.2, torch.linspace(0, 10, 50))
    torch.testing.assert_close(path[:, 1], RQ.mean_eigenvalue(path[:, 0]))
    assert path[-1, 0].item() == pytest.approx(cgd.stop_energy(RQ))
    assert (path[1:, 0] <= path[:-1, 0]).all()


@pytest.mark.parametrize(
    "landscape",
    [
        SphericalSpinGlass({3: 1.0}, 7, seed=1),
        SphericalSpinGlass({2: 0.7, 4: 0.7}, 7, seed=1),
        RandomFourierField(7, features=100, seed=1),
    ],
    ids=["p3", "mixed", "RQ"],
)
def test_raw_direction_is_the_gradient_of_the_complexity(landscape):
    field = landscape.field
    field = GaussianField(field.f0, field.f1, field.f2, field.geometry, size=landscape.size)
    x = landscape.sample(2, seed=3)
    mean, _ = cgd.mean_curvature(landscape, x)
    if landscape.on_sphere:  # the embedded function has the same value at a point of the sphere
        seen = critical_points.measure(landscape, x).mean_eigenvalues
        torch.testing.assert_close(mean, seen, rtol=1e-10, atol=1e-10)

    def value(point):
        shift, _ = cgd.mean_curvature(landscape, point[None])
        energy = landscape.energy(point) / landscape.size
        peak = complexity.peak(field)
        psi = complexity.form_value(field, energy, shift[0])
        return landscape.size * (peak - psi / (2 * field.f2 * field.Q))

    direction = cgd.raw_direction(landscape, x, field)
    # Along tangents: off the sphere x·∇φ/N and x·∇φ/|x|² would differ.
    h = 1e-5
    for point, got in zip(x, direction):
        v = torch.randn(7, dtype=torch.float64)
        if landscape.on_sphere:
            v = v - (v @ point) / (point @ point) * point
        numeric = (value(point + h * v) - value(point - h * v)) / (2 * h)
        assert (got @ v).item() == pytest.approx(-numeric.item(), rel=1e-4, abs=1e-5)


def test_ridge_rate_and_missing_convexity():
    assert cgd.ridge_rate(P3, [0.0, P3.critical_energy]).tolist() == [0.0, 1.0]
    missing = cgd.missing_convexity(RQ, [-0.5, 0.0])
    torch.testing.assert_close(missing * RQ.f2**0.5, RQ.convexifying_l2([-0.5, 0.0]))
    # The printed (17): λ̄ itself grows as the energy falls.
    assert RQ.mean_eigenvalue(-1.0) > RQ.mean_eigenvalue(-0.5)
    se = GaussianField.squared_exponential()
    assert cgd.stop_energy(se) == se.critical_energy


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: cgd.raw_flow(P3, -1.0, 3.0, 1.0), "needs Q > 0"),
        (lambda: cgd.raw_flow(RQ, -1.0, 3.0, -1.0), "t must be at least 0"),
        (lambda: cgd.ridge_flow(RQ, 0.5, 1.0), "energy must be below 0, got 0.5"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
