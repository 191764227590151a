"""Wide networks on and off the training set: the ODE, the ridge, and networks that are wide."""

import numpy as np
import pytest
import torch

from etalambda.theory import wide
from tests.reference import two_layer
from tests.reference import wide as reference


def problem(n=7, m=4, outputs=None, rank=None):
    """Kernel on n + m points (of the given rank), targets and starts."""
    generator = torch.Generator().manual_seed(3)
    draw = lambda *shape: torch.randn(*shape, dtype=torch.float64, generator=generator)
    features = draw(n + m, rank or 2 * n) / 3
    joint = features @ features.T
    shape = () if outputs is None else (outputs,)
    return joint[:n, :n], joint[n:, :n], draw(n, *shape), draw(n, *shape), draw(m, *shape)


@pytest.mark.parametrize("degree", [0, 0.5, 1, 1.5, 2, 3, 6])
@pytest.mark.parametrize("rank", [None, 3])
def test_solution_solves_the_ode_on_and_off_the_training_set(degree, rank):
    theta, cross, y, f0, start = problem(rank=rank)
    for t in (0.2, 3.0):
        everywhere = np.concatenate([theta, cross])
        there = reference.flow(t, degree, everywhere, 0.2, y.numpy(), torch.cat([f0, start]))
        on = wide.solution(t, degree, 0.2, theta, y, f0)
        off = wide.solution(t, degree, 0.2, theta, y, f0, cross=cross, initial_at=start)
        np.testing.assert_allclose(torch.cat([on, off]), there, atol=1e-8)


def test_the_training_points_are_points_too():
    """With ``cross`` = the kernel itself the second formula gives what the first gives."""
    theta, _, y, f0, _ = problem(rank=3)
    t = torch.tensor([0.0, 1e-9, 0.5, 40.0])
    for degree in (0.3, 1, 2, 2.7, 4):
        on = wide.solution(t, degree, 0.05, theta, y, f0)
        off = wide.solution(t, degree, 0.05, theta, y, f0, cross=theta, initial_at=f0)
        torch.testing.assert_close(on, off, rtol=0, atol=1e-11)


@pytest.mark.parametrize("scale", [1e-3, 1e-6, 1e-9, 1e-12])
def test_small_eigenvalues_do_not_cancel(scale):
    """Off the training set a mode of eigenvalue γ -> 0 enters through Θ(x, S)/γ."""
    values, vectors = torch.tensor([1.0, scale]).double(), torch.eye(2).double()
    cross = torch.tensor([[0.3, 0.5 * scale**0.5]], dtype=torch.float64)
    theta = vectors @ values.diag() @ vectors.T
    found = wide.solution(2.0, 2, 0.1, theta, [1.0, 1.0], [0.0, 0.4], cross=cross)
    there = reference.flow(2.0, 2, torch.cat([theta, cross]), 0.1, [1.0, 1.0], [0.0, 0.4, 0.0])
    assert found.item() == pytest.approx(there[-1], abs=1e-11)


def test_shapes():
    theta, cross, y, f0, start = problem(outputs=3)
    assert wide.solution(1.0, 2, 0.1, theta, y, f0).shape == (7, 3)
    assert wide.solution([[1.0, 2.0]], 2, 0.1, theta, y, 0.0).shape == (1, 2, 7, 3)
    both = wide.solution([0.0, 2.0], 2, 0.1, theta, y, f0, cross=cross, initial_at=start)
    assert both.shape == (2, 4, 3)
    torch.testing.assert_close(both[0], start, atol=1e-12, rtol=0)
    one = wide.solution(2.0, 2, 0.1, theta, y[:, 1], f0[:, 1], cross=cross, initial_at=start[:, 1])
    torch.testing.assert_close(both[1, :, 1], one, atol=1e-12, rtol=0)


@pytest.mark.parametrize("rank", [None, 3])
def test_degree_1_ends_at_the_ridge_and_above_it_at_zero(rank):
    theta, cross, y, f0, start = problem(rank=rank)
    end = wide.solution(500.0, 1, 0.1, theta, y, f0, cross=cross, initial_at=start)
    torch.testing.assert_close(end, wide.ridge(0.1, theta, y, cross=cross), atol=1e-10, rtol=0)
    dense = cross @ torch.linalg.solve(theta + 0.1 * torch.eye(7).double(), y)
    torch.testing.assert_close(end, dense, atol=1e-10, rtol=0)
    assert wide.solution(500.0, 2, 0.1, theta, y, f0, cross=cross).abs().max() < 1e-30
    on = theta @ torch.linalg.solve(theta + 0.1 * torch.eye(7).double(), y)
    torch.testing.assert_close(wide.ridge(0.1, theta, y), on, atol=1e-12, rtol=0)


def test_ridge_without_decay_fits():
    full, _, y, _, _ = problem()
    torch.testing.assert_close(wide.ridge(0.0, full, y), y, atol=1e-8, rtol=0)


def test_kernel_decays():
    theta = problem()[0]
    shrunk = wide.kernel_at([0.0, 2.0], 3, 0.1, theta)
    torch.testing.assert_close(shrunk[1], theta * np.exp(-0.8))
    assert wide.kernel_at(2.0, 0, 0.1, 1.0).item() == pytest.approx(np.exp(0.4))


@pytest.mark.parametrize("degree", [0, 1, 2.5])
def test_flow_agrees_with_the_closed_form_on_squares(degree):
    theta, cross, y, f0, start = problem()
    loss = lambda f: 0.5 * (f - y).square().sum()
    times = torch.tensor([0.0, 0.5, 4.0])
    rows = wide.flow(times, degree, 0.1, torch.cat([theta, cross]), loss, torch.cat([f0, start]))
    on = wide.solution(times, degree, 0.1, theta, y, f0)
    off = wide.solution(times, degree, 0.1, theta, y, f0, cross=cross, initial_at=start)
    torch.testing.assert_close(rows, torch.cat([on, off], 1), atol=1e-8, rtol=0)


def test_flow_under_cross_entropy_learns_and_then_forgets():
    theta, _, _, f0, _ = problem(outputs=3)
    labels = torch.arange(7) % 3
    loss = lambda f: torch.nn.functional.cross_entropy(f, labels, reduction="sum")
    rows = wide.flow([0.0, 20.0, 4000.0], 2, 0.01, theta, loss, f0)
    assert loss(rows[1]) < loss(rows[0]) / 2
    assert rows[2].abs().max() < 1e-6


def test_wide_network_predicts_at_any_points():
    x = torch.randn(6, 3, dtype=torch.float64)
    predict = wide.wide_network(two_layer.relu_ntk, 2, 0.1)
    on = predict([1.0, 2.0], x, x[:, 0])
    torch.testing.assert_close(predict([1.0, 2.0], x, x[:, 0], at=x), on, atol=1e-11, rtol=0)


def test_deviation_of_real_networks_falls_as_one_over_root_width():
    """RMS over 6 test points and 5 times to t = 1.6/λ, 8 seeds a width; degree 1 stays far off."""
    generator = torch.Generator().manual_seed(0)
    x, at = (torch.randn(n, 5, dtype=torch.float64, generator=generator) for n in (12, 6))
    y, decay, lr, steps = x[:, 0].sign(), 0.2, 0.01, 800
    theta, cross = two_layer.relu_ntk(x, x), two_layer.relu_ntk(at, x)
    times, widths, gaps = torch.arange(1, 6) * lr * steps / 5, (64, 256, 1024), []
    for width in widths:
        square = 0.0
        for seed in range(8):
            f0, rows = two_layer.train(width, x, y, at, decay, lr, steps, steps // 5, seed)
            here = dict(cross=cross, initial_at=f0[12:])
            gap = rows - wide.solution(times, 2, decay, theta, y, f0[:12], **here)
            square += gap.square().mean().item() / 8
        gaps.append(square**0.5)
    slope = np.polyfit(np.log(widths), np.log(gaps), 1)[0]
    assert -0.75 < slope < -0.25
    fixed = rows - wide.solution(times, 1, decay, theta, y, f0[:12], **here)
    assert fixed.square().mean().sqrt() > 3 * gaps[-1]


SQUARE = [[2.0, 1.0], [1.0, 2.0]]


@pytest.mark.parametrize(
    ("call", "names"),
    [
        (lambda: wide.solution(1, -1, 0.1, SQUARE, [1, 2], 0), "degree must be"),
        (lambda: wide.solution(1, 2, -0.1, SQUARE, [1, 2], 0), "weight_decay must be at least 0"),
        (lambda: wide.solution(-1, 2, 0.1, SQUARE, [1, 2], 0), "t must be at least 0"),
        (lambda: wide.solution(1, 2, 0.1, [[2, 1], [0, 2]], [1, 2], 0), "must be symmetric"),
        (lambda: wide.solution(1, 2, 0.1, [[1, 2], [2, 1]], [1, 2], 0), "positive semidefinite"),
        (lambda: wide.solution(1, 2, 0.1, SQUARE, [1, 2, 3], 0), "kernel must have shape"),
        (lambda: wide.solution(1, 2, 0.1, SQUARE, [1, 2], [0]), "initial must be a number or"),
        (lambda: wide.solution(1, 2, 0.1, SQUARE, [1, 2], 0, cross=[1, 2]), "cross must have"),
        (lambda: wide.ridge(-1, SQUARE, [1, 2]), "weight_decay must be at least 0"),
        (lambda: wide.wide_network(lambda a, b: a, 2, -1), "weight_decay must be at least 0"),
        (lambda: wide.flow([1, 0], 2, 0.1, SQUARE, sum, [0, 0]), "increasing times"),
        (lambda: wide.flow([1], 2, 0.1, SQUARE, sum, [0, 0, 0]), "kernel must be"),
    ],
)
def test_errors_name_the_argument(call, names):
    with pytest.raises(ValueError, match=names):
        call()
