"""Samplers against exact sums: enumeration for spins, quadrature on the circle."""

import math

import pytest
import torch

from etalambda.theory import gibbs
from etalambda.theory.spin_glass import SphericalSpinGlass, ising, sherrington_kirkpatrick

CHAIN, GLASS = ising([10]), sherrington_kirkpatrick(12, seed=2)


def test_enumeration_of_the_ising_chain():
    """Z = (2 cosh β)^N + (2 sinh β)^N on a ring, and its derivative."""
    for beta in (0.2, 1.0):
        log_z = math.log((2 * math.cosh(beta)) ** 10 + (2 * math.sinh(beta)) ** 10)
        found = gibbs.exact_free_energy(CHAIN, beta).item()
        assert found == pytest.approx(log_z / (10 * beta), rel=1e-12)
        h = 1e-5
        log = lambda b: gibbs.exact_free_energy(CHAIN, b).item() * 10 * b
        energy = gibbs.exact_energy(CHAIN, beta).item()
        assert energy == pytest.approx(-(log(beta + h) - log(beta - h)) / (2 * h), rel=1e-6)


def test_free_energy_tends_to_minus_the_ground_state():
    ground = GLASS.energy(gibbs.all_states(12)).min().item()
    gaps = [gibbs.exact_free_energy(GLASS, beta).item() + ground / 12 for beta in (10.0, 100.0)]
    assert gaps[1] == pytest.approx(math.log(2) / 1200, rel=1e-6)  # s and -s
    assert gaps[0] > gaps[1] > 0


@pytest.mark.parametrize("model", [CHAIN, GLASS], ids=["ising", "sk"])
def test_metropolis_samples_the_gibbs_measure(model):
    for beta in (0.3, 0.8):
        _, energies = gibbs.metropolis(model, [beta] * 300, chains=256)
        means = energies[75:].mean(0)
        exact = gibbs.exact_energy(model, beta).item()
        assert abs(means.mean().item() - exact) < 4 * means.std().item() / 256**0.5


def test_error_of_the_mean_falls_as_the_root_of_the_chains():
    """Fit the exponent: the spread of the mean over repeats, with 16 and 256 chains."""
    spread = []
    for chains in (8, 128):
        means = torch.stack(
            [
                gibbs.metropolis(CHAIN, [0.3] * 12, chains=chains, seed=s)[1][4:].mean()
                for s in range(60)
            ]
        )
        spread.append(means.std().item())
    exponent = math.log(spread[1] / spread[0]) / math.log(128 / 8)
    assert exponent == pytest.approx(-0.5, abs=0.15)


def test_thermodynamic_integration():
    value, error = gibbs.free_energy(GLASS, 0.9, points=8, sweeps=120, chains=128)
    exact = gibbs.exact_free_energy(GLASS, 0.9).item()
    assert abs(value - exact) < 4 * error < 0.02


def test_annealing_finds_the_ground_state():
    model = sherrington_kirkpatrick(16, seed=0)
    ground = model.energy(gibbs.all_states(16)).min().item()
    spins, energies = gibbs.metropolis(model, torch.linspace(0, 4, 80), chains=128)
    assert energies[-1].min().item() == pytest.approx(ground)
    torch.testing.assert_close(model.energy(spins), energies[-1])
    quenched = gibbs.metropolis(model, [1e3] * 80, chains=128)[1][-1]
    gap = (quenched.mean() - energies[-1].mean()).item()
    assert gap > 3 * math.hypot(quenched.std(), energies[-1].std()) / 128**0.5


def test_langevin_on_the_circle():
    """N = 2, p = 3: ⟨H⟩ against quadrature over the angle."""
    glass = SphericalSpinGlass({3: 1.0}, 2, seed=1)
    angle = torch.linspace(0, 2 * math.pi, 4001, dtype=torch.float64)[:-1]
    circle = 2**0.5 * torch.stack([angle.cos(), angle.sin()], -1)
    energy = glass.energy(circle)
    exact = (torch.softmax(-0.8 * energy, 0) * energy).sum().item()
    seen = gibbs.langevin(glass, glass.sample(600), 0.8, 800, step_size=5e-3)[200:].mean(0)
    assert abs(seen.mean().item() - exact) < 4 * seen.std().item() / 600**0.5 + 0.01


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: gibbs.all_states(21), r"size must lie in \[1, 20\]"),
        (lambda: gibbs.exact_free_energy(CHAIN, 0.0), "must be above 0"),
        (lambda: gibbs.exact_energy(CHAIN, -1.0), "inverse_temperature must be at least 0"),
        (lambda: gibbs.metropolis(CHAIN, [1.0], chains=0), "chains must be"),
        (lambda: gibbs.free_energy(CHAIN, 0.0), "inverse_temperature must be"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
