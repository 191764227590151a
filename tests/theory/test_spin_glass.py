"""Drawn landscapes against their definitions, and their critical points against the theory."""

import itertools
import math

import pytest
import torch

from etalambda.theory import critical_points
from etalambda.theory.gaussian_field import GaussianField
from etalambda.theory.random_field import RandomFourierField
from etalambda.theory.spin_glass import SphericalSpinGlass, ising, sherrington_kirkpatrick

LANDSCAPES = {
    "p2": lambda size, seed: SphericalSpinGlass({2: 1.0}, size, seed=seed),
    "p3": lambda size, seed: SphericalSpinGlass({3: 1.0}, size, seed=seed),
    "p1+p2+p4": lambda size, seed: SphericalSpinGlass({1: 0.3, 2: 0.5, 4: 1.1}, size, seed=seed),
    "RQ": lambda size, seed: RandomFourierField(size, features=300, seed=seed),
    "SE": lambda size, seed: RandomFourierField(
        size, "squared_exponential", features=300, seed=seed
    ),
}


@pytest.mark.parametrize("name", LANDSCAPES)
def test_derivatives_are_exact(name):
    landscape = LANDSCAPES[name](6, 1)
    x = landscape.sample(3, seed=2).requires_grad_()
    energy, gradient, hessian = landscape.derivatives(x)
    (by_autograd,) = torch.autograd.grad(landscape.energy(x).sum(), x)
    close = dict(rtol=1e-11, atol=1e-11)
    torch.testing.assert_close(gradient, by_autograd, **close)
    torch.testing.assert_close(landscape.gradient(x), by_autograd, **close)
    torch.testing.assert_close(landscape.energy(x), energy, **close)
    for point, matrix in zip(x.detach(), hessian):
        exact = torch.autograd.functional.hessian(landscape.energy, point)
        torch.testing.assert_close(matrix, exact, **close)
    torch.testing.assert_close(landscape.hessian(x), hessian, **close)


def test_p_spin_is_the_printed_sum():
    """(6) for p = 3: every product of three spins, with its coupling."""
    glass = SphericalSpinGlass({3: 2.0}, 3, seed=4)
    generator = torch.Generator().manual_seed(4)
    raw = torch.randn(3, 3, 3, dtype=torch.float64, generator=generator)
    x = glass.sample(1)[0]
    total = sum(
        raw[i, j, k] * x[i] * x[j] * x[k] for i, j, k in itertools.product(range(3), repeat=3)
    )
    torch.testing.assert_close(glass.energy(x), -2.0 / 3 * total, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", ["p3", "p1+p2+p4", "RQ", "SE"])
def test_covariance_over_draws(name):
    """⟨φ(x)φ(y)⟩ = N f(|x - y|²/2N) within four standard errors, 1500 draws."""
    size, draws = 6, 1500
    points = LANDSCAPES["p2"](size, 0).sample(2, seed=3)
    phi = torch.stack([LANDSCAPES[name](size, seed).energy(points) for seed in range(draws)])
    s = (points[0] - points[1]).square().sum().item() / (2 * size)
    exact = {
        "p3": (1 - s) ** 3,
        "p1+p2+p4": 0.09 * (1 - s) + 0.25 * (1 - s) ** 2 + 1.21 * (1 - s) ** 4,
        "RQ": 1 / (1 + s),
        "SE": math.exp(-s),
    }[name]
    products = phi[:, 0] * phi[:, 1] / size
    assert abs(products.mean() - exact) < 4 * products.std() / draws**0.5


def test_pair_models_against_their_sums():
    grid = ising([3, 4], coupling=0.7)
    spins = torch.randint(0, 2, (12,)).double() * 2 - 1
    square = spins.reshape(3, 4)
    bonds = (square * square.roll(-1, 0)).sum() + (square * square.roll(-1, 1)).sum()
    assert grid.energy(spins).item() == pytest.approx(-0.7 * bonds.item())
    flipped = spins.clone()
    flipped[5] *= -1
    change = (grid.energy(flipped) - grid.energy(spins)).item()
    assert change == pytest.approx(-2 * (spins[5] * grid.gradient(spins)[5]).item())

    model = sherrington_kirkpatrick(7, seed=3)
    raw = torch.randn(7, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    spins = torch.randint(0, 2, (7,)).double() * 2 - 1
    assert model.energy(spins).item() == pytest.approx(-(spins @ raw @ spins).item() / 7**0.5)


def test_two_spin_landscape_is_exact():
    """p = 2, N = 60: 2N critical points at the eigenvectors; the k-th has k negative directions."""
    size = 60
    glass = SphericalSpinGlass({2: 1.0}, size, seed=0)
    _, vectors = torch.linalg.eigh(glass.couplings[2])
    seen = critical_points.measure(glass, vectors.T * size**0.5)
    assert seen.gradient_norms.max() < 1e-12
    exact = torch.arange(size).double() / (size - 1)
    torch.testing.assert_close(seen.indices, exact, rtol=0, atol=1e-12)
    theory = glass.field.index_at_energy(seen.energies)
    assert (theory - exact).abs().max() < 0.06


def searched(size, draws, starts):
    """Critical points of 3-spin draws from random starts and from starts after some descent."""
    alphas, theory, flat, slopes = [], [], [], []
    for seed in range(draws):
        glass = SphericalSpinGlass({3: 1.0}, size, seed=seed)
        x = glass.sample(starts, seed=100 + seed)
        quarter = starts // 4
        parts = [x[i * quarter : (i + 1) * quarter] for i in range(4)]
        steps = (0, 5, 15, 40)
        x = torch.cat([critical_points.descend(glass, p, n, 0.02) for p, n in zip(parts, steps)])
        found = critical_points.find(glass, x, steps=80)
        alphas.append(found.indices)
        theory.append(glass.field.index_at_energy(found.energies))
        printed = type(glass.field).p_spin(3, geometry="flat")
        flat.append(printed.index_at_energy(found.energies))
        slopes.append(
            (found.mean_eigenvalues * found.energies).sum() / found.energies.square().sum()
        )
    alpha, theory, flat = torch.cat(alphas), torch.cat(theory), torch.cat(flat)
    rms = lambda x: x.square().mean().sqrt().item()
    return len(alpha), rms(alpha - theory), rms(alpha - flat), torch.stack(slopes).mean().item()


def test_three_spin_indices_converge_like_1_over_n():
    """α(ε) of searched saddles at N = 20, 40, 70: sphere errors fall as 1/N, flat ones do not."""
    sizes = (20, 40, 70)
    found = [searched(size, draws, 32) for size, draws in zip(sizes, (8, 4, 2))]
    assert all(count > 25 for count, *_ in found)
    errors = [error for _, error, _, _ in found]
    x, y = torch.tensor(sizes).double().log(), torch.tensor(errors).double().log()
    exponent = ((x - x.mean()) * (y - y.mean())).sum() / (x - x.mean()).square().sum()
    assert exponent.item() == pytest.approx(-1, abs=0.3)
    assert errors[-1] * 70 < 1
    assert found[-1][2] > 3 * found[-1][1]  # the flat formula stays wrong
    assert found[-1][3] == pytest.approx(-3, rel=0.05)


def test_descent_stops_near_the_threshold():
    """Gradient descent ends between the ground state and the threshold's finite-size value."""
    glass = SphericalSpinGlass({3: 1.0}, 60, seed=0)
    x = critical_points.descend(glass, glass.sample(12, seed=1), 600, 0.05)
    seen = critical_points.measure(glass, x)
    assert (seen.energies > -1.657 - 0.15).all()
    assert seen.energies.mean().item() == pytest.approx(glass.field.critical_energy, abs=0.15)
    assert seen.indices.mean() < 0.02


def test_ground_states_reach_minus_e0_like_log_n_over_n():
    """The lowest of many descents lies ln N/(2cN) + O(1/N) above -E₀, c the slope of Σ there.

    Subag & Zeitouni 2017; 3 spins, N = 6, 12, 20.
    """
    field = GaussianField.p_spin(3)
    ground, h = field.ground_state_energy, 1e-6
    slope = field.total_complexity(ground + h).item() / h
    gaps = []
    for size, draws, starts in ((6, 40, 40), (12, 16, 80), (20, 8, 160)):
        lowest = []
        for seed in range(draws):
            glass = SphericalSpinGlass({3: 1.0}, size, seed=seed)
            x = critical_points.descend(glass, glass.sample(starts, seed=seed), 200, 0.07)
            lowest.append(glass.energy(x).min() / size)
        lowest = torch.stack(lowest)
        gaps.append((lowest.mean() - ground).item())
        expected = math.log(size) / (2 * slope * size)
        assert abs(gaps[-1] - expected) < 4 * lowest.std() / draws**0.5 + 0.5 / size
    assert gaps[2] < gaps[0] / 1.5


def test_flat_searches_return_critical_points():
    field = RandomFourierField(10, features=400)
    found = critical_points.find(field, field.sample(20))
    assert len(found) > 3
    eigenvalues = torch.linalg.eigvalsh(field.hessian(found.points))
    torch.testing.assert_close(found.indices, (eigenvalues < 0).double().mean(-1))
    assert field.gradient(found.points).norm(dim=-1).max() < 1e-8


def test_three_constants_do_not_describe_a_field_that_is_not_gaussian():
    """Few waves: f(0), f'(0), f''(0) are those of the Gaussian field, the Hessian is not.

    With m waves in R^N it is a compound Poisson matrix: its spectrum's kurtosis is 2 + 3N/2m, a
    semicircle's only for m >> N. The excess over 2 falls as 1/m, and so does the index's error.
    """
    size, counts, excess, off = 60, (60, 240, 960), [], []
    semicircle = GaussianField.squared_exponential()
    for features in counts:
        moments, gaps = [], []
        for seed in range(4):
            field = RandomFourierField(size, "squared_exponential", features=features, seed=seed)
            assert field.field == semicircle
            hessian = field.hessian(30 * field.sample(12, seed=seed))
            values = torch.linalg.eigvalsh(hessian)
            centred = values - values.mean(-1, keepdim=True)
            moments.append(torch.stack([centred**2, centred**4]).mean(-1))
            gaps.append((values < 0).double().mean(-1) - semicircle.index(values.mean(-1)))
        second, fourth = torch.cat(moments, -1).mean(-1)
        excess.append((fourth / second**2 - 2).item())
        off.append(torch.cat(gaps).square().mean().sqrt().item())
        assert second.item() == pytest.approx(semicircle.f2, rel=0.1)
    for features, found in zip(counts, excess):
        assert found == pytest.approx(1.5 * size / features, rel=0.25, abs=0.08)
    assert off[0] > 3 * off[2]
    assert off[2] < 2 / size  # that of finite N


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: SphericalSpinGlass({3: 1.0}, 1), "size must be at least 2, got 1"),
        (lambda: SphericalSpinGlass({3: 1.0}, 1000), "size=1000 with p=3"),
        (lambda: SphericalSpinGlass({0: 1.0}, 4), "p must be a whole number"),
        (lambda: SphericalSpinGlass({2: 1.0}, 4).energy(torch.ones(5)), "must be 4"),
        (lambda: RandomFourierField(4, "rbf"), "unknown kernel 'rbf'"),
        (lambda: RandomFourierField(4, features=0), "features >= 1"),
        (lambda: RandomFourierField(4).energy(torch.ones(5)), "must end in 4"),
        (lambda: ising([]), "shape must hold"),
        (lambda: ising([3, 0]), "shape must hold"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
