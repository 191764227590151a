"""The joint law against drawn landscapes, counts against exact ones, and N -> ∞ against Σ."""

import math

import pytest
import torch

from etalambda.theory import critical_points, kac_rice
from etalambda.theory.gaussian_field import GaussianField
from etalambda.theory.random_field import RandomFourierField
from etalambda.theory.spin_glass import SphericalSpinGlass

RQ, P3 = GaussianField.rational_quadratic(), GaussianField.p_spin(3)
FLAT = GaussianField.p_spin(3, geometry="flat")  # inadmissible


def moments(energy, hessian, size):
    """N times the second moments of (ε, λ̄), and of the traceless entries."""
    n = hessian.shape[-1]
    shift = hessian.diagonal(dim1=1, dim2=2).mean(-1)
    off = hessian[:, 0, 1]
    pairs = [energy * energy, energy * shift, shift * shift, off * off]
    pairs.append((hessian[:, 0, 0] - hessian[:, 1, 1]) ** 2 / 4)
    assert n > 1
    return torch.stack([size * pair.mean() for pair in pairs])


def expected(field, size):
    n = kac_rice.directions(field, size)
    total = field.f2 * (1 + 2 / n) + field.curvature * abs(field.f1)
    return torch.tensor([field.f0, field.f1, total, field.f2, field.f2]).double()


@pytest.mark.parametrize("field", [RQ, P3], ids=["flat", "sphere"])
def test_sampled_joint_law(field):
    size, samples = 8, 40000
    energy, hessian = kac_rice.sample_joint(field, size, samples)
    torch.testing.assert_close(
        moments(energy, hessian, size), expected(field, size), rtol=0.04, atol=0.04
    )


def test_joint_law_of_drawn_flat_fields():
    """CGD-J on random Fourier fields: 400 draws x 25 points, 4 standard errors."""
    size, draws = 8, []
    for seed in range(400):
        field = RandomFourierField(size, features=100, seed=seed)
        # Far apart, so that the points of one draw are nearly independent.
        x = 20 * field.sample(25, seed=seed)
        energy, _, hessian = critical_points.local(field, x)
        draws.append(moments(energy / size, hessian, size))
    found = torch.stack(draws)
    z = (found.mean(0) - expected(RQ, size)) / (found.std(0) / len(draws) ** 0.5)
    assert z.abs().max() < 4


def test_joint_law_of_drawn_spin_glasses():
    """CGD-Js on p = 3: the Riemannian Hessian in a tangent basis, one point a draw."""
    size, draws = 8, []
    for seed in range(1500):
        glass = SphericalSpinGlass({3: 1.0}, size, seed=seed)
        x = torch.zeros(1, size).double()
        x[0, -1] = size**0.5
        energy, _, hessian = critical_points.local(glass, x)
        draws.append(moments(energy / size, hessian[:, :-1, :-1], size))
    found = torch.stack(draws)
    z = (found.mean(0) - expected(P3, size)) / (found.std(0) / len(draws) ** 0.5)
    assert z.abs().max() < 4


@pytest.mark.parametrize("p", [2, 3, 4])
def test_count_on_the_circle(p):
    """N = 2: 2√(3p - 2) critical points on average, by Rice's formula in one variable."""
    log, error = kac_rice.log_count(GaussianField.p_spin(p), 2, 60000)
    assert abs(log - math.log(2 * math.sqrt(3 * p - 2))) < 4 * error < 0.04


def test_p2_has_2n_critical_points():
    """The eigenvectors of a random matrix, and their negatives: exact at every N."""
    for size in (3, 6, 12):
        log, error = kac_rice.log_count(GaussianField.p_spin(2), size, 20000)
        assert abs(log - math.log(2 * size)) < 4 * error < 0.2


def test_counts_by_search_on_the_sphere():
    """N = 3, p = 3: all critical points of 40 draws, found from many starts, against Kac-Rice."""
    counts = []
    for seed in range(40):
        glass = SphericalSpinGlass({3: 1.0}, 3, seed=seed)
        found = critical_points.find(glass, glass.sample(150, seed=seed), steps=60)
        distinct = torch.unique((found.points * 1e4).round(), dim=0)
        near = torch.cdist(distinct, distinct) < 10  # cells that rounding has split
        counts.append(len(torch.unique(near.double().argmax(1))))
    counts = torch.tensor(counts).double()
    log, error = kac_rice.log_count(P3, 3, 60000)
    spread = math.hypot(counts.std().item() / len(counts) ** 0.5, error * math.exp(log))
    assert abs(counts.mean().item() - math.exp(log)) < 4 * spread


def test_energies_integrate_to_the_total():
    grid = torch.linspace(-2.4, 2.4, 49).tolist()
    total = 0.0
    for energy in grid:
        total += math.exp(12 * kac_rice.at_energy(RQ, 12, energy, 1500)["complexity"]) * 0.1
    log, error = kac_rice.log_count(RQ, 12, 40000)
    assert math.log(total) == pytest.approx(log, abs=4 * error + 0.03)


def test_index_and_curvature_at_critical_points():
    """(10) and (11) at finite N: at critical points λ̄ = -4ε/3, not the typical -ε."""
    for size, bound in ((12, 0.04), (40, 0.015)):
        found = kac_rice.at_energy(RQ, size, -1.0, 1500)
        off = abs(found["mean_eigenvalue"] - RQ.mean_eigenvalue(-1.0).item())
        assert off < 4 * found["mean_eigenvalue_error"] + 1 / size
        off = abs(found["index"] - RQ.index_at_energy(-1.0).item())
        assert off < 4 * found["index_error"] < 4 * bound


@pytest.mark.parametrize(("field", "energy", "power"), [(RQ, -0.5, 0.5), (P3, -1.0, 1.0)])
def test_complexity_converges_like_log_n_over_n(field, energy, power):
    """The count is N^c e^(NΣ): E|det| brings √N, the energy's density √N, the ball 1/√N."""
    exact = field.total_complexity(energy).item()
    sizes, logs, errors = (8, 32), [], []
    for size, samples in zip(sizes, (20000, 3000)):
        found = kac_rice.at_energy(field, size, energy, samples)
        logs.append(size * (found["complexity"] - exact))
        errors.append(size * found["complexity_error"])
    fitted = (logs[1] - logs[0]) / math.log(sizes[1] / sizes[0])
    assert fitted == pytest.approx(power, abs=4 * math.hypot(*errors) / math.log(4))
    assert math.hypot(*errors) < 0.08


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: kac_rice.log_count(RQ, 1, 10), "size must be at least 2"),
        (lambda: kac_rice.log_count(RQ, 4, 0), "samples must be"),
        (
            lambda: kac_rice.at_energy(GaussianField.p_spin(3, geometry="flat"), 4, -1.0, 9),
            "Q must",
        ),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
