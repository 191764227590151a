"""The norm's closed forms against 50 digits, quadrature and real steps."""

import math

import mpmath
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from etalambda.theory import norm_dynamics as nd
from tests.reference import norm_dynamics as reference

RATES = st.floats(1e-9, 1e-1)
GAMMAS = st.floats(1e-6, 1e12)


@pytest.mark.parametrize("rate", [1e-14, 1e-8, 1e-4, 0.1, 0.9])
@pytest.mark.parametrize("t", [1e-3, 1, 1e3, 1e6])
@pytest.mark.parametrize("gamma0", [0.0, 1.0, 1e9])
def test_gamma_is_golden(t, gamma0, rate):
    expected = float(reference.gamma_printed(t, gamma0, rate, 3.0))
    assert nd.gamma(t, gamma0, rate, 3.0).item() == pytest.approx(expected, rel=1e-13)


def test_gamma_edges():
    assert nd.gamma(7.0, 2.0, 0.0, 3.0).item() == 2.0 + 2 * 3.0 * 7.0
    assert nd.gamma(math.inf, 2.0, 0.1, 3.0).item() == pytest.approx(15.0)
    assert nd.gamma(math.inf, 2.0, 0.0, 0.0).item() == 2.0
    assert nd.gamma(5.0, 2.0, 0.1, 0.0).item() == pytest.approx(2 * math.exp(-2))
    assert nd.gamma(np.ones((2, 1)), [1.0, 2.0, 3.0], 0.1, torch.ones(1)).shape == (2, 3)


@settings(deadline=None)
@given(GAMMAS, RATES, st.floats(0, 5), st.floats(0, 5))
def test_gamma_is_a_flow(gamma0, rate, first, second):
    t1, t2 = first / rate, second / rate
    there = nd.gamma(t2, nd.gamma(t1, gamma0, rate, 2.0), rate, 2.0)
    assert there.item() == pytest.approx(nd.gamma(t1 + t2, gamma0, rate, 2.0).item(), rel=1e-12)


def test_lemma_52_brackets_the_running_average():
    """Noise between σ² and (1 + ε)σ² keeps (11) between two values of (12)."""
    noise = lambda s: 3 * (1 + mpmath.mpf(1) / 5 * mpmath.sin(s) ** 2)
    for t in (1.0, 5.0, 20.0):
        middle = float(reference.gamma_integral(t, 0.5, 0.05, noise))
        low, high = nd.gamma(t, 0.5, 0.05, [3.0, 3.6]).tolist()
        assert low < middle < high


def test_stationary_effective_lr_is_the_limit_and_not_the_printed_one():
    rates = torch.logspace(-6, -1, 6, dtype=torch.float64)
    lr = nd.stationary_effective_lr(rates, 4.0)
    limit = nd.gamma(math.inf, 1.0, rates, 4.0) ** -0.5
    torch.testing.assert_close(lr, limit, rtol=1e-14, atol=0)
    slopes = lr.log().diff() / rates.log().diff()
    torch.testing.assert_close(slopes, torch.full((5,), 0.5).double())  # printed: -1/2
    assert nd.stationary_effective_lr(0.0, 4.0).item() == 0
    assert nd.stationary_effective_lr(0.1, 0.0).item() == math.inf
    assert math.isnan(nd.stationary_effective_lr(0.0, 0.0).item())


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("rate", [1e-3, 0.3])
def test_stationary_gamma_is_the_fixed_point_of_the_steps(momentum, rate):
    steps = int(60 / rate) + 600
    norms = nd.squared_norms(torch.full((steps,), 0.5), rate / 0.5, 2.0, 1.0, momentum)
    expected = nd.stationary_gamma(rate, 2.0, momentum).item()
    assert (norms[-1] / 0.5).item() ** 2 == pytest.approx(expected, rel=1e-10)
    norm = nd.equilibrium_norm(0.5, rate / 0.5, 2.0, momentum).item()
    assert norms[-1].item() ** 0.5 == pytest.approx(norm, rel=1e-10)


def test_discrete_law_tends_to_the_sde_at_first_order():
    """γ_∞ of the steps over γ_∞ of the SDE is 1 + λ_e/2 + ...: the fitted exponent is 1."""
    rates = torch.tensor([1e-2, 1e-3, 1e-4], dtype=torch.float64)
    gap = nd.stationary_gamma(rates, 1.0) * (2 * rates) - 1
    slopes = gap.log().diff() / rates.log().diff()
    torch.testing.assert_close(slopes, torch.ones(2).double(), atol=5e-3, rtol=0)


def test_squared_norms_are_exact_on_a_scale_invariant_loss():
    """Real SGD on ‖w̄ - a‖-like losses of random batches, any schedules, 1e-12."""
    torch.manual_seed(1)
    w = torch.randn(5, dtype=torch.float64, requires_grad=True)
    lrs, decays = torch.rand(200).double(), torch.rand(200).double() * 0.1
    seen, norms = [], [w.detach().square().sum()]
    for lr, decay in zip(lrs, decays, strict=True):
        a = torch.randn(5, dtype=torch.float64)
        (g,) = torch.autograd.grad((a @ w / w.norm()).tanh() * 3, w)
        seen.append((g.norm() * w.detach().norm()).square())
        with torch.no_grad():
            w -= lr * (g + decay * w)
        norms.append(w.detach().square().sum())
    found = nd.squared_norms(lrs, decays, torch.stack(seen), norms[0].item())
    torch.testing.assert_close(found, torch.stack(norms), rtol=1e-12, atol=0)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_simulated_sgd_settles_at_the_law(momentum):
    """32 trials of 400 random tangent directions: mean over time within 4 standard errors + 1 %."""
    rate, lr = 0.02, 0.1
    norms = reference.tangent_sgd(1500, lr, rate / lr, 4.0, momentum, dim=400, trials=32)
    gammas = (norms[1000:] / lr).square().mean(0)
    error = (gammas.std() / 32**0.5).item()
    expected = nd.stationary_gamma(rate, 4.0, momentum).item()
    assert abs(gammas.mean().item() - expected) < 4 * error + 0.01 * expected
    path = nd.squared_norms(torch.full((300,), lr), rate / lr, 4.0, 1.0, momentum)
    torch.testing.assert_close(norms[:301].mean(1), path, rtol=0.02, atol=0)


@settings(deadline=None)
@given(GAMMAS, RATES, st.floats(1e-3, 1e3), st.floats(1e-3, 0.5))
def test_time_to_equilibrium_is_when_it_enters_the_band(gamma0, rate, noise, tolerance):
    steps = nd.time_to_equilibrium(gamma0, rate, noise, tolerance).item()
    limit = noise / (2 * rate)
    assert steps >= 0
    if steps > 0:
        gap = abs(nd.gamma(steps, gamma0, rate, noise).item() - limit)
        assert gap == pytest.approx(tolerance * limit, rel=1e-5)


def test_time_edges_and_footnote_3():
    assert nd.time_to_equilibrium(1.0, 0.0, 1.0).item() == math.inf
    assert nd.time_to_equilibrium(1.0, 0.1, 0.0).item() == math.inf
    assert nd.time_to_equilibrium(5.0, 0.1, 1.0).item() == 0
    times = nd.time_to_equilibrium(1e12, [1e-4, 1e-3], 1.0)
    assert (times[0] / times[1]).item() == pytest.approx(10, rel=0.12)  # 1/λ_e up to the log


def test_large_start_follows_eq_15():
    """Far starts gain nearly K; the exact time is the two closed forms one after the other."""
    gain = nd.time_with_large_start(1e300, 1e-4, 4.0, [1.0, 10.0])
    assert (gain[0] / gain[1]).item() == pytest.approx(10, rel=0.25)
    total = nd.time_with_large_start(1e12, 1e-4, 4.0, 10.0).item()
    first = nd.time_to_equilibrium(1e10, 1e-3, 4.0).item()
    dropped = 100 * nd.gamma(first, 1e10, 1e-3, 4.0).item()
    assert nd.gamma(total - first, dropped, 1e-4, 4.0).item() == pytest.approx(2e4 * 1.05)
    assert nd.time_with_large_start(1e5, 1e-4, 4.0, 1.0).item() == pytest.approx(
        nd.time_to_equilibrium(1e5, 1e-4, 4.0).item()
    )


@pytest.mark.parametrize(
    ("call", "names"),
    [
        (lambda: nd.gamma(1, -1, 0.1, 1), "gamma0 must be at least 0"),
        (lambda: nd.gamma(math.nan, 1, 0.1, 1), "t must not hold NaN"),
        (lambda: nd.stationary_effective_lr(-1e-3, 1), "intrinsic_lr must be at least 0"),
        (lambda: nd.stationary_gamma(2.5, 1), r"intrinsic_lr must be below 2"),
        (lambda: nd.stationary_gamma(0.1, 1, 1.0), r"momentum must lie in \[0, 1\)"),
        (lambda: nd.equilibrium_norm(0.1, 0.0, 1), "weight_decay must be above 0"),
        (lambda: nd.time_to_equilibrium(1, 0.1, 1, tolerance=0), "tolerance must be"),
        (lambda: nd.squared_norms(0.1, 0.1, 1.0, 1.0), "must be a sequence"),
        (lambda: nd.squared_norms([0.1], 0.1, 1.0, 0.0), "initial must be"),
        (lambda: nd.squared_norms([0.1], 0.1, 1.0, 1.0, 1.0), "momentum must lie"),
    ],
)
def test_errors_name_the_argument(call, names):
    with pytest.raises(ValueError, match=names):
        call()


def test_a_step_that_removes_everything_stays_at_zero():
    assert nd.squared_norms([1.0, 1.0], 1.0, 0.0, 3.0).tolist() == [3.0, 0.0, 0.0]
