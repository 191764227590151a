"""c/T measured, batch scaling and the two-phase plan, against the papers' own numbers."""

import math

import pytest
import torch

from etalambda.suggest import measure_coefficient, scale_with_batch, time_to_peak, weight_decay_for
from etalambda.suggest.two_phase import two_phase_plan
from etalambda.theory import norm_dynamics


def test_time_to_peak_absolute_and_relative():
    times, accuracy = [1, 2, 3, 4, 5], [0.1, 0.3975, 0.4, 0.4, 0.2]
    assert time_to_peak(times, accuracy) == 2
    assert time_to_peak(times, accuracy, mode="rel") == 3
    assert time_to_peak(times, accuracy, tolerance=0.0) == 3  # ties: the first
    assert time_to_peak(torch.tensor(times), torch.tensor(accuracy), 0.31) == 1


def test_the_papers_predicted_weight_decays():
    """c = 0.65625 epochs at λ = 0.01 and the list of section 3; 1.1e-4 at T = 200 with a drop."""
    for epochs, listed in [(50, 1.3125e-4), (250, 2.625e-5), (2000, 3.28125e-6)]:
        assert weight_decay_for(0.0065625, epochs) == pytest.approx(listed)
    assert weight_decay_for(0.0065625, 200, 0.3) == pytest.approx(1.1e-4, rel=0.01)


def run(peak, length=100, fall=1e-3):
    def train(weight_decay):
        return [(t, 0.9 - 1e-2 * abs(t - peak) if t < peak else 0.9 - fall) for t in range(length)]

    return train


def test_coefficient_units_agree():
    found = measure_coefficient(
        run(40), lr=0.2, weight_decay=0.01, momentum=0.9, steps_per_epoch=48.83
    )
    assert found.time == 40
    assert found.steps == pytest.approx(0.4)
    assert found.epochs == pytest.approx(0.4 / 48.83)
    assert found.decay_done == pytest.approx(0.4 * 0.2 * 10)
    assert found.range() == (found.decay_done, 2 * found.decay_done)
    assert math.isnan(measure_coefficient(run(40), lr=0.2, weight_decay=0.01).epochs)


def test_a_peak_at_the_end_is_refused():
    with pytest.raises(ValueError, match=r"still rising at the end.*train longer"):
        measure_coefficient(run(95), lr=0.2, weight_decay=0.01)


def test_a_plateau_that_still_climbs_is_refused():
    """t* lies within the half percent at 70 % of the run, and would move with every step more."""

    def climbing(weight_decay):
        return [(t, 0.9 - 0.3 * 2 ** (-t / 15)) for t in range(1, 100)]

    with pytest.raises(ValueError, match=r"\+0.00.* in the last fifth"):
        measure_coefficient(climbing, lr=0.2, weight_decay=0.01)


@pytest.mark.parametrize("rule", ["weight_decay", "lr", "sqrt"])
def test_each_batch_rule_keeps_the_decay_budget(rule):
    lr, decay = scale_with_batch(0.1, 5e-4, 16, rule=rule)
    assert lr * decay / 16 == pytest.approx(0.1 * 5e-4)


def test_two_phase_plan_fits_and_a_smaller_one_does_not():
    plan = two_phase_plan(lr=0.1, steps=10_000, gamma0=1e8, noise=2.0, momentum=0.9)
    assert plan.time == pytest.approx(9000, rel=1e-3)
    later = norm_dynamics.time_to_equilibrium(1e8, plan.intrinsic_lr * 0.99, 2.0)
    assert later.item() > 9000
    assert plan.weight_decay * 0.1 / 0.1 == pytest.approx(plan.intrinsic_lr)
    assert plan.time_with_large_start < plan.time
    from_below = two_phase_plan(lr=0.1, steps=10_000)
    assert from_below.intrinsic_lr == pytest.approx(math.log(20) / (4 * 9000), rel=1e-3)
    assert from_below.time_with_large_start > from_below.time


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: time_to_peak([1], [1, 2]), "same length above 0, got 1, 2"),
        (lambda: time_to_peak([], []), "same length above 0"),
        (lambda: time_to_peak([1, 1], [1, 1]), "times must increase"),
        (lambda: time_to_peak([1], [math.nan]), "must be finite"),
        (lambda: time_to_peak([1], [1], mode="absolute"), "did you mean 'abs'"),
        (lambda: weight_decay_for(1.0, 0.0), "budget must be a finite number above 0"),
        (lambda: weight_decay_for(1.0, 1.0, 1.5), r"share of the run in \(0, 1\], got 1.5"),
        (lambda: scale_with_batch(1, 1, 2, rule="both"), "unknown rule 'both'"),
        (lambda: scale_with_batch(1, 1, 0), "batch_mult must be"),
        (lambda: measure_coefficient(run(9), lr=0, weight_decay=1), "lr must be"),
        (lambda: two_phase_plan(lr=0.1, steps=3), "no equilibrium within 2.7 steps"),
        (lambda: two_phase_plan(lr=0.1, steps=3, switch=0), "switch is a share"),
        (lambda: two_phase_plan(lr=0.1, steps=3, momentum=1), "momentum must lie"),
        (lambda: measure_coefficient(run(9), lr=1, weight_decay=1).range("days"), "unknown unit"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
