"""One mode of a wide network against eq. (3) in 50 digits, the ODE and its known limits."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from etalambda.theory import wide_modes as wm
from tests.reference import wide as reference


@pytest.mark.parametrize("degree", [1.05, 1.5, 2, 2.5, 3, 10])
@pytest.mark.parametrize("eigenvalue", [1e-6, 0.03, 1.0, 200.0])
@pytest.mark.parametrize("weight_decay", [1e-3, 0.2, 1.0])
def test_mode_is_golden(degree, eigenvalue, weight_decay):
    for t in (0.1, 1.0, 30.0):
        arguments = (t, degree, eigenvalue, weight_decay, 1.3, -0.7)
        expected = float(reference.mode_printed(*arguments))
        assert wm.mode(*arguments).item() == pytest.approx(expected, abs=2e-13)


@pytest.mark.parametrize("degree", [0, 0.2, 0.5, 0.9, 1, 1.3, 2, 4])
@pytest.mark.parametrize(("eigenvalue", "weight_decay"), [(2.0, 0.3), (0.1, 0.5), (30.0, 0.05)])
def test_mode_solves_the_ode(degree, eigenvalue, weight_decay):
    for t in (0.3, 4.0):
        there = reference.flow(t, degree, [[eigenvalue]], weight_decay, [1.0], [-0.4])
        found = wm.mode(t, degree, eigenvalue, weight_decay, 1.0, -0.4)
        assert found.item() == pytest.approx(there[0], abs=1e-9)


@pytest.mark.parametrize("degree", [0.5, 2, 7])
@pytest.mark.parametrize("ratio", [1e3, 1e6, 1e12])
def test_nothing_overflows_where_the_printed_form_does(degree, ratio):
    """γ/λ to 1e12: the mode learns to y within 1e-3, and f is finite and inside at all times."""
    t = torch.logspace(-4, 14, 100, dtype=torch.float64)
    f = wm.mode(t, degree, 1.0, 1 / ratio, 1.0, 0.0)
    assert torch.isfinite(f).all()
    assert (f >= 0).all()
    assert (f <= 1).all()
    assert wm.mode(20.0, degree, 1.0, 1 / ratio, 1.0, 0.0).item() == pytest.approx(1, abs=9e-3)


def test_limits_are_exact():
    """k = 1, λ = 0, γ = 0, both 0, and k = 0 in closed form."""
    t, e = 1.7, math.exp
    assert wm.mode(t, 1, 2.0, 0.5, 1.0, 3.0).item() == pytest.approx(e(-4.25) * 2.2 + 0.8)
    for degree in (0, 1, 2, 2.5):
        assert wm.mode(t, degree, 2.0, 0.0, 1.0, 3.0).item() == pytest.approx(1 + 2 * e(-3.4))
        assert wm.mode(t, degree, 0.0, 0.5, 1.0, 3.0).item() == pytest.approx(3 * e(-0.85 * degree))
        assert wm.mode(t, degree, 0.0, 0.0, 1.0, 3.0).item() == 3
        assert wm.mode(0.0, degree, 2.0, 0.5, 1.0, 3.0).item() == pytest.approx(3, abs=1e-13)
    grown = 2.0 * math.expm1(2 * 0.5 * t) / (2 * 0.5)
    assert wm.mode(t, 0, 2.0, 0.5, 1.0, 3.0).item() == pytest.approx(1 + 2 * e(-grown))


@pytest.mark.parametrize("degree", [0, 1.5, 2])
def test_denormal_decay_is_none(degree):
    tiny = wm.mode([0.0, 1.0], degree, 1.0, 2.2e-309, 1.0, 0.5)
    torch.testing.assert_close(tiny, wm.mode([0.0, 1.0], degree, 1.0, 0.0, 1.0, 0.5))


@pytest.mark.parametrize("side", [-1, 1])
def test_degree_1_is_a_limit_from_both_sides_at_first_order(side):
    gaps = []
    for step in (1e-2, 1e-3, 1e-4):
        near = wm.mode(2.0, 1 + side * step, 1.3, 0.4, 1.0, 0.5)
        gaps.append(abs(near - wm.mode(2.0, 1, 1.3, 0.4, 1.0, 0.5)).item())
    slopes = np.diff(np.log(gaps)) / np.log(0.1)
    np.testing.assert_allclose(slopes, 1, atol=0.02)


def test_weight_decay_0_is_a_limit_at_first_order():
    decays = torch.tensor([1e-3, 1e-4, 1e-5], dtype=torch.float64)
    gap = (wm.mode(2.0, 3, 1.3, decays, 1.0, 0.5) - wm.mode(2.0, 3, 1.3, 0.0, 1.0, 0.5)).abs()
    slopes = gap.log().diff() / decays.log().diff()
    torch.testing.assert_close(slopes, torch.ones(2).double(), atol=5e-3, rtol=0)


@settings(deadline=None)
@given(st.floats(0, 1e3), st.floats(0, 9), st.floats(0, 1e4), st.floats(0, 10))
def test_modes_stay_between_start_and_target(t, degree, eigenvalue, weight_decay):
    found = wm.mode(t, degree, eigenvalue, weight_decay, 1.0, 0.0).item()
    assert 0 <= found <= 1
    from_target = wm.mode(t, degree, eigenvalue, weight_decay, 1.0, 1.0).item()
    assert found - 1e-12 <= from_target <= 1 + 1e-12


@settings(deadline=None)
@given(st.floats(0.01, 10), st.floats(0, 5), st.floats(0.01, 10), st.floats(1e-3, 3))
def test_time_and_rates_scale_together(t, degree, eigenvalue, weight_decay):
    """(t, γ, λ) -> (t/c, cγ, cλ) changes nothing."""
    one = wm.mode(t, degree, eigenvalue, weight_decay, 1.0, 0.2)
    other = wm.mode(t / 7, degree, 7 * eigenvalue, 7 * weight_decay, 1.0, 0.2)
    torch.testing.assert_close(one, other, rtol=0, atol=1e-12)


@settings(deadline=None)
@given(st.floats(0.01, 50), st.floats(2, 9), st.floats(0, 5), st.floats(1e-3, 3))
def test_bound_s9(t, degree, eigenvalue, weight_decay):
    """|f| <= e^(-kλt) (h |f_0| + |γ y| e^(γ_t/a) t), printed without bars around y."""
    rate = 2 * (degree - 1) * weight_decay
    now = eigenvalue * math.exp(-rate * t) / rate
    if now > 600:
        return
    bound = math.exp(now - eigenvalue / rate) * 0.4 + eigenvalue * 1.5 * math.exp(now) * t
    found = abs(wm.mode(t, degree, eigenvalue, weight_decay, -1.5, 0.4).item())
    assert found <= bound * math.exp(-degree * weight_decay * t) + 1e-12


@pytest.mark.parametrize("degree", [1.5, 2, 5])
@pytest.mark.parametrize("eigenvalue", [0.01, 1.0, 100.0])
def test_peak_is_where_the_slope_is_zero(degree, eigenvalue):
    peak = wm.peak_time(degree, eigenvalue, 0.02)
    near = wm.mode(peak * torch.tensor([0.99, 1.0, 1.01]), degree, eigenvalue, 0.02, 1.0, 0.0)
    assert near[1] >= near.max() - 1e-12
    now = eigenvalue * math.exp(-2 * (degree - 1) * 0.02 * peak.item())
    assert near[1].item() == pytest.approx(now / (now + degree * 0.02), abs=1e-10)


def test_peak_edges():
    assert wm.peak_time(1, 1.0, 0.1).item() == math.inf
    assert wm.peak_time(0.5, 1.0, 0.1).item() == math.inf
    assert wm.peak_time(2, [1.0, 2.0], 0.0).tolist() == [math.inf, math.inf]
    assert wm.half_decay_time(2, 1.0, [0.0, 0.1])[0].item() == math.inf


def test_half_decay_follows_one_over_weight_decay_up_to_a_log():
    """The exact time over ln(γ/a)/a tends to 1; without the log it would not."""
    decays = torch.tensor([1e-2, 1e-4, 1e-8], dtype=torch.float64)
    times = wm.half_decay_time(2, 1.0, decays)
    rate = 2 * decays
    ratio = times / (torch.log(1 / rate) / rate)
    assert (ratio[1:] < ratio[:-1]).all()
    assert ratio[-1].item() == pytest.approx(1, abs=0.04)
    half = wm.mode(times, 2, 1.0, decays, 1.0, 0.0)
    top = wm.mode(wm.peak_time(2, 1.0, decays), 2, 1.0, decays, 1.0, 0.0)
    torch.testing.assert_close(half, top / 2, rtol=1e-6, atol=0)


def test_late_decay_rate_is_that_of_the_paper():
    """ln f falls at the rate kλ (k = 3), and as t e^(-2λt) at k = 2."""
    t = torch.tensor([100.0, 110.0], dtype=torch.float64)
    rate = -wm.mode(t, 3, 1.0, 0.1, 1.0, 0.0).log().diff() / 10
    assert rate.item() == pytest.approx(0.3, rel=1e-4)
    reduced = (wm.mode(t, 2, 1.0, 0.1, 1.0, 0.0) * torch.exp(0.2 * t)).diff() / 10
    assert reduced.item() == pytest.approx(1, rel=1e-5)  # (f e^(2λt))' = γ (y - f)


@pytest.mark.parametrize(
    ("call", "names"),
    [
        (lambda: wm.mode(1, -1, 1, 1, 1, 0), "degree must be"),
        (lambda: wm.mode(1, math.nan, 1, 1, 1, 0), "degree must be"),
        (lambda: wm.mode(-1, 2, 1, 1, 1, 0), "t must be at least 0"),
        (lambda: wm.mode(1, 2, -1, 1, 1, 0), "eigenvalue must be at least 0"),
        (lambda: wm.mode(1, 2, 1, -1, 1, 0), "weight_decay must be at least 0"),
        (lambda: wm.peak_time(2, 0.0, 1), "eigenvalue must be above 0"),
    ],
)
def test_errors_name_the_argument(call, names):
    with pytest.raises(ValueError, match=names):
        call()
