"""What is remembered of the start: closed forms against simulated SGD and the circle's SDE."""

import math

import mpmath
import numpy as np
import pytest
import torch

from etalambda.diagnose import total_variation
from etalambda.schedule import shrinkage
from etalambda.theory import forgetting
from etalambda.theory.norm_dynamics import gamma


def tangent_sgd(start, lrs, decays, noise, trials, momentum=0.0, seed=0):
    """w of shape (steps + 1, trials, d) from one start, under tangent noise alone, σ²/‖w‖²."""
    generator = torch.Generator().manual_seed(seed)
    w = torch.as_tensor(start).double().repeat(trials, 1)
    v, path = torch.zeros_like(w), [w]
    for lr, decay in zip(lrs, decays):
        g = torch.randn(w.shape, dtype=torch.float64, generator=generator)
        g = g - w * ((g * w).sum(-1) / w.square().sum(-1))[:, None]
        g = g * (noise / (w.shape[1] - 1)) ** 0.5 / w.norm(dim=-1, keepdim=True)
        v = momentum * v + g + decay * w
        w = w - lr * v
        path.append(w)
    return torch.stack(path)


@pytest.mark.parametrize("momentum", [0.0, 0.8])
def test_decay_alone_carries_the_start_along(momentum):
    """E⟨w_t, w_0⟩ is pure decay's, for any schedules and with momentum: 4 standard errors."""
    steps = 120
    lrs = 0.1 * (1 - momentum) * (1 + 0.5 * torch.cos(torch.arange(steps).double() / 11))
    decays = torch.where(torch.arange(steps) < 60, 0.05, 0.2).double()
    start = torch.zeros(20).double()
    start[0] = 1.5
    path = tangent_sgd(start, lrs, decays, 1.0, 1500, momentum)
    kept = np.cumprod(shrinkage(lrs.tolist(), decays.tolist(), momentum=momentum))
    along = path[..., 0] / 1.5
    for t in (10, 60, 120):
        error = along[t].std() / 1500**0.5
        assert abs(along[t].mean() - kept[t - 1]) < 4 * error


@pytest.mark.parametrize("size", [0.5, 1.0, 3.0])
def test_memory_of_the_direction(size):
    """Starts below, at and above equilibrium; d = 200, so that norms are nearly sharp."""
    lr, rate, noise, steps = 0.1, 0.01, 1.0, 150
    start = torch.zeros(200).double()
    start[0] = size * (noise / (2 * rate)) ** 0.25 * lr**0.5
    path = tangent_sgd(start, [lr] * steps, [rate / lr] * steps, noise, 400)
    cosine = path[..., 0] / path.norm(dim=-1)
    gamma0 = (start.square().sum() / lr) ** 2
    for t in (20, 150):
        expected = forgetting.memory(t, gamma0, rate, noise)
        error = cosine[t].std() / 400**0.5
        assert abs(cosine[t].mean() - expected) < 4 * error + rate  # the steps differ at O(λ_e)


@pytest.mark.parametrize("gamma0", [1e-3, 50.0, 1e9])
@pytest.mark.parametrize("rate", [1e-12, 1e-4, 0.01, 0.5])
def test_times_are_golden(gamma0, rate):
    """50 digits, and the memory at the time is the tolerance."""
    time = forgetting.time_to_forget(gamma0, rate, 2.0, tolerance=0.1).item()
    with mpmath.workdps(50):
        limit = mpmath.mpf(2) / (2 * mpmath.mpf(rate))
        expected = mpmath.log(1 + gamma0 / limit * (mpmath.mpf(0.1) ** -4 - 1)) / (4 * rate)
    assert time == pytest.approx(float(expected), rel=1e-12)
    assert forgetting.memory(time, gamma0, rate, 2.0).item() == pytest.approx(0.1, rel=1e-9)


def test_conjecture_53_holds_for_noise_up_to_a_logarithm():
    """T λ_e is constant at equilibrium, and grows as ln(γ_0/γ_∞)/4 from large weights."""
    rates = torch.logspace(-6, -1, 6, dtype=torch.float64)
    at_rest = forgetting.time_to_forget(1.0 / (2 * rates), rates, 1.0)
    slopes = at_rest.log().diff() / rates.log().diff()
    torch.testing.assert_close(slopes, torch.full((5,), -1.0).double())
    far = forgetting.time_to_forget(torch.tensor([1e12, 1e16]).double() / 2e-3, 1e-3, 1.0)
    assert (far.diff() * 1e-3).item() == pytest.approx(math.log(1e4) / 4, rel=1e-6)
    free = forgetting.time_to_forget(3.0, [0.0, 1e-12], 1.0)
    assert free[0].item() == pytest.approx(free[1].item(), rel=1e-6)


def test_memories_of_two_phases_multiply():
    """Conjecture 5.4: a further schedule cannot restore what is forgotten."""
    first = forgetting.memory(70.0, 9.0, 0.01, 1.0)
    middle = gamma(70.0, 9.0, 0.01, 1.0)
    second = forgetting.memory(40.0, middle, 0.01, 1.0)
    whole = forgetting.memory(110.0, 9.0, 0.01, 1.0)
    torch.testing.assert_close(first * second, whole, rtol=1e-12, atol=0)


def test_functions_of_opposite_starts_become_one_distribution():
    """5.3 and 5.4 in total variation: 4000 runs a start in R³, the class is a sign."""
    lr, rate, noise, trials = 0.1, 0.02, 1.0, 4000
    norm = (noise / (2 * rate)) ** 0.25 * lr**0.5
    steps = 200  # 100 at λ_e, then 100 at λ_e/4
    decays = [rate / lr] * 100 + [rate / lr / 4] * 100
    classes = [
        (tangent_sgd([sign * norm, 0, 0], [lr] * steps, decays, noise, trials, seed=s)[..., :1] > 0)
        for s, sign in ((0, 1.0), (1, -1.0))
    ]
    seen = [total_variation(classes[0][t], classes[1][t], 2) for t in (0, 50, 100, 200)]
    assert seen[0] == 1
    predicted = forgetting.sign_total_variation(
        forgetting.memory([50.0, 100.0], (norm**2 / lr) ** 2, rate, noise), 3
    )
    for found, expected in zip(seen[1:3], predicted.tolist()):
        assert found == pytest.approx(expected, abs=0.05)  # 4 standard errors, and O(λ_e)
    assert seen[3] < seen[2] + 0.05


def test_sign_readout_coefficients():
    """4/π on the circle, 3/2 in R³, √(2d/π) in many dimensions; by quadrature in between."""
    assert forgetting.sign_total_variation(0.1, 2).item() == pytest.approx(0.4 / math.pi)
    assert forgetting.sign_total_variation(0.1, 3).item() == pytest.approx(0.15)
    half = [0, mpmath.pi / 2]
    for d in (5, 40):
        top = mpmath.quad(lambda t, d=d: mpmath.sin(t) ** (d - 2) * mpmath.cos(t), half)
        below = mpmath.quad(lambda t, d=d: mpmath.sin(t) ** (d - 2) * mpmath.cos(t) ** 2, half)
        found = forgetting.sign_total_variation(1e-3, d).item()
        assert found == pytest.approx(float(top / below) * 1e-3, rel=1e-9)
    assert forgetting.sign_total_variation(1e-6, 10**6).item() == pytest.approx(
        1e-6 * math.sqrt(2e6 / math.pi), rel=1e-5
    )


def test_a_barrier_breaks_the_conjecture():
    """Kramers: g(x) = (4x/π) e^(-x) (1 - 1/2x + ...); ln g is linear in 1/√λ_e, slope -Δ√2/σ."""
    flat = forgetting.relaxation_rate(0.0, [0.01, 0.1], 3.0)
    torch.testing.assert_close(flat, torch.tensor([0.01, 0.1], dtype=torch.float64))
    heights = torch.tensor([12.0, 20.0, 36.0]).double()
    rates = 2 * (1.0 / heights) ** 2  # Δ = 1, σ = 1: Δ/T = √(2/λ_e)
    g = forgetting.relaxation_rate(1.0, rates, 1.0) / rates
    correction = (g / (4 * heights / math.pi * torch.exp(-heights)) - 1) * heights
    torch.testing.assert_close(correction, torch.full((3,), -0.5).double(), rtol=0.08, atol=0)
    slope = (g / heights).log().diff() / (rates**-0.5).diff()
    torch.testing.assert_close(slope, torch.full((2,), -(2**0.5)).double(), rtol=0.01, atol=0)


def test_relaxation_rate_against_quadrature():
    """The mean first passage over the barrier, in 30 digits: 1/g up to what is exponentially small.

    T₁ = ∫ e^V ∫ e^-V from a well's bottom to the other's; two wells, two ways out: g = 2/T₁.
    """
    x = 16.0
    potential = lambda t: x / 2 * (1 - mpmath.cos(2 * t))
    with mpmath.workdps(30):
        over = mpmath.quad(lambda t: mpmath.exp(potential(t)), [0, mpmath.pi / 2])
        inside = mpmath.quad(lambda t: mpmath.exp(-potential(t)), [0, mpmath.pi / 2])
    rate = float(1 / (over * inside))
    found = forgetting.relaxation_rate(1.0, 2 / x**2, 1.0).item() / (2 / x**2)
    assert found == pytest.approx(rate, rel=0.01)


def test_simulated_wells_mix_at_the_rate():
    """3000 walks of the direction on the circle at the equilibrium norm, Δ/T = 3."""
    rate, noise = 0.01, 1.0
    barrier = 3 * forgetting.well_temperature(rate, noise).item()
    exact = forgetting.relaxation_rate(barrier, rate, noise).item()
    generator = torch.Generator().manual_seed(3)
    theta = torch.zeros(3000).double()
    lr = (2 * rate / noise) ** 0.5  # γ_∞^-1/2
    signs = []
    for _ in range(800):
        kick = torch.randn(3000, dtype=torch.float64, generator=generator)
        theta = theta - lr * barrier * torch.sin(2 * theta) + (2 * rate) ** 0.5 * kick
        signs.append(theta.cos().sign().mean().item())
    late = np.array(signs[100:])
    slope = np.polyfit(np.arange(100, 800), np.log(late), 1)[0]
    assert -slope == pytest.approx(exact, rel=0.1)


@pytest.mark.parametrize(
    ("call", "names"),
    [
        (lambda: forgetting.memory(-1.0, 1.0, 0.1, 1.0), "t must be at least 0"),
        (lambda: forgetting.memory(1.0, 0.0, 0.1, 1.0), "gamma0 must be above 0"),
        (lambda: forgetting.time_to_forget(1.0, 0.1, 0.0), "noise must be above 0"),
        (lambda: forgetting.time_to_forget(1.0, 0.1, 1.0, 1.0), "tolerance must lie"),
        (lambda: forgetting.sign_total_variation(0.1, 1), "size must be at least 2"),
        (lambda: forgetting.relaxation_rate(-1.0, 0.1, 1.0), "barrier must be at least 0"),
        (lambda: forgetting.relaxation_rate(1.0, 0.0, 1.0), "intrinsic_lr must be above 0"),
        (lambda: forgetting.relaxation_rate(1.0, 1e-9, 1.0), "must be at most 40"),
    ],
)
def test_errors_name_the_argument(call, names):
    with pytest.raises(ValueError, match=names):
        call()
