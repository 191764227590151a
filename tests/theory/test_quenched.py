"""Free energies over the disorder: integration against enumeration, quenched against annealed."""

import math

import pytest
import torch

from etalambda.theory import quenched
from etalambda.theory.random_field import RandomFourierField
from etalambda.theory.spin_glass import SphericalSpinGlass, ising, sherrington_kirkpatrick


def sk(size):
    return lambda seed: sherrington_kirkpatrick(size, seed=seed)


@pytest.mark.parametrize(
    ("size", "beta", "cost"),
    [(8, 0.5, {}), (12, 1.0, {}), (16, 1.6, dict(draws=6, sweeps=400, chains=24))],
)
def test_integration_is_enumeration(size, beta, cost):
    """The same draws: the difference is sampling alone, 4 standard errors of it, below 0.5 %."""
    cost = dict(draws=8, points=8, sweeps=160) | cost
    found = quenched.quenched_free_energy(sk(size), beta, **cost)
    exact = quenched.exact_quenched_free_energy(sk(size), beta, draws=cost["draws"])
    assert abs(found.value - exact.value) < 4 * found.sampling_error < 0.005 * exact.value
    torch.testing.assert_close(found.by_draw, exact.by_draw, rtol=0.02, atol=0)
    assert found.error == pytest.approx(exact.error, rel=0.1)


def test_integration_of_a_model_without_disorder():
    """The Ising ring, where Z is known: all draws are one, so all error is sampling."""
    log_z = math.log((2 * math.cosh(0.7)) ** 8 + (2 * math.sinh(0.7)) ** 8)
    found = quenched.quenched_free_energy(lambda seed: ising([8]), 0.7, draws=8, sweeps=160)
    assert abs(found.value - log_z / (8 * 0.7)) < 4 * found.sampling_error
    assert found.error < 3 * found.sampling_error


@pytest.mark.parametrize(("what", "rate"), [("sampling_error", -0.5), ("error", -0.5)])
def test_errors_fall_as_the_root_of_what_is_averaged(what, rate):
    """Chains for the sampling error, draws for the whole: the fitted exponent."""
    few, many = (dict(chains=8), dict(chains=128)) if what == "sampling_error" else (
        dict(draws=25), dict(draws=400))  # fmt: skip
    values = []
    for cost in (few, many):
        if what == "error":
            found = quenched.exact_quenched_free_energy(sk(6), 1.0, **cost)
        else:
            found = quenched.quenched_free_energy(sk(8), 1.0, draws=6, points=6, sweeps=80, **cost)
        values.append(getattr(found, what))
    assert math.log(values[1] / values[0], 16) == pytest.approx(rate, abs=0.1)


@pytest.mark.parametrize("beta", [0.3, 0.9, 3.0])
def test_quenched_stays_below_annealed(beta):
    """Jensen, in the mean over 200 draws: by more than 4 standard errors where it is cold."""
    for size in (4, 10):
        found = quenched.exact_quenched_free_energy(sk(size), beta, draws=200)
        gap = quenched.annealed_free_energy(beta).item() - found.value
        assert gap > -2 * found.error
        if beta > 0.7:
            assert gap > 4 * found.error


def test_annealed_is_the_mean_of_z():
    """E Z over 40 000 draws of N = 3, and the exact exponent for any variance and sphere."""
    generator = torch.Generator().manual_seed(0)
    raw = torch.randn(40_000, 3, 3, dtype=torch.float64, generator=generator) / 3**0.5
    states = torch.tensor([[a, b, c] for a in (1, -1) for b in (1, -1) for c in (1, -1)]).double()
    energy = -torch.einsum("si,dij,sj->ds", states, raw, states)
    z = torch.exp(-0.5 * energy).sum(-1)
    exact = math.exp(3 * 0.5 * quenched.annealed_free_energy(0.5).item())
    assert abs(z.mean() - exact) < 4 * z.std() / 200
    found = quenched.annealed_free_energy(2.0, variance=3.0, log_states=0.0)
    assert found.item() == pytest.approx(3.0)


def test_above_the_transition_the_gap_is_the_theorem():
    """ln E Z - E ln Z at β = 0.4 for N = 4, 8, 12: within 4 standard errors + O(1/N) of its limit,
    so that the gap of F_N falls as 1/N."""
    draws, beta, gaps = 600, 0.4, []
    for size in (4, 8, 12):
        found = quenched.exact_quenched_free_energy(sk(size), beta, draws=draws)
        gap = size * beta * (quenched.annealed_free_energy(beta) - found.by_draw)
        # The diagonal's share of ln Z has mean 0 and is known: without it the error is a third.
        known = torch.tensor([sk(size)(seed).constant for seed in range(draws)]).double()
        gap = gap - beta * known
        error = gap.std().item() / draws**0.5
        gaps.append(gap.mean().item())
        limit = quenched.annealing_gap(beta).item()
        assert abs(gaps[-1] - limit) < 4 * error + 0.3 * limit / size
    exponent = math.log(gaps[2] / 12 / (gaps[0] / 4)) / math.log(3)
    assert exponent == pytest.approx(-1, abs=0.3)


def test_below_the_transition_the_gap_stays():
    """At β = 2 it grows with N: annealed 1.347, quenched towards the ground state's 1.08."""
    gaps = []
    for size in (6, 12):
        found = quenched.exact_quenched_free_energy(sk(size), 2.0, draws=100)
        gaps.append(quenched.annealed_free_energy(2.0).item() - found.value)
        assert gaps[-1] > 0.2
    assert quenched.annealing_gap(2.0).item() == math.inf
    assert quenched.annealing_gap(0.0).item() == 0


def test_sphere_against_quadrature_on_the_circle():
    """N = 2, p = 3: Z is an integral over an angle."""
    glass = SphericalSpinGlass({3: 1.0}, 2, seed=1)
    angle = torch.linspace(0, 2 * math.pi, 4001, dtype=torch.float64)[:-1]
    energy = glass.energy(2**0.5 * torch.stack([angle.cos(), angle.sin()], -1))
    exact = (torch.logsumexp(-0.8 * energy, 0) - math.log(4000)).item() / 1.6
    value, error = quenched.sphere_free_energy(glass, 0.8, chains=200)
    assert abs(value - exact) < 4 * error
    assert error < 0.01


def test_hot_spheres_are_annealed():
    """p = 3, N = 24, β = 0.8: F is β/2 within 4 standard errors over 6 draws."""
    cost = dict(steps=400, step_size=0.04, chains=16)
    values = torch.tensor(
        [
            quenched.sphere_free_energy(SphericalSpinGlass({3: 1.0}, 24, seed=s), 0.8, **cost)[0]
            for s in range(6)
        ]
    )
    assert values.std() < 0.1
    assert abs(values.mean() - 0.4) < 4 * values.std() / 6**0.5


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: quenched.quenched_free_energy(sk(4), 0.0), "inverse_temperature must be"),
        (lambda: quenched.quenched_free_energy(sk(4), 1.0, draws=1), "draws must be at least 2"),
        (lambda: quenched.quenched_free_energy(sk(4), 1.0, sweeps=3), "sweeps must be >= 4"),
        (lambda: quenched.exact_quenched_free_energy(sk(4), 1.0, draws=0), "draws must be"),
        (lambda: quenched.annealed_free_energy(0.0), "inverse_temperature must be above 0"),
        (lambda: quenched.annealed_free_energy(1.0, variance=-1.0), "variance must be at least 0"),
        (lambda: quenched.annealing_gap(-1.0), "inverse_temperature must be at least 0"),
        (
            lambda: quenched.sphere_free_energy(RandomFourierField(4), 1.0),
            "landscape must lie on the sphere",
        ),
        (
            lambda: quenched.sphere_free_energy(SphericalSpinGlass({2: 1.0}, 4), 1.0, chains=1),
            "chains >= 2",
        ),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
