"""Exponential learning rates: exact in float64 over 400 steps on a scale-invariant network."""

import math

import pytest
import torch

from etalambda.schedule import (
    ExponentialLR,
    constant,
    cosine,
    limiting_ratio,
    multi_step,
    shrinkage,
    table_1,
    to_exponential_lr,
)
from tests.reference.exponential_lr import pure_decay, sgd

STEPS = 400
SCHEDULES = {
    "constant": (constant(), constant()),
    "step": (multi_step([150, 300]), multi_step({200: 0.5})),
    "cosine": (cosine(STEPS, end=0.01), constant()),
    "table 1": tuple(table_1(4, epoch=0.4)[entry] for entry in ("lr", "weight_decay")),
}


def network():
    """Two tanh layers, each output normalised without an epsilon: no weight's scale matters."""
    torch.manual_seed(0)
    x, y = torch.randn(32, 6).double(), torch.randint(0, 3, (32,))
    head = torch.randn(8, 3).double()

    def loss(flat):
        h = x
        for layer in (flat[:48].view(6, 8), flat[48:].view(8, 8)):
            h = h @ layer
            h = ((h - h.mean(0)) / h.std(0, unbiased=False)).tanh()
        return torch.nn.functional.cross_entropy(h @ head, y)

    return loss, torch.func.grad(loss), torch.randn(112).double()


def schedule(name, lr=0.02, decay=0.02):
    lrs, decays = SCHEDULES[name]
    return [lr * lrs(t) for t in range(STEPS)], [decay * decays(t) for t in range(STEPS)]


def angle(a, b):
    return (a / a.norm() - b / b.norm()).norm().item()


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("name", SCHEDULES)
def test_same_function_without_decay(name, momentum):
    """At five times this lr the directions are chaotic and part by rounding: 1e-15 becomes 0.1."""
    _, gradient, start = network()
    lrs, decays = schedule(name, lr=0.02 * (1 - momentum))
    without, norms = to_exponential_lr(lrs, decays, momentum)
    assert len(norms) == STEPS + 1
    with_decay = sgd(start, gradient, lrs, decays, momentum)
    alone = sgd(start, gradient, without.tolist(), [0.0] * STEPS, momentum)
    assert max(angle(a, b) for a, b in zip(with_decay, alone)) < 1e-12
    for w, norm, u in zip(with_decay, norms, alone):
        assert (w - norm * u).norm() < 1e-12 * w.norm()
    assert angle(with_decay[-1], start) > 0.1  # it has gone somewhere


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9])
def test_norms_are_the_path_of_pure_decay(momentum):
    lrs, decays = schedule("table 1", lr=0.02 * (1 - momentum))
    _, norms = to_exponential_lr(lrs, decays, momentum)
    assert norms.tolist() == pytest.approx(pure_decay(lrs, decays, momentum), rel=1e-12)


def test_constant_case_is_the_closed_form_with_the_corrected_exponent():
    without, _ = to_exponential_lr([0.1] * 50, 0.3)
    expected = [0.1 * (1 - 0.03) ** -(2 * t + 1) for t in range(50)]
    assert without.tolist() == pytest.approx(expected, rel=1e-12)


def test_growth_exponent_is_twice_the_intrinsic_lr():
    """The theorem, by its exponent: log η̃ grows by -2 log(1 - ηλ) a step."""
    without, _ = to_exponential_lr([0.1] * 1000, 0.05)
    slope = (without[-1] / without[0]).log().item() / 999
    assert slope == pytest.approx(-2 * math.log1p(-0.005), rel=1e-12)


def test_momentum_ratio_tends_to_the_larger_root():
    ratios = shrinkage([0.1] * 400, [0.01] * 400, momentum=0.9)
    assert ratios[-1] == pytest.approx(limiting_ratio(0.1, 0.01, 0.9), rel=1e-12)
    alpha = limiting_ratio(0.1, 0.01, 0.9)
    assert alpha**2 - (1 + 0.9 - 0.001) * alpha + 0.9 == pytest.approx(0, abs=1e-14)
    assert limiting_ratio(0.1, 0.01) == pytest.approx(1 - 0.001)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_the_driver_renormalises_and_stays_exact(momentum):
    loss, gradient, start = network()
    lrs, decays = schedule("constant", lr=0.05 * (1 - momentum), decay=0.05)
    weights = torch.nn.Parameter(start.clone())
    optimizer = torch.optim.SGD([weights], lr=1.0, momentum=momentum)
    handle = ExponentialLR(optimizer, lrs, decays, limit=1.1)
    renormalised, largest = 0, 0.0
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss(weights).backward()
        before = handle.norm
        optimizer.step()
        renormalised += handle.norm > before
        largest = max(largest, optimizer.param_groups[0]["lr"])
    expected = sgd(start, gradient, lrs, decays, momentum)[-1]
    assert (handle.norm * weights.detach() - expected).norm() < 1e-12 * expected.norm()
    assert renormalised > 3
    assert largest < 1.3 * lrs[0]  # the lr alone would have grown 7-fold
    with pytest.raises(ValueError, match="ends after 400 steps"):
        optimizer.step()
    handle.remove()
    optimizer.step()


@pytest.mark.parametrize("n", [1, 5, 20])
def test_projection_every_n_steps_is_a_ramp(n):
    """CGD-S4: the lr climbs as η ρ^-(2t+1), t = 0 .. n-1, and falls back at each projection."""
    _, gradient, start = network()
    lr, decay = 0.02, 1.0
    radius, with_decay, ramp = start.norm(), start, start
    for _ in range(60 // n):
        with_decay = sgd(with_decay, gradient, [lr] * n, [decay] * n, 0.0)[-1]
        lrs = [lr * (1 - lr * decay) ** -(2 * t + 1) for t in range(n)]
        ramp = sgd(ramp, gradient, lrs, [0.0] * n, 0.0)[-1]
        with_decay, ramp = (w * radius / w.norm() for w in (with_decay, ramp))
        assert angle(with_decay, ramp) < 1e-12


def sgd_with(**flags):
    return torch.optim.SGD([torch.nn.Parameter(torch.ones(2))], lr=0.1, **flags)


ERRORS = {
    "P <= 0": (lambda: to_exponential_lr([0.5], 2.0), "0 of themselves at step 0"),
    "P <= 0 with momentum": (lambda: to_exponential_lr([0.1] * 99, 1.0, 0.9), "changes sign"),
    "overflow": (lambda: to_exponential_lr([0.5] * 1000, 1.0), "overflows at step .*ExponentialLR"),
    "adam": (lambda: to_exponential_lr([0.1], 0.1, optimizer="Adam"), "different scales"),
    "nesterov": (
        lambda: to_exponential_lr([0.1], 0.1, optimizer=sgd_with(momentum=0.9, nesterov=True)),
        "look-ahead",
    ),
    "dampening": (
        lambda: ExponentialLR(sgd_with(momentum=0.9, dampening=0.1), [0.1], 0.1),
        "dampening=0",
    ),
    "still decays": (lambda: ExponentialLR(sgd_with(weight_decay=0.1), [0.1], 0.1), "set it to 0"),
    "lengths": (lambda: to_exponential_lr([0.1] * 3, [0.1] * 2), "3 entries"),
    "empty": (lambda: to_exponential_lr([], 0.1), "0 entries"),
    "negative": (lambda: to_exponential_lr([-0.1], 0.1), "lrs must be"),
    "momentum": (lambda: to_exponential_lr([0.1], 0.1, 1.0), "below 1"),
    "oscillation": (lambda: limiting_ratio(0.1, 0.1, 0.9), "oscillates"),
}


@pytest.mark.parametrize("case", ERRORS)
def test_errors(case):
    attempt, message = ERRORS[case]
    with pytest.raises(ValueError, match=message):
        attempt()
