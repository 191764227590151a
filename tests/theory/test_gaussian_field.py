"""Index and complexity of Gaussian fields: the constants, the series, and independent integrals."""

import math

import mpmath
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from etalambda.theory import complexity, semicircle
from etalambda.theory.gaussian_field import GaussianField
from tests.reference import complexity as paper

HALF = math.sqrt(0.5)
SE, RQ = GaussianField.squared_exponential(), GaussianField.rational_quadratic()
P2, P3, P4 = (GaussianField.p_spin(p) for p in (2, 3, 4))
MIXED = GaussianField.mixed({2: HALF, 4: HALF})
FIELDS = {"p2": P2, "p3": P3, "p4": P4, "mixed": MIXED, "SE": SE, "RQ": RQ}
# P, Q, ε_c, slope of λ̄ at critical and at generic points, Σ(0), -E₀
CONSTANTS = {
    "p2": (1, 0, -1.414214, -2, -2, 0, None),
    "p3": (1 / 3, 0, -1.632993, -3, -3, 0.346574, -1.656998),
    "p4": (1 / 6, 0, -1.732051, -4, -4, 0.549306, -1.794085),
    "mixed": (0.265306, 0.020408, -1.637846, -3.230769, -3, 0.423649, -1.656998),
    "SE": (2, 0, -2, -1, -1, 0, None),
    "RQ": (0.75, 0.25, -2.121320, -4 / 3, -1, 0.346574, -1.019667),
}


@pytest.mark.parametrize("name", FIELDS)
def test_model_constants(name):
    field = FIELDS[name]
    p, q, critical, slope, generic, top, ground = CONSTANTS[name]
    assert pytest.approx([p, q], abs=1e-6) == [field.P, field.Q]
    assert (field.Q == 0) == (q == 0)
    assert field.critical_energy == pytest.approx(critical, abs=1e-6)
    assert field.mean_eigenvalue(1.0).item() == pytest.approx(slope, abs=1e-6)
    assert field.mean_eigenvalue(1.0, at="generic").item() == pytest.approx(generic, abs=1e-12)
    assert field.total_complexity(0.0).item() == pytest.approx(top, abs=1e-6)
    if ground is None:
        with pytest.raises(ValueError, match="positive complexity"):
            _ = field.ground_state_energy
    else:
        assert field.ground_state_energy == pytest.approx(ground, abs=1e-6)


@pytest.mark.parametrize("p", [2, 3, 4, 7])
def test_pure_p_spin_thresholds(p):
    """E_∞ = 2√((p-1)/p) on the sphere; the printed flat formula is inadmissible there."""
    field, flat = GaussianField.p_spin(p), GaussianField.p_spin(p, geometry="flat")
    assert field.critical_energy == pytest.approx(-2 * math.sqrt((p - 1) / p), rel=1e-14)
    assert flat.Q * p * (p - 1) ** 2 == pytest.approx(-1, rel=1e-12)
    assert flat.critical_energy == pytest.approx(-(2 * p - 1) / math.sqrt(p * (p - 1)), rel=1e-12)
    for call in (
        lambda: flat.complexity(0.3, -1.0),
        lambda: flat.total_complexity(-1.0),
        lambda: flat.complexity_gradient(-1.0, 1.0),
    ):
        with pytest.raises(ValueError, match="Q must be at least 0, got -0"):
            call()


@pytest.mark.parametrize("name", FIELDS)
def test_agrees_with_the_transcription(name):
    field = FIELDS[name]
    f, kappa = (field.f0, field.f1, field.f2), field.curvature
    energy = torch.linspace(-0.95, 0.95, 11, dtype=torch.float64) * abs(field.critical_energy)
    shift = torch.linspace(-0.9, 0.9, 11, dtype=torch.float64) * field.radius
    close = dict(rtol=1e-12, atol=1e-12)
    assert_close = torch.testing.assert_close
    assert_close(
        torch.tensor((field.P, field.Q), dtype=torch.float64), paper.constants(*f, kappa), **close
    )
    assert_close(field.index(shift), paper.index(shift, *f), **close)
    assert_close(field.index_at_energy(energy), paper.index_at_energy(energy, *f, kappa), **close)
    assert_close(field.M, paper.form(*f, kappa), **close)
    if field.Q > 0:
        ours = complexity.at_shift(field, energy, shift)
        assert_close(ours, paper.sigma(energy, shift, *f, kappa), **close)
        ours = field.complexity_gradient(energy, shift)
        assert_close(ours, paper.gradient(energy, shift, *f, kappa), rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("x", [-1.2, -1 + 1e-9, -0.4, 0.0, 0.3, 0.98, 1 - 1e-6, 1 - 1e-12, 1.5])
def test_index_against_quadrature(x):
    """Golden: 50 digits; also beside the edge, where the naive form has no digits left."""
    with mpmath.workdps(50):
        edge = min(max(mpmath.mpf(x), -1), 1)
        exact = 2 / mpmath.pi * mpmath.quad(lambda t: mpmath.sqrt(1 - t * t), [edge, 1])
    got = semicircle.survival(x).item()
    assert got == pytest.approx(float(exact), rel=1e-9, abs=1e-30)
    assert semicircle.survival(-x).item() == pytest.approx(1 - float(exact), abs=1e-15)
    assert P2.index(x * P2.radius).item() == pytest.approx(got, rel=1e-3, abs=1e-15)


def test_index_series_and_edge_law():
    """Fit the exponents: (12) errs by O(x⁵), α is O(d^{3/2}), (13) errs by O(d²)."""
    critical = RQ.critical_energy
    x = torch.tensor([0.02, 0.04], dtype=torch.float64)
    error = RQ.index_at_energy(x * critical) - (0.5 - 2 / math.pi * x + x**3 / (3 * math.pi))
    assert (error[1] / error[0]).log2().item() == pytest.approx(5, abs=0.01)
    d = torch.tensor([1e-3, 2e-3], dtype=torch.float64)
    alpha = RQ.index_at_energy(critical + d * abs(critical))
    assert (alpha[1] / alpha[0]).log2().item() == pytest.approx(1.5, abs=1e-3)
    leading = 4 * math.sqrt(2) / (3 * math.pi) * d**1.5
    rest = alpha / leading - (1 - 3 * d / 20)
    assert (rest[1] / rest[0]).log2().item() == pytest.approx(2, abs=0.02)
    assert RQ.index_at_energy(critical * (1 + 1e-9)).item() == 0


@given(st.floats(0, 1), st.floats(0, 1))
def test_index_inverse_and_monotony(a, b):
    for field in (P3, RQ):
        shift = field.index_inverse([a, b])
        torch.testing.assert_close(
            field.index(shift), torch.tensor([a, b], dtype=torch.float64), rtol=1e-11, atol=1e-12
        )
        if a < b:
            assert shift[0] >= shift[1]


def test_finite_size_constants():
    """P_N = (1 - 2/N) f₀/f₂ + f₁²/f₂² and Q_N = (1 + 2/N) f₀/f₂ - f₁²/f₂², flat, as printed."""
    field = GaussianField(1.0, -1.0, 2.0, size=30)
    printed = [(1 - 2 / 30) * 0.5 + 0.25, (1 + 2 / 30) * 0.5 - 0.25]
    assert pytest.approx(printed, rel=1e-14) == [field.P, field.Q]
    squared_exponential = GaussianField(1.0, -1.0, 1.0, size=30)
    assert abs(squared_exponential.Q - 2 / 30) < 1e-15


@given(st.floats(0.2, 5), st.floats(0.2, 5))
def test_scaling(amplitude, length):
    """φ -> Aφ, x -> ℓx: energies scale by √A, curvatures by √A/ℓ²; index and Σ do not change.

    Σ is taken in the ball that is scaled along, so its volume changes by ln ℓ.
    """
    field = GaussianField.rational_quadratic(amplitude**2, length)
    energy, slope = 0.7 * amplitude, amplitude / length**2
    expected = RQ.index_at_energy(-0.7).item()
    assert field.index_at_energy(-energy).item() == pytest.approx(expected, rel=1e-9)
    expected = slope * RQ.mean_eigenvalue(-0.7).item()
    assert field.mean_eigenvalue(-energy).item() == pytest.approx(expected, rel=1e-9)
    expected = slope * RQ.convexifying_l2(-0.7).item()
    assert field.convexifying_l2(-energy).item() == pytest.approx(expected, rel=1e-9)
    volume = complexity.BALL + math.log(length)
    got = field.complexity(0.3, -energy, log_volume=volume).item()
    assert got == pytest.approx(RQ.complexity(0.3, -0.7).item(), rel=1e-7, abs=1e-9)


def test_convexifying_l2():
    """√f₂(1 - ε/ε_c)₊, affine within ±ε_c, and then no negative eigenvalue is left."""
    energy = torch.linspace(-2.0, 2.0, 9, dtype=torch.float64)
    expected = math.sqrt(RQ.f2) * (1 - energy / RQ.critical_energy)
    torch.testing.assert_close(RQ.convexifying_l2(energy), expected, rtol=1e-12, atol=1e-12)
    shifted = RQ.mean_eigenvalue(energy) + 2 * RQ.convexifying_l2(energy)
    assert (RQ.index(shifted) <= 1e-12).all()
    assert RQ.convexifying_l2(-2.5).item() == 0
    generic = RQ.convexifying_l2(-1.0, at="generic").item()
    assert generic == pytest.approx((RQ.radius - 1) / 2)
    assert RQ.trivializing_l2 == pytest.approx(math.sqrt(2) / 2)
    # Σ(μ) = (r² - 1)/2 - ln r is the complexity in all of space, and falls to 0 at r = 1.
    assert complexity.with_l2(RQ, RQ.trivializing_l2 / 2) == pytest.approx(0.318147, abs=1e-6)
    assert complexity.with_l2(RQ, 0.0) == math.inf
    for call in (lambda: P3.convexifying_l2(-1.0), lambda: P3.trivializing_l2):
        with pytest.raises(ValueError, match="got 'sphere'"):
            call()


def test_density_integrates_and_centres():
    x = torch.linspace(-4, 7, 200001, dtype=torch.float64)
    rho = RQ.hessian_density(x, 1.5)
    assert torch.trapezoid(rho, x).item() == pytest.approx(1, abs=1e-6)
    assert torch.trapezoid(rho * x, x).item() == pytest.approx(1.5, abs=1e-6)
    assert torch.trapezoid(rho * (x - 1.5) ** 2, x).item() == pytest.approx(RQ.f2, abs=1e-5)
    below = torch.trapezoid(torch.where(x < 0, rho, 0.0), x).item()
    assert below == pytest.approx(RQ.index(1.5).item(), abs=1e-4)


def test_numbers_arrays_and_shapes():
    for value in (0.5, [0.5, 1.0], np.array([[0.5], [1.0]]), torch.tensor([0.5])):
        for call in (RQ.index, RQ.index_at_energy, RQ.total_complexity, RQ.mean_eigenvalue):
            found = call(value)
            assert found.dtype == torch.float64
            assert found.shape == torch.as_tensor(value).shape
    assert RQ.complexity([0.1, 0.2], [[-1.0], [0.0], [1.0]]).shape == (3, 2)
    assert RQ.complexity_gradient([0.1, 0.2], [[-1.0], [0.0], [1.0]]).shape == (3, 2, 2)


def test_from_covariance_takes_derivatives():
    field = GaussianField.from_covariance(
        lambda s: 0.5 * (1 - s) ** 2 + 0.5 * (1 - s) ** 4, "sphere"
    )
    assert field == GaussianField(1.0, -3.0, 7.0, "sphere")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: GaussianField(0, -1, 1), "f0 must be a finite number above 0, got 0"),
        (lambda: GaussianField(1, 0.5, 1), "f1 must be below 0, got 0.5"),
        (lambda: GaussianField(1, -1, 0), "f2 must be a finite number above 0, got 0"),
        (lambda: GaussianField(1, math.nan, 1), "f1 must be below 0, got nan"),
        (lambda: GaussianField(1, -1, 1, "spherical"), "did you mean 'sphere'"),
        (lambda: GaussianField(1, -1, 1, size=1), "size must be at least 2, got 1"),
        (lambda: GaussianField(9, -3, 1, "sphere"), "P must be positive"),
        (lambda: GaussianField.p_spin(1), "hold no degree p >= 2"),
        (lambda: GaussianField.p_spin(0), "p must be a whole number of at least 1, got 0"),
        (lambda: GaussianField.mixed({}), "amplitudes is empty"),
        (lambda: GaussianField.mixed({2: math.inf}), "amplitude of p=2 must be finite"),
        (lambda: GaussianField.squared_exponential(length=-1), "length must be"),
        (lambda: GaussianField.from_covariance(lambda s: 1 - s), "must bend at 0"),
        (lambda: RQ.mean_eigenvalue(1.0, at="critcal"), "did you mean 'critical'"),
        (lambda: RQ.complexity(1.5, 0.0), r"must lie in \[0, 1\]"),
        (lambda: RQ.index(math.nan), "mean_eigenvalue must not hold NaN"),
        (lambda: P3.complexity_gradient(-1.0, 3.0), "needs Q > 0"),
        (lambda: complexity.with_l2(RQ, -1.0), "l2 must be"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
