"""Theorem 2, its corollaries and its limits, against the steps themselves."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from etalambda.theory import quadratic, quadratic_adaptive
from tests.reference import quadratic as reference


def problem(d=5, flat=1, seed=1):
    """A positive semidefinite Hessian with ``flat`` null directions, θ* and θ_0."""
    generator = torch.Generator().manual_seed(seed)
    draw = lambda *shape: torch.randn(*shape, dtype=torch.float64, generator=generator)
    factor = draw(d, d - flat)
    return factor @ factor.T / d, draw(d), draw(d)


@pytest.mark.parametrize("decay", [0.0, 1e-3, 0.3])
def test_theorem_2_is_the_steps(decay):
    hessian, minimum, start = problem()
    lrs = torch.rand(60, generator=torch.Generator().manual_seed(2)).double() * 0.3
    there = reference.sgd(hessian, minimum, start, [decay] * 60, lrs)
    error = quadratic.expected_error(hessian, minimum, start, decay, lrs)
    torch.testing.assert_close(error, there[-1], rtol=0, atol=1e-12)
    path = quadratic.expected_trajectory(hessian, minimum, start, decay, lrs)
    torch.testing.assert_close(path, there, rtol=0, atol=1e-12)
    if decay:
        printed = reference.theorem_2(hessian, minimum, start, decay, lrs)
        torch.testing.assert_close(error, printed, rtol=0, atol=1e-11)


def test_scheduled_decay_is_the_steps():
    hessian, minimum, start = problem()
    lrs, decays = torch.rand(2, 50, generator=torch.Generator().manual_seed(2)).double() * 0.3
    there = reference.sgd(hessian, minimum, start, decays, lrs)
    path = quadratic.expected_trajectory(hessian, minimum, start, decays, lrs)
    torch.testing.assert_close(path, there, rtol=0, atol=1e-12)


def test_noise_of_zero_mean_drops_out_at_the_monte_carlo_rate():
    """4^k trials: the gap of the mean falls by 2 each time, the fitted exponent is -1/2."""
    gaps, counts = [], (400, 6400, 102_400)
    for trials in counts:
        square = 0.0
        for seed in range(8):
            generator = torch.Generator().manual_seed(seed)
            theta = torch.zeros(trials, dtype=torch.float64)
            for _ in range(20):
                noise = torch.randn(trials, dtype=torch.float64, generator=generator)
                theta = theta - 0.1 * (2.0 * (theta - 1) + noise + 0.5 * theta)
            expected = quadratic.expected_error([2.0], [1.0], [0.0], 0.5, [0.1] * 20)
            square += (theta.mean() - 1 - expected.item()).item() ** 2
        gaps.append(math.sqrt(square / 8))
    slope = math.log(gaps[-1] / gaps[0]) / math.log(counts[-1] / counts[0])
    assert -0.75 < slope < -0.25


def test_direction_that_decay_cancels_never_moves():
    """H_i + λ = 0: (4) is 0/0, and the steps stay."""
    error = quadratic.expected_error([-0.5, 1.0], [1.0, 1.0], [3.0, 3.0], 0.5, [0.1] * 7)
    path = quadratic.expected_trajectory([-0.5, 1.0], [1.0, 1.0], [3.0, 3.0], 0.5, [0.1] * 7)
    torch.testing.assert_close(error, path[-1] * torch.tensor([0.0, 1.0]) + torch.tensor(
        [2.0, 0.0], dtype=torch.float64))  # fmt: skip
    still = quadratic.expected_error([0.0], [1.0], [3.0], 0.0, [0.1] * 7)
    assert still.item() == 2.0


def test_bias_is_where_long_training_ends():
    hessian, minimum, start = problem()
    end = quadratic.expected_error(hessian, minimum, start, 0.2, [0.1] * 5000)
    found = quadratic.bias(hessian, minimum, 0.2)
    torch.testing.assert_close(found, end, rtol=0, atol=1e-12)
    assert quadratic.bias([1.0, 3.0], [2.0, 2.0], 0.0).tolist() == [0, 0]


def test_corollary_1_needs_a_small_lr():
    """Beyond η = 2/(H_i + λ) the steps diverge, whatever (5) says."""
    below = quadratic.expected_error([3.0], [1.0], [0.0], 1.0, [0.499] * 10_000)
    above = quadratic.expected_error([3.0], [1.0], [0.0], 1.0, [0.501] * 10_000)
    assert below.item() == pytest.approx(quadratic.bias([3.0], [1.0], 1.0).item(), abs=1e-6)
    assert abs(above.item()) > 1e6


@settings(deadline=None)
@given(st.floats(0, 5), st.floats(1e-4, 1), st.floats(1e-3, 0.3), st.floats(1e-6, 0.5))
def test_convergence_time_is_when_the_distance_has_shrunk(value, decay, lr, tolerance):
    steps = quadratic.convergence_time(value, decay, lr, tolerance).item()
    kept = abs(1 - lr * (value + decay))
    if kept > 0:
        assert kept**steps == pytest.approx(tolerance, rel=1e-6)


def test_convergence_of_flat_directions_takes_one_over_lr_times_decay():
    decays = torch.logspace(-6, -2, 5, dtype=torch.float64)
    times = quadratic.convergence_time(0.0, decays, 0.1)
    slopes = times.log().diff() / decays.log().diff()
    torch.testing.assert_close(slopes, torch.full((4,), -1.0).double(), rtol=0, atol=1e-3)
    assert quadratic.convergence_time(0.0, 0.0, 0.1).item() == math.inf
    assert quadratic.convergence_time(9.0, 1.0, 0.1).item() == 0
    assert quadratic.convergence_time(30.0, 1.0, 0.1).item() == math.inf
    assert quadratic.convergence_time(-2.0, 1.0, 0.1).item() == math.inf


@pytest.mark.parametrize("coupling", ["decoupled", "elementwise", "mean"])
def test_adaptive_bias_is_where_the_steps_end(coupling):
    hessian, minimum, _ = problem(flat=0)
    v = torch.tensor([0.1, 1.0, 0.4, 2.0, 0.7], dtype=torch.float64)
    scale = {"decoupled": 1.0, "elementwise": v**-0.5, "mean": v.mean() ** -0.5}[coupling]
    end = reference.adaptive_end(hessian, minimum, 0.2, v, scale)
    found = quadratic_adaptive.adaptive_bias(hessian, minimum, 0.2, v, coupling)
    torch.testing.assert_close(found, end, rtol=0, atol=1e-9)


def test_adaptive_bias_known_limits():
    """p = 0 is AdamW; elementwise is SGD's; the printed (9) is another vector unless HD = DH."""
    hessian, minimum, _ = problem(flat=0)
    v = torch.tensor([0.1, 1.0, 0.4, 2.0, 0.7], dtype=torch.float64)
    adamw = quadratic_adaptive.adaptive_bias(hessian, minimum, 0.2, v)
    power0 = quadratic_adaptive.adaptive_bias(hessian, minimum, 0.2, v, "mean", power=0.0)
    torch.testing.assert_close(adamw, power0, rtol=1e-12, atol=0)
    elementwise = quadratic_adaptive.adaptive_bias(hessian, minimum, 0.2, v, "elementwise")
    torch.testing.assert_close(elementwise, quadratic.bias(hessian, minimum, 0.2))
    pull = 0.2 * v.sqrt().diag()
    printed = -pull @ torch.linalg.solve(hessian + pull, minimum)
    assert (printed - adamw).norm() > 0.05 * adamw.norm()
    commuting = torch.eye(5, dtype=torch.float64)
    printed = -pull @ torch.linalg.solve(commuting + pull, minimum)
    found = quadratic_adaptive.adaptive_bias(commuting, minimum, 0.2, v)
    torch.testing.assert_close(found, printed)


def test_stable_decay_keeps_the_end_point_when_gradients_scale():
    """v -> 100 v moves AdamW's end point; the elementwise one and AdamS's (p = ½) stay."""
    hessian, minimum, _ = problem(flat=0)
    v = torch.tensor([0.1, 1.0, 0.4, 2.0, 0.7], dtype=torch.float64)
    for coupling, moves in (("decoupled", True), ("elementwise", False), ("mean", False)):
        one, other = (
            quadratic_adaptive.adaptive_bias(hessian, minimum, 0.2, scaled, coupling)
            for scaled in (v, 100 * v)
        )
        assert torch.allclose(one, other, rtol=1e-10) is not moves


def test_eq_13_is_the_gradient_of_the_next_objective():
    """At a stationary point of f_t with L = ½ H (θ - θ*)², by autograd."""
    decay, lr, following, h, goal = 0.1, 0.5, 0.2, 2.0, 1.0
    theta = torch.tensor(h * goal / (h + decay / lr), dtype=torch.float64, requires_grad=True)
    loss = h / 2 * (theta - goal) ** 2 + decay / (2 * following) * theta**2
    (gradient,) = torch.autograd.grad(loss, theta)
    found = quadratic_adaptive.step_gradient(lr, following, decay, theta.detach())
    torch.testing.assert_close(found, gradient)
    assert found > 0  # as printed it would be negative


def test_theorem_1_bounded_lrs_that_keep_changing_do_not_converge():
    lrs = torch.tensor([0.5, 0.2]).repeat(500)
    path = quadratic_adaptive.unstable_path(1.0, 1.0, 0.0, 0.1, lrs)
    assert path[-100:].diff().abs().min() > 0.02
    constant = quadratic_adaptive.unstable_path(1.0, 1.0, 0.0, 0.1, torch.full((500,), 0.5))
    assert constant[-10:].diff().abs().max() < 1e-12


def test_theorem_1_is_false_for_unbounded_lrs():
    lrs, there = quadratic_adaptive.theorem1_counterexample(5000, 0.2)
    path = quadratic_adaptive.unstable_path(1.0, 1.0, there[0].item(), 0.2, lrs[:5])
    torch.testing.assert_close(path, there[:6], rtol=0, atol=1e-9)
    after = (1 - 0.2) * there[:-1] - lrs * (there[:-1] - 1)  # eq. (1), each step by itself
    torch.testing.assert_close(after, there[1:], rtol=0, atol=1e-12)
    assert lrs.diff().abs().min() > 0.5
    assert abs(there[-1].item() - 1) < 1e-4
    stationary = (there[:-1] - 1) + 0.2 / lrs * there[:-1]  # ∇f_t(θ_t)
    assert stationary[-1].abs() < 1e-4


@pytest.mark.parametrize(
    ("call", "names"),
    [
        (lambda: quadratic.expected_error([1.0], [1.0, 2.0], [1.0], 0.1, [0.1]), "must have shape"),
        (lambda: quadratic.expected_error([[1.0, 2.0], [0.0, 1.0]], [1.0, 1.0], [1.0, 1.0], 0.1,
                                          [0.1]), "must be symmetric"),
        (lambda: quadratic.expected_error([1.0], [1.0], [1.0], -0.1, [0.1]), "weight_decay must"),
        (lambda: quadratic.expected_error([1.0], [1.0], [1.0], 0.1, 0.1), "lrs must be a sequence"),
        (lambda: quadratic.expected_trajectory([1.0], [1.0], [1.0], 0.1, [-0.1]), "lrs must be at"),
        (lambda: quadratic.expected_trajectory([1.0], [1.0], [1.0], [0.1, 1], [0.1]), "as long"),
        (lambda: quadratic.bias([-1.0], [1.0], 0.5), "eigenvalues above"),
        (lambda: quadratic.bias([0.0], [1.0], 0.0), "add weight_decay"),
        (lambda: quadratic.convergence_time(1.0, 0.1, 0.1, 1.0), "tolerance must lie"),
        (lambda: quadratic_adaptive.adaptive_bias([1.0], [1.0], 0.1, [1.0], "means"), "did you"),
        (lambda: quadratic_adaptive.adaptive_bias([1.0], [1.0], 0.1, [0.0]), "second_moment must"),
        (lambda: quadratic_adaptive.adaptive_bias([1.0], [1.0, 1.0], 0.1, [1.0]), "must have"),
        (lambda: quadratic_adaptive.step_gradient(0.0, 1.0, 0.1, 1.0), "lr must be above 0"),
        (lambda: quadratic_adaptive.theorem1_counterexample(9, 1.0), r"must lie in \(0, 1\)"),
        (lambda: quadratic_adaptive.theorem1_counterexample(0, 0.1), "steps must be"),
    ],
)  # fmt: skip
def test_errors_name_the_argument(call, names):
    with pytest.raises(ValueError, match=names):
        call()
