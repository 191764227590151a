"""Closed forms whose own tests are simulations, against 40 digits or brute quadrature, to 1e-9."""

import math

import mpmath
import numpy as np
import pytest
from scipy.integrate import dblquad

from etalambda.theory import complexity, deep_linear, quadratic, quenched, rotation, sphere, wide
from etalambda.theory import complexity_descent as cgd
from etalambda.theory import norm_dynamics as nd
from etalambda.theory import wide_modes as wm
from etalambda.theory.gaussian_field import GaussianField
from etalambda.theory.wide_kernels import relu_ntk
from tests.reference import wide as reference

RQ, P3 = GaussianField.rational_quadratic(), GaussianField.p_spin(3)
GOLDEN = dict(rel=1e-9, abs=1e-12)


@pytest.fixture(autouse=True)
def forty_digits():
    with mpmath.workdps(40):
        yield


@pytest.mark.parametrize("field", [RQ, P3], ids=["flat", "sphere"])
@pytest.mark.parametrize("energy", [-2.6, -1.9, -0.4, 1.1])
def test_total_complexity(field, energy):
    """max over λ̄ of the Kac-Rice exponent; at Q = 0 its value on the line."""
    f0, f1, f2, kappa = field.f0, field.f1, field.f2, field.curvature
    spread = f2 + kappa * abs(f1) - f1**2 / f0
    f0, f1, f2, at = (mpmath.mpf(v) for v in (f0, f1, f2, energy))

    def exponent(shift):
        x = abs(shift) / (2 * mpmath.sqrt(f2))
        growth = x**2 - mpmath.mpf(1) / 2 + mpmath.log(f2) / 2
        if x > 1:
            r = mpmath.sqrt(x**2 - 1)
            growth -= x * r - mpmath.log(x + r)
        off = shift - at * f1 / f0
        penalty = off**2 / (2 * spread) if spread else 0
        return (1 - mpmath.log(-f1)) / 2 - at**2 / (2 * f0) - penalty + growth

    best = at * f1 / f0
    if spread:
        guess = field.mean_eigenvalue(energy).item()
        best = mpmath.findroot(lambda m: mpmath.diff(exponent, m), guess)
    assert field.mean_eigenvalue(energy).item() == pytest.approx(float(best), rel=1e-9)
    assert field.total_complexity(energy).item() == pytest.approx(float(exponent(best)), **GOLDEN)


def test_flows_in_the_plane():
    """exp(tC₂M)u₀ by the exponential series, and the ridge's exponential."""
    matrix = mpmath.matrix([[1, 0.5], [0.5, 0.375]]) / (RQ.f2 * RQ.Q)
    for t in (0.0, 0.4, 2.0):
        exact = mpmath.expm(matrix * t) * mpmath.matrix([-0.8, 1.1])
        got = cgd.raw_flow(RQ, -0.8, 1.1, t).tolist()
        assert got == pytest.approx([float(v) for v in exact], **GOLDEN)
    path = cgd.ridge_flow(P3, -0.7, 1.3)[0].item()
    assert path == pytest.approx(float(-0.7 * mpmath.exp(1.3 / 4)), **GOLDEN)
    exponent = mpmath.mpf(-0.7) * (1 - mpmath.mpf(1) / 2) / (6 * mpmath.mpf(1) / 3)
    got = complexity.ridge_gradient(P3, -0.7).item()
    assert got == pytest.approx(float(-exponent), **GOLDEN)


@pytest.mark.parametrize("start", [1e-2, 7e3, 1e9])
def test_times_to_equilibrium(start):
    """The root in t of |γ(t) - γ_∞| = δγ_∞, and both phases of (15)."""
    rate, noise, delta, factor = (mpmath.mpf(v) for v in ("1e-3", "4", "0.05", "8"))
    gamma = lambda t, g, r: mpmath.exp(-4 * r * t) * (g - noise / (2 * r)) + noise / (2 * r)

    def time(g, r):
        limit = noise / (2 * r)
        sign = 1 if g > limit else -1
        return mpmath.findroot(lambda t: sign * (gamma(t, g, r) / limit - 1) - delta, 1 / r)

    found = nd.time_to_equilibrium(start, 1e-3, 4.0).item()
    assert found == pytest.approx(float(time(mpmath.mpf(start), rate)), **GOLDEN)
    early = mpmath.mpf(start) / factor**2
    first = time(early, factor * rate)
    settled = factor**2 * gamma(first, early, factor * rate)
    both = nd.time_with_large_start(start, 1e-3, 4.0, 8.0).item()
    assert both == pytest.approx(float(first + time(settled, rate)), **GOLDEN)


@pytest.mark.parametrize(("layers", "share"), [(1, 0.5), (2, 0.3), (4, 0.9)])
def test_deep_linear_fixed_points(layers, share):
    """Roots of (S20) by Newton from what the closed form says."""
    edge = deep_linear.deep_linear_threshold(layers, 0.6, 1.7, 1.2)
    decay = share * edge
    level = mpmath.mpf(decay) ** (layers + 1) / mpmath.mpf(0.6) ** 2
    s20 = lambda f: ((1.2 - f) * f) ** (layers - 1) * (1.2 - f) ** 2 * 1.7 - level
    for point in deep_linear.deep_linear_fixed_points(layers, 0.6, decay, 1.7, 1.2).tolist():
        assert point == pytest.approx(float(mpmath.findroot(s20, point)), **GOLDEN)
    top = mpmath.findroot(lambda f: mpmath.diff(s20, f), 1.2 * (layers - 1) / (2 * layers) + 0.01)
    if layers > 1:
        highest = (s20(top) + level) * mpmath.mpf(0.6) ** 2
        assert edge == pytest.approx(float(highest ** (mpmath.mpf(1) / (layers + 1))), **GOLDEN)


@pytest.mark.parametrize("degree", [1.5, 2, 4])
def test_peak_and_half_decay(degree):
    """Roots of the printed (3) in 40 digits."""
    mode = lambda t: reference.mode_printed(t, degree, 3.0, 0.05, 1.0, 0.0)
    peak = wm.peak_time(degree, 3.0, 0.05).item()
    level = lambda t: 3 * mpmath.exp(-2 * (degree - 1) * mpmath.mpf(0.05) * t)
    stationary = lambda t: mode(t) * (level(t) + degree * mpmath.mpf(0.05)) - level(t)
    exact = mpmath.findroot(stationary, peak)
    assert peak == pytest.approx(float(exact), rel=1e-9)
    half = wm.half_decay_time(degree, 3.0, 0.05).item()
    top = mode(exact)
    assert half == pytest.approx(
        float(mpmath.findroot(lambda t: mode(t) - top / 2, half)), rel=1e-9
    )


def test_relu_kernel_is_the_gaussian_average():
    """One hidden layer: E over two correlated normal inputs of ReLU ReLU + ReLU' ReLU' ⟨a, b⟩."""
    a, b = np.array([1.0, 0.0]), np.array([0.6, 0.8])
    density = lambda u, v: math.exp(-(u * u + v * v) / 2) / (2 * math.pi)

    def average(kernel):
        inner = lambda v, u: density(u, v) * kernel(a @ (u, v), b @ (u, v))
        edges = [(-9, 0), (0, 9)]
        total = 0.0
        for low, high in edges:
            split = lambda u: min(max(-0.75 * u, -9.0), 9.0)  # where the second input changes sign
            total += dblquad(inner, low, high, -9, split, epsabs=1e-12)[0]
            total += dblquad(inner, low, high, split, 9, epsabs=1e-12)[0]
        return total

    both = average(lambda p, q: float(p > 0) * float(q > 0))
    product = average(lambda p, q: max(p, 0.0) * max(q, 0.0))
    expected = 2 * (product / 2 + both * (a @ b) / 2)
    assert relu_ntk(a[None], b[None]).item() == pytest.approx(expected, abs=1e-9)


def test_ridge_and_bias_are_linear_algebra():
    """In rational arithmetic: Θ(Θ + λ)⁻¹y, and -λ(H + λ)⁻¹θ*."""
    exact = mpmath.lu_solve(mpmath.matrix([["2.1", 1], [1, "2.1"]]), mpmath.matrix([1, -3]))
    on = mpmath.matrix([[2, 1], [1, 2]]) * exact
    got = wide.ridge(0.1, [[2.0, 1.0], [1.0, 2.0]], [1.0, -3.0]).tolist()
    assert got == pytest.approx([float(v) for v in on], **GOLDEN)
    found = quadratic.bias([0.0, 1e-6, 4.0], [1.0, -2.0, 3.0], 0.01).tolist()
    expected = [-mpmath.mpf("0.01") / (mpmath.mpf(h) + mpmath.mpf("0.01")) * m
                for h, m in (("0", 1), ("1e-6", -2), ("4", 3))]  # fmt: skip
    assert found == pytest.approx([float(v) for v in expected], **GOLDEN)


def test_convergence_time_of_small_rates():
    """ln(1/δ)/-ln(1 - ηh) where 1 - ηh has few digits left."""
    found = quadratic.convergence_time(1e-12, 0.0, 0.1, 0.01).item()
    exact = mpmath.log(100) / -mpmath.log1p(-mpmath.mpf("1e-13"))
    assert found == pytest.approx(float(exact), **GOLDEN)


@pytest.mark.parametrize("name", ["sgd", "adamw", "adam"])
def test_rotational_equilibrium_is_the_balance_of_its_definition(name):
    """2r‖w‖² = η²c²E‖g‖² and angle = ‖u‖/‖w‖, solved for ‖w‖ in 40 digits."""
    lr, decay, size, noise, mu, b1 = (
        mpmath.mpf(v) for v in ("0.01", "0.2", "50", "3", "0.8", "0.9")
    )
    if name == "sgd":  # a gradient moves by η/(1-μ), decay by ηλ/(1-μ); v has variance g²/(1-μ²)
        balance = lambda w: 2 * lr * decay / (1 - mu) * w**2 - (lr / (1 - mu)) ** 2 * noise / w**2
        length = lambda w: lr * mpmath.sqrt(2 / (1 + mu) * noise / 2 / (1 - mu)) / w
    elif name == "adamw":
        balance = lambda w: 2 * lr * decay * w**2 - lr**2 * size
        length = lambda w: lr * mpmath.sqrt(size * (1 - b1) / (1 + b1))
    else:
        balance = lambda w: 2 * lr * decay * w * mpmath.sqrt(size / noise) * w**2 - lr**2 * size
        length = lambda w: lr * mpmath.sqrt(size * (1 - b1) / (1 + b1))
    found = rotation.equilibrium(name, 0.01, 0.2, 50, noise=3.0, momentum=0.8, betas=(0.9, 0.999))
    norm = mpmath.findroot(balance, found.norm)
    assert found.norm == pytest.approx(float(norm), **GOLDEN)
    assert found.angle == pytest.approx(float(length(norm) / norm), **GOLDEN)


def test_sphere_maps_near_their_pole():
    """η/(1 - 2ηλ) and the ramp η ρ^-(2t+1) where ρ is nearly 0, and the angle of a tiny step."""
    lr, l2 = mpmath.mpf("0.1"), mpmath.mpf("4.9999")
    exact = lr / (1 - 2 * lr * l2)
    assert sphere.effective_lr(0.1, 4.9999).item() == pytest.approx(float(exact), **GOLDEN)
    ramp = sphere.ramp(0.1, 4.5, 4, 8).tolist()
    rho = 1 - 2 * lr * mpmath.mpf("4.5")
    expected = [lr * rho ** -(2 * (t % 4) + 1) for t in range(8)]
    assert ramp == pytest.approx([float(v) for v in expected], rel=1e-9)
    tiny = sphere.step_angle(1e-9, 1.0, 2.0).item()
    assert tiny == pytest.approx(float(mpmath.atan(mpmath.mpf("5e-10"))), **GOLDEN)


def test_annealed_and_exact_free_energies():
    exact = mpmath.log(2) / mpmath.mpf("0.37") + mpmath.mpf("0.37") / 2
    assert quenched.annealed_free_energy(0.37).item() == pytest.approx(float(exact), **GOLDEN)
    for beta in (1e-3, 0.4, 0.7071):
        u = 2 * mpmath.mpf(beta) ** 2
        gap = mpmath.mpf(beta) ** 2 / 2 - (mpmath.log(1 - u) + u) / 4
        assert quenched.annealing_gap(beta).item() == pytest.approx(float(gap), rel=1e-9)
