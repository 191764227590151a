"""Each map of L2 to a learning rate against a step-by-step simulation, to 1e-12."""

import math

import pytest
import torch

from etalambda.theory import critical_points, sphere
from etalambda.theory.spin_glass import SphericalSpinGlass

N, STEPS = 12, 200
RADIUS = math.sqrt(N)
GLASS = SphericalSpinGlass({2: 0.3, 3: 1.0}, N)
CLOSE = dict(rtol=1e-12, atol=1e-12)


def project(x, radius=RADIUS):
    return x * (radius / x.norm())


def invariant_gradient(theta):
    """The gradient of the scale-invariant loss φ(√N θ/‖θ‖) by autograd."""
    theta = theta.clone().requires_grad_()
    loss = GLASS.energy(theta * (RADIUS / theta.norm()))
    return torch.autograd.grad(loss, theta)[0]


@pytest.fixture
def schedule():
    t = torch.arange(STEPS, dtype=torch.float64)
    return 0.01 * (1 + 0.5 * torch.cos(t / 9)), 4 * (1 + t) ** -0.5


def test_projection_turns_l2_into_the_learning_rate(schedule):
    lrs, l2s = schedule
    a = b = GLASS.sample(1)[0]
    for lr, l2, new in zip(lrs, l2s, sphere.effective_lr(lrs, l2s)):
        a = project(a - lr * (GLASS.gradient(a) + 2 * l2 * a))
        b = project(b - new * GLASS.gradient(b))
    torch.testing.assert_close(a, b, **CLOSE)


def test_radial_gradients_and_the_angle_of_a_step():
    x, lr, l2 = GLASS.sample(1, seed=3)[0], 0.02, 3.0
    g = GLASS.gradient(x)
    radial = (x @ g) / N
    tangent = g - radial * x
    new = sphere.effective_lr(lr, l2, radial)
    after = project(x - lr * (g + 2 * l2 * x))
    torch.testing.assert_close(after, project(x - new * tangent), **CLOSE)
    angle = 2 * torch.atan2((after - x).norm(), (after + x).norm())
    torch.testing.assert_close(angle, sphere.step_angle(new, tangent.norm(), RADIUS), **CLOSE)


def test_l2_bends_nothing_on_the_sphere_but_an_anchor_does():
    """The Hessian along geodesics of λ|x - a|², by a second difference of the exact function."""
    x, a = GLASS.sample(2, seed=5)
    v = torch.randn(N, dtype=torch.float64)
    v = project(v - (v @ x) / N * x)
    for anchor in (torch.zeros_like(a), a):
        penalty = lambda t, b=anchor: 0.7 * (x * math.cos(t) + v * math.sin(t) - b).square().sum()
        h = 1e-4
        second = (penalty(h) + penalty(-h) - 2 * penalty(0)) / (h * h * N)
        expected = sphere.anchored_shift(x, anchor, 0.7)
        assert second.item() == pytest.approx(expected.item(), abs=1e-6)
    assert sphere.anchored_shift(x, torch.zeros_like(a), 0.7) == 0


def test_without_projection_it_is_a_growing_learning_rate(schedule):
    lrs, l2s = schedule[0], schedule[1] / 20
    a = b = GLASS.sample(1)[0]
    for lr, l2, new in zip(lrs, l2s, sphere.equivalent_lrs(lrs, l2s)):
        a = a - lr * (invariant_gradient(a) + 2 * l2 * a)
        b = b - new * invariant_gradient(b)
    torch.testing.assert_close(project(a), project(b), rtol=1e-12, atol=1e-12)
    constant = sphere.equivalent_lrs([0.1] * 5, 1.0 / 2)
    powers = 0.1 * 0.9 ** -(2.0 * torch.arange(5).double() + 1)
    torch.testing.assert_close(constant, powers, **CLOSE)


def test_projection_every_n_steps_is_a_ramp():
    lr, l2, every = 0.02, 0.5, 10
    a = b = GLASS.sample(1)[0]
    for t, new in enumerate(sphere.ramp(lr, l2, every, 60)):
        a = a - lr * (invariant_gradient(a) + 2 * l2 * a)
        b = b - new * invariant_gradient(b)
        if (t + 1) % every == 0:
            a, b = project(a), project(b)
    torch.testing.assert_close(a, b, **CLOSE)


def test_heavy_ball_under_projection(schedule):
    lrs, l2s, mu = schedule[0] / 2, schedule[1] / 4, 0.8
    x, v, norms, path = GLASS.sample(1)[0], torch.zeros(N).double(), [RADIUS], []
    for lr, l2 in zip(lrs, l2s):
        v = mu * v + GLASS.gradient(x) + 2 * l2 * x
        norms.append((x - lr * v).norm().item())
        x = project(x - lr * v)
        path.append(x)
    new_lrs, momenta = sphere.momentum_map(lrs, l2s, mu, norms[:-1], RADIUS)
    x, u = GLASS.sample(1)[0], torch.zeros(N).double()
    for lr, momentum, expected in zip(new_lrs, momenta, path):
        u = momentum * u + GLASS.gradient(x)
        x = project(x - lr * u)
        torch.testing.assert_close(x, expected, rtol=1e-12, atol=1e-12)


def test_momentum_pull_tends_to_its_limit():
    """Small steps: B -> 2λ/(1-μ), so η̃ -> η/(1 - 2ηλ/(1-μ))."""
    lr, l2, mu = 1e-6, 1.0, 0.9
    new, _ = sphere.momentum_map(lr, l2, mu, torch.ones(400), 1.0)
    assert (1 - lr / new[-1].item()) / lr == pytest.approx(2 * l2 / (1 - mu), rel=1e-3)


def test_radius_rescaling(schedule):
    scale = 1.7
    a, b = scale * GLASS.sample(1)[0], GLASS.sample(1)[0]
    for lr, l2 in zip(*schedule):
        gradient = GLASS.gradient(a / scale) / scale  # of φ(θ/s)
        a = a - lr * (gradient + 2 * l2 / 4 * a)
        new_lr, new_l2 = sphere.rescale(lr, l2 / 4, scale)
        b = b - new_lr * (GLASS.gradient(b) + 2 * new_l2 * b)
        a, b = project(a, scale * RADIUS), project(b)
    torch.testing.assert_close(a, scale * b, **CLOSE)


def test_annealed_l2_is_invisible_at_usual_strength():
    """η = 0.1 and weight_decay = 5e-4: +5e-5 of the learning rate."""
    assert sphere.effective_lr(0.1, 2.5e-4).item() / 0.1 - 1 == pytest.approx(5e-5, rel=1e-3)
    assert sphere.effective_lr(0.1, sphere.lr_ratio_to_l2(0.1, 7.0)).item() == pytest.approx(0.7)


def test_curvature_of_the_sphere_enters_the_hessian():
    """λ̄ = -pε at every point of a pure model, up to the 1/N of its trace."""
    glass = SphericalSpinGlass({3: 1.0}, 60)
    seen = critical_points.measure(glass, glass.sample(200))
    slope = (seen.energies * seen.mean_eigenvalues).sum() / seen.energies.square().sum()
    assert slope.item() == pytest.approx(-3, rel=0.06)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: sphere.effective_lr(0.5, 1.0), "must stay below 1, got 1"),
        (lambda: sphere.effective_lr(-0.5, 1.0), "lr must be at least 0"),
        (lambda: sphere.equivalent_lrs([0.5], [1.0]), "must stay below 1"),
        (lambda: sphere.ramp(0.5, 1.0, 2, 4), "must stay below 1"),
        (lambda: sphere.ramp(0.5, 0.1, 0, 4), "every must be"),
        (lambda: sphere.momentum_map(0.5, 1.0, 0.9, [1.0, 1.0], 1.0), "must stay below 1"),
        (lambda: sphere.momentum_map(0.5, 0.1, 1.0, [1.0], 1.0), r"momentum must lie in \[0, 1\)"),
        (lambda: sphere.rescale(0.1, 0.1, 0.0), "scale must be"),
        (lambda: sphere.lr_ratio_to_l2(0.1, 0.5), "ratio must be at least 1"),
        (lambda: sphere.anchored_shift(torch.ones(2), torch.ones(2), -1.0), "l2 must be"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
