"""Complexity against quadrature, its own maxima, its derivatives and the p-spin literature."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad

from etalambda.theory import complexity
from etalambda.theory.gaussian_field import GaussianField

HALF = math.sqrt(0.5)
SE, RQ = GaussianField.squared_exponential(), GaussianField.rational_quadratic()
P2, P3, P4 = (GaussianField.p_spin(p) for p in (2, 3, 4))
MIXED = GaussianField.mixed({2: HALF, 4: HALF})
FIELDS = {"p2": P2, "p3": P3, "p4": P4, "mixed": MIXED, "SE": SE, "RQ": RQ}


@pytest.mark.parametrize("name", FIELDS)
def test_complexity_against_the_kac_rice_exponent(name):
    """Golden: ln E|det| from a quadrature over the semicircle, at any λ̄, to 1e-9."""
    field = FIELDS[name]
    spread = field.f2 + field.curvature * abs(field.f1) - field.f1**2 / field.f0
    for energy, shift in [(-0.7, 0.4), (0.3, 1.9), (-1.2, 2.9), (-2.0, 6.0), (1.8, -7.0)]:
        if field.Q == 0:
            shift = energy * field.f1 / field.f0
        points = [-shift] if abs(shift) < field.radius else None
        weight = lambda t, f=field: math.sqrt(4 * f.f2 - t * t) / (2 * math.pi * f.f2)
        growth, _ = quad(
            lambda t, w=weight, m=shift: w(t) * math.log(abs(t + m) or 1e-300),
            *(-field.radius, field.radius),
            points=points,
            epsabs=1e-11,
            limit=400,
        )
        off = shift - energy * field.f1 / field.f0
        penalty = off**2 / (2 * spread) if field.Q > 0 else 0.0
        volume = 0.5 * math.log(2 * math.pi * math.e / (2 * math.pi * abs(field.f1)))
        exact = volume - energy**2 / (2 * field.f0) - penalty + growth
        got = complexity.at_shift(field, energy, shift).item()
        assert got == pytest.approx(exact, abs=1e-9)


@pytest.mark.parametrize("name", ["mixed", "RQ"])
def test_total_is_the_best_shift(name):
    """Σ(ε) = max over λ̄ of Σ(ε, λ̄), within ±ε_c and beyond; the maximum sits at λ̄(ε)."""
    field = FIELDS[name]
    grid = torch.linspace(-3, 3, 60001, dtype=torch.float64) * field.radius
    for energy in (-3.0, -2.2, -1.0, 0.0, 0.8, 2.5):
        values = complexity.at_shift(field, energy, grid)
        assert values.max().item() == pytest.approx(field.total_complexity(energy).item(), abs=1e-6)
        best = field.mean_eigenvalue(energy)
        assert abs(grid[values.argmax()] - best) < 2 * (grid[1] - grid[0])
        at_best = complexity.at_shift(field, energy, best)
        assert at_best.item() == pytest.approx(field.total_complexity(energy).item(), abs=1e-12)


def abc(p, energy):
    """Σ(ε) of pure p-spins after Auffinger, Ben Arous and Cerny (2013), in this normalization."""
    threshold = 2 * math.sqrt((p - 1) / p)
    value = 0.5 * math.log(p - 1) - (p - 2) / (4 * (p - 1)) * energy**2
    if energy >= -threshold:
        return value
    u, e = -energy, threshold
    root = math.sqrt(u * u - e * e)
    return value - (u / e**2 * root - math.log((u + root) / e))


@pytest.mark.parametrize("p", [2, 3, 4, 7])
def test_total_matches_the_p_spin_literature(p):
    field = GaussianField.p_spin(p)
    for energy in np.linspace(-2.2, 0, 23):
        assert field.total_complexity(energy).item() == pytest.approx(abc(p, energy), abs=1e-11)
    if p == 3:
        assert field.ground_state_energy == pytest.approx(-1.6569983635, abs=1e-10)


def test_complexity_of_an_index():
    """Theorem 1 inside; at index 0 and 1 the best shift beyond the edge; -inf off the line."""
    alpha = torch.tensor([0.2, 0.5, 0.7], dtype=torch.float64)
    quadratic = complexity.peak(RQ) - complexity.form_value(RQ, -0.4, RQ.index_inverse(alpha)) / (
        2 * RQ.f2 * RQ.Q
    )
    torch.testing.assert_close(RQ.complexity(alpha, -0.4), quadratic, rtol=1e-12, atol=1e-12)
    for energy in (-3.0, 3.0):
        total = RQ.total_complexity(energy).item()
        assert RQ.complexity(float(energy > 0), energy).item() == pytest.approx(total, abs=1e-12)
    # Minima at the threshold: the count by which the landscape has many local minima.
    assert P3.complexity(0.0, P3.critical_energy).item() == pytest.approx(0.01324, abs=1e-5)
    on_the_line = P3.complexity(P3.index_at_energy([-1.5, 0.2, 1.6]), [-1.5, 0.2, 1.6])
    torch.testing.assert_close(on_the_line, P3.total_complexity([-1.5, 0.2, 1.6]))
    assert P3.complexity(0.3, -1.5).item() == -math.inf


def test_form_gradient_and_slopes():
    for field in (MIXED, RQ):
        c = field.curvature * abs(field.f1) / field.f2
        assert torch.det(field.M).item() == pytest.approx(field.Q * (1 - c) / 2, abs=1e-13)
        assert (torch.linalg.eigvalsh(field.M) > 0).all()
        assert (field.M > 0).all()
        u = torch.tensor([-0.8, 0.7], dtype=torch.float64, requires_grad=True)
        h = 1e-5
        numeric = [
            (complexity.at_shift(field, *(u + h * e)) - complexity.at_shift(field, *(u - h * e)))
            / (2 * h)
            for e in torch.eye(2).double()
        ]
        got = field.complexity_gradient(-0.8, 0.7)
        torch.testing.assert_close(got, torch.stack(numeric).detach(), rtol=1e-8, atol=1e-8)
        # (19) corrected: the slope of ψ at fixed λ̄, then λ̄ = λ̄(ε), is 2ε(1-c)Q/P, below 2ε.
        energy = -0.6
        slope = (
            -2
            * field.f2
            * field.Q
            * field.complexity_gradient(energy, field.mean_eigenvalue(energy))
        )
        expected = 2 * energy * (1 - c) * field.Q / field.P
        assert slope[0].item() == pytest.approx(expected, abs=1e-12)
        assert slope[1].item() == pytest.approx(0, abs=1e-12)
    printed = torch.tensor([[1, 4.0], [4.0, RQ.P / 2]])  # f = (1 + 4s)^-1, eq. (16) as printed
    assert torch.linalg.eigvalsh(printed)[0] < 0


def test_power_laws_at_the_transitions():
    """The exponents that the model has: 3/2 of α (test_index_series_and_edge_law) and of Σ's
    singular part at ε_c, 1 of Σ at the ground state, 2 of it where L2 trivializes the landscape."""
    trivial = RQ.trivializing_l2
    near = [complexity.with_l2(RQ, trivial * (1 - d)) for d in (1e-3, 2e-3)]
    assert math.log2(near[1] / near[0]) == pytest.approx(2, abs=1e-3)
    assert near[0] == pytest.approx(1e-6, rel=1e-3)
    assert complexity.with_l2(RQ, trivial) == complexity.with_l2(RQ, 2 * trivial) == 0
    for field in (P3, RQ):
        ground = field.ground_state_energy
        low, high = field.total_complexity([ground + 1e-6, ground + 2e-6]).tolist()
        assert math.log2(high / low) == pytest.approx(1, abs=1e-3)
    edge, h = P3.critical_energy, torch.tensor([1e-5, 2e-5]).double()
    inside = complexity.peak(P3) - edge**2 / 8  # the parabola of the bulk: slope -ε/4
    below = P3.total_complexity(edge - h) - (inside + edge * h / 4 - h**2 / 8)
    assert (below[1] / below[0]).log2().item() == pytest.approx(1.5, abs=0.01)


@given(st.floats(0.1, 5), st.floats(0.1, 5), st.floats(0, 3), st.booleans())
def test_form_is_positive_semidefinite_for_admissible_constants(f0, slope, surplus, sphere):
    """M >= 0 if Q >= 0 (and f₂ >= |f₁| on the sphere), singular at Q = 0: det M = Q(1 - κc)/2."""
    least = slope**2 / f0 - (slope if sphere else 0)
    f2 = max(least, slope if sphere else 0) * (1 + surplus)
    field = GaussianField(f0, -slope, f2, "sphere" if sphere else "flat")
    values = torch.linalg.eigvalsh(field.M)
    assert values[0] > -1e-9 * values[1]
    c = field.curvature * slope / f2
    expected = field.Q * (1 - c) / 2
    assert torch.det(field.M).item() == pytest.approx(expected, abs=1e-9 * values[1].item() ** 2)


@given(st.floats(-0.9, 0.9), st.floats(-0.9, 0.9), st.floats(-0.9, 0.9), st.floats(-0.9, 0.9))
def test_complexity_is_concave(a, b, c, d):
    first, second = (a * 2, b * RQ.radius), (c * 2, d * RQ.radius)
    middle = tuple((x + y) / 2 for x, y in zip(first, second))
    ends = complexity.at_shift(RQ, *first) + complexity.at_shift(RQ, *second)
    assert complexity.at_shift(RQ, *middle) >= ends / 2 - 1e-12
