"""Schedules of the norm, and Theorem 5.1: the full and the reduced SDE on the same noise."""

import math

import pytest
import torch
from scipy.integrate import quad

from etalambda.theory import norm_dynamics as nd
from etalambda.theory import norm_dynamics_scaling as scaling
from etalambda.theory import norm_dynamics_sde as sde

TARGET = torch.tensor([0.6, -0.4, 0.2, 1.0, -0.3], dtype=torch.float64)


def gradient(w):
    """∇ of the scale-invariant -3 cos(w, a), written out."""
    norm, a = w.norm(dim=-1, keepdim=True), TARGET / TARGET.norm()
    unit = w / norm
    return -3 * (a - unit * (unit @ a)[:, None]) / norm


def brownian(fine, trials, seed=0):
    """Increments of a path on [0, 1], shape (fine, trials, 5)."""
    generator = torch.Generator().manual_seed(seed)
    draw = torch.randn(fine, trials, 5, dtype=torch.float64, generator=generator)
    return draw / fine**0.5


def coarse(increments, steps):
    return increments.reshape(steps, -1, *increments.shape[1:]).sum(1)


def test_reduced_dynamics_are_those_of_the_full_one():
    """Theorem 5.1: on one Brownian path both schemes meet as h -> 0. Order 1/2 (multiplicative)."""
    start = torch.ones(64, 5, dtype=torch.float64)
    noise, gaps, counts = brownian(4096, 64), [], (256, 1024, 4096)
    for steps in counts:
        kicks, h = coarse(noise, steps), 1 / steps
        plan = (gradient, sde.tangent_noise(2.0), start, 1.5, 0.4, steps)
        full = sde.euler_maruyama(*plan, h=h, increments=kicks)[-1]
        unit, norm2 = sde.reduced_euler_maruyama(*plan, h=h, increments=kicks)
        gap = unit[-1] - full / full.norm(dim=-1, keepdim=True)
        off = norm2[-1] / full.square().sum(-1) - 1
        gaps.append((gap.square().sum(-1) + off.square()).mean().sqrt().item())
        assert (unit[-1].norm(dim=-1) - 1).abs().max() < 6 * h**0.5
    slope = math.log(gaps[-1] / gaps[0]) / math.log(counts[-1] / counts[0])
    assert -1.1 < slope < -0.4
    assert gaps[-1] < 0.05


def test_the_norm_has_no_noise_of_its_own():
    """(7): with Tr Σ constant at unit norm every path has the same G, the closed form (12)."""
    start = torch.ones(32, 5, dtype=torch.float64)
    spreads, errors = [], []
    for steps in (64, 1024):
        kicks = coarse(brownian(1024, 32), steps)
        plan = (gradient, sde.tangent_noise(2.0), start, 0.5, 0.4, steps)
        path = sde.euler_maruyama(*plan, h=1 / steps, increments=kicks)
        norms = path[-1].square().sum(-1)
        expected = 0.5 * nd.gamma(1.0, (5 / 0.5) ** 2, 0.2, 2.0).sqrt()
        spreads.append(norms.std().item())
        errors.append((norms - expected).square().mean().sqrt().item())
    assert math.log(spreads[0] / spreads[1]) / math.log(16) == pytest.approx(0.5, abs=0.15)
    assert math.log(errors[0] / errors[1]) / math.log(16) == pytest.approx(0.5, abs=0.15)


def test_growing_lr_without_decay_is_decay():
    """Lemma B.4 on coupled noise: e^(-λ_e t) W_t tends to U_t at the order of the scheme."""
    start = torch.ones(64, 5, dtype=torch.float64)
    noise, gaps, counts = brownian(2048, 64), [], (128, 512, 2048)
    for steps in counts:
        kicks, root = coarse(noise, steps), sde.tangent_noise(2.0)
        options = dict(h=1 / steps, increments=kicks)
        decayed = sde.euler_maruyama(gradient, root, start, 0.5, 1.2, steps, **options)[-1]
        growing = lambda t: scaling.growing_lr(t, 0.5, 0.6).item()
        grown = sde.euler_maruyama(gradient, root, start, growing, 0.0, steps, **options)[-1]
        gaps.append((grown * math.exp(-0.6) - decayed).square().mean().sqrt().item())
    assert math.log(gaps[0] / gaps[-1]) / math.log(16) > 0.7
    assert gaps[-1] < 4e-3


def test_step_1_is_sgd():
    start = torch.ones(2, 5, dtype=torch.float64)
    path = sde.euler_maruyama(gradient, lambda w: torch.zeros(5, 5).double(), start, 0.1, 0.2, 1)
    torch.testing.assert_close(path[1], (1 - 0.02) * start - 0.1 * gradient(start))


@pytest.mark.parametrize("kind", ["constant", "steps", "cosine"])
def test_scheduled_norms_are_golden(kind):
    times = torch.tensor([0.0, 3.0, 10.0, 40.0], dtype=torch.float64)
    if kind == "constant":
        found = sde.scheduled_norms(times, 0.3, 0.1, 2.0, 1.5)
        expected = 0.3 * nd.gamma(times, (1.5 / 0.3) ** 2, 0.03, 2.0).sqrt()
    elif kind == "steps":
        lr = lambda t: 0.3 if t < 5 else 0.03
        decay = lambda t: 0.1 if t < 20 else 0.4
        found = sde.scheduled_norms(times, lr, decay, 2.0, 1.5, breaks=[5.0, 20.0])
        ends = [[0.0, 0.0, 0.0], [3.0, 0.0, 0.0], [5.0, 5.0, 0.0], [5.0, 15.0, 20.0]]
        plan = ([0.3, 0.03, 0.03], [0.1, 0.1, 0.4], 2.0, (1.5 / 0.3) ** 2)
        gammas = torch.stack([sde.phased_gamma(end, *plan) for end in ends])
        last = [0, 0, 1, 2]
        expected = torch.stack([
            (0.3, 0.03, 0.03)[phase] * gammas[row, phase].sqrt() for row, phase in enumerate(last)
        ])  # fmt: skip
    else:
        lr = lambda t: 0.2 * (1 + math.cos(math.pi * t / 40)) + 1e-3
        found = sde.scheduled_norms(times, lr, 0.1, 2.0, 1.5)
        spent = lambda t: 0.1 * (0.201 * t + 8 / math.pi * math.sin(math.pi * t / 40))  # ∫ ηλ
        expected = []
        for t in times.tolist():  # the integrating factor, by quadrature
            inside = lambda s, t=t: math.exp(4 * spent(s) - 4 * spent(t)) * lr(s) ** 2
            area = quad(inside, 0, t, epsabs=1e-13, epsrel=1e-12)[0]
            expected.append(math.sqrt(math.exp(-4 * spent(t)) * 2.25 + 2 * 2.0 * area))
        expected = torch.tensor(expected, dtype=torch.float64)
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=0)


def test_stretches_without_an_output_are_crossed():
    found = sde.scheduled_norms([40.0], 0.3, 0.1, 2.0, 1.5, breaks=[3.0, 10.0])
    expected = sde.scheduled_norms([40.0], 0.3, 0.1, 2.0, 1.5)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=0)


def test_gamma_jumps_by_the_square_of_the_lr_ratio_and_returns_by_its_root():
    """After a drop by 10 the effective lr falls by 10 and ends √10 below where it was."""
    g = sde.phased_gamma([1e6, 0.0, 1e7], [0.1, 0.01, 0.01], 5e-3, 4.0, 1.0)
    effective = g**-0.5
    assert (effective[0] / effective[1]).item() == pytest.approx(10)
    assert (effective[0] / effective[2]).item() == pytest.approx(math.sqrt(10))


def test_tangent_noise_obeys_lemma_b1():
    w = torch.randn(3, 6, dtype=torch.float64)
    root = sde.tangent_noise(3.0)
    sigma = root(w) @ root(w).mT
    torch.testing.assert_close(sigma.diagonal(dim1=1, dim2=2).sum(-1), 3 / w.square().sum(-1))
    assert (w[:, None] @ sigma).abs().max() < 1e-12
    torch.testing.assert_close(root(2.5 * w) @ root(2.5 * w).mT, sigma / 2.5**2)


@pytest.mark.parametrize(
    ("call", "names"),
    [
        (lambda: sde.phased_gamma([1.0], [0.0], 0.1, 1.0, 1.0), "lrs must be above 0"),
        (lambda: sde.phased_gamma(1.0, 0.1, 0.1, 1.0, 1.0), "must be a sequence"),
        (lambda: sde.scheduled_norms([1, 0], 0.1, 0.1, 1.0, 1.0), "increasing times"),
        (lambda: sde.scheduled_norms([1.0], lambda t: -t - 1, 0.1, 1.0, 1.0), "lr must be at"),
        (lambda: sde.scheduled_norms([1.0], 0.1, -0.1, 1.0, 1.0), "weight_decay must be at least"),
        (lambda: sde.tangent_noise(0.0), "noise must be"),
        (lambda: sde.euler_maruyama(gradient, sde.tangent_noise(1.0), torch.ones(5), 1, 1, 1),
         "start must have shape"),
    ],
)  # fmt: skip
def test_errors_name_the_argument(call, names):
    with pytest.raises(ValueError, match=names):
        call()
