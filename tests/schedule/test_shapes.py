"""Shapes: published values, parity with libraries that have them, and with torch's schedulers."""

import math

import pytest
import torch
from torch.optim import lr_scheduler

from etalambda.schedule import (
    clip,
    constant,
    cosine,
    cosine_restarts,
    exponential,
    from_label,
    join,
    linear,
    log_time,
    multi_step,
    one_cycle,
    piecewise,
    polynomial,
    power_law,
    staircase,
    table_1,
    times,
    trapezoid,
    two_phase,
    u_shape,
    warmup,
    window,
)
from tests.reference import annealing


def test_cosine_is_algorithm_2():
    for i in range(50):
        ours = 0.1 * cosine_restarts(7.5)(i)
        assert ours == pytest.approx(annealing.cosine(i, 0.1, 7.5), abs=1e-15)
    assert cosine_restarts(10)(0) == 2
    assert cosine_restarts(10, "half")(0) == 1
    period = [cosine_restarts(8)(i) for i in range(8)]
    assert sum(period) / 8 == pytest.approx(1)


def test_warm_restart_jumps_back():
    rule = cosine_restarts(4, "warm_restart")
    torchs = _torch_lrs(lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 4), 12)
    assert [rule(i) for i in range(12)] == pytest.approx(torchs)


def test_power_law_is_the_baseline():
    assert all(
        power_law()(t) == pytest.approx(annealing.baseline(t, 1.0), abs=1e-15) for t in range(99)
    )
    # The exponent, fitted: slope of log factor against log(1 + t).
    slope = (math.log(power_law(0.3)(999)) - math.log(power_law(0.3)(9))) / math.log(100)
    assert slope == pytest.approx(-0.3)


def _torch_lrs(make, steps):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=1.0)
    scheduler, lrs = make(optimizer), []
    for _ in range(steps):
        lrs.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return lrs


TORCH = {
    "StepLR": (staircase(3, 0.5), lambda o: lr_scheduler.StepLR(o, 3, 0.5)),
    "MultiStepLR": (multi_step([2, 5], 0.1), lambda o: lr_scheduler.MultiStepLR(o, [2, 5], 0.1)),
    "ExponentialLR": (exponential(0.9), lambda o: lr_scheduler.ExponentialLR(o, 0.9)),
    "PolynomialLR": (polynomial(6, 2), lambda o: lr_scheduler.PolynomialLR(o, 6, 2)),
    "LinearLR": (linear(5, 0.5, 1.0), lambda o: lr_scheduler.LinearLR(o, 0.5, 1.0, 5)),
    "CosineAnnealingLR": (cosine(9, 0.1), lambda o: lr_scheduler.CosineAnnealingLR(o, 9, 0.1)),
    "SequentialLR": (
        join([linear(3, 0.1, 1.0), cosine(6)], [3]),
        lambda o: lr_scheduler.SequentialLR(
            o,
            [lr_scheduler.LinearLR(o, 0.1, 1.0, 3), lr_scheduler.CosineAnnealingLR(o, 6)],
            [3],
        ),
    ),
}


@pytest.mark.parametrize("name", TORCH)
def test_equals_torch(name):
    rule, make = TORCH[name]
    assert [rule(i) for i in range(9)] == pytest.approx(_torch_lrs(make, 9), abs=1e-12)


def test_one_cycle_equals_torch():
    rule = one_cycle(10, peak=0.5, start=0.04, end=0.04 / 1e4)
    torchs = _torch_lrs(lambda o: lr_scheduler.OneCycleLR(o, 1.0, 11, pct_start=6 / 11), 10)
    assert [rule(i) for i in range(10)] == pytest.approx(torchs, abs=1e-9)


def test_megatron_increments():
    """OptimizerParamScheduler.get_wd: w0 + coeff (w1 - w0), linear and cosine."""
    w0, w1, steps = 0.033, 0.1, 40
    for step in range(50):
        r = min(step / steps, 1.0)
        coeff = {"linear": r, "cosine": 0.5 * (math.cos(math.pi * (1 - r)) + 1.0)}
        rules = {
            "linear": linear(steps, start=w0 / w1, end=1),
            "cosine": cosine(steps, start=w0 / w1, end=1),
        }
        for style, rule in rules.items():
            assert w1 * rule(step) == pytest.approx(w0 + coeff[style] * (w1 - w0), abs=1e-15)


def test_dino_and_nanochat():
    """DINO's cosine_scheduler 0.04 -> 0.4, and nanochat's half cosine to zero."""
    for step in range(100):
        dino = 0.4 + 0.5 * (0.04 - 0.4) * (1 + math.cos(math.pi * step / 100))
        assert 0.04 * cosine(100, end=10)(step) == pytest.approx(dino, abs=1e-15)
        nanochat = 0.28 * 0.5 * (1 + math.cos(math.pi * step / 100))
        assert 0.28 * cosine(100)(step) == pytest.approx(nanochat, abs=1e-15)


def test_table_1_meets_at_epoch_500():
    for schedule in range(1, 6):
        for wd_only in (False, True):
            rules = table_1(schedule, epoch=10, wd_only=wd_only)
            assert rules["lr"](5000) == rules["weight_decay"](5000) == 1
            assert rules["lr"](10_000) == pytest.approx(0.1)
            assert rules["weight_decay"](10_000) == 0
    assert [table_1(3)["lr"](e) for e in (0, 100, 200, 300, 400, 500)] == [1, 4, 2, 1, 0.25, 1]
    assert [table_1(1)["lr"](e) for e in (0, 100, 200, 300, 400, 500)] == [1, 0.25, 1, 0.25, 0.5, 1]
    assert table_1(4)["weight_decay"](100) == 4
    assert table_1(4, wd_only=True)["lr"](100) == 1


def test_labels():
    rules = from_label("wd_100_200_lr_0_5000", epoch=2)
    assert rules["weight_decay"](400) == pytest.approx(0.01)
    assert rules["lr"](0) == pytest.approx(0.1)
    assert rules["lr"](10_000) == pytest.approx(0.01)
    assert set(from_label("lr_7")) == {"lr"}
    for label in ("", "_", "wd", "lr_x", "wd_1_lr"):
        with pytest.raises(ValueError, match="label"):
            from_label(label)


def test_two_phase():
    rules = two_phase(30)
    assert (rules["lr"](29), rules["weight_decay"](29)) == (1, 1)
    assert (rules["lr"](30), rules["weight_decay"](30)) == (pytest.approx(0.1), 0)


def test_shares_are_steps():
    assert [trapezoid(100, 0.1, 0.2)(t) for t in range(120)] == [
        trapezoid(100, 10, 20)(t) for t in range(120)
    ]
    assert [window(40, 0.25, 0.5)(t) for t in range(50)] == [
        window(40, 10, 20)(t) for t in range(50)
    ]


def test_shapes_keep_their_last_value():
    assert trapezoid(10, end=0.3)(10**6) == pytest.approx(0.3)
    assert piecewise({2: 0.5, 4: 2})(0) == 0.5
    assert piecewise({2: 0.5, 4: 2})(10**6) == 2
    assert u_shape(10, end=0.7)(10**6) == pytest.approx(0.7)
    assert log_time(10)(10) == 0.5


def test_compositions():
    both = times(linear(10), constant(0.5))
    assert [both(t) for t in range(12)] == [0.5 * linear(10)(t) for t in range(12)]
    held = clip(linear(10), low=0.2, high=0.8)
    assert [held(t) for t in (0, 5, 10)] == [0.8, 0.5, 0.2]
    nested = join([warmup(2), join([constant(), linear(2)], [3])], [2])
    assert [nested(t) for t in range(8)] == [0, 0.5, 1, 1, 1, 1, 0.5, 0]


ERRORS = {
    "period 0": (lambda: cosine_restarts(0), "period must be"),
    "period NaN": (lambda: cosine_restarts(math.nan), "period must be"),
    "variant": (lambda: cosine_restarts(3, "litteral"), "did you mean 'literal'"),
    "length 0": (lambda: linear(0), "length must be"),
    "length negative": (lambda: cosine(-1), "length must be"),
    "warm-up too long": (lambda: trapezoid(10, warmup=11), "longer than length=10"),
    "stages too long": (lambda: trapezoid(10, warmup=6, cooldown=6), "together longer"),
    "peak outside": (lambda: one_cycle(10, peak=10), "inside the run"),
    "bottom outside": (lambda: u_shape(10, bottom=0), "inside the run"),
    "window empty": (lambda: window(10, 5, 5), "before end"),
    "no points": (lambda: piecewise({}), "points is empty"),
    "points repeat": (lambda: piecewise(((0, 1), (0, 2))), "positions must differ"),
    "points outside": (lambda: piecewise({0: 1, 2: 0}, length=10), "shares of it"),
    "negative factor": (lambda: piecewise({0: -1}), "at least 0"),
    "negative constant": (lambda: constant(-1), "factor must be"),
    "no milestones": (lambda: multi_step([]), "milestones is empty"),
    "table": (lambda: table_1(6), "Known: 1, 2, 3, 4, 5"),
    "join count": (lambda: join([constant()], [3]), "need 0 milestones"),
    "join order": (lambda: join([constant()] * 3, [5, 5]), "must rise"),
    "join from 0": (lambda: join([constant()] * 2, [0]), "must rise"),
    "times nothing": (lambda: times(), "at least one"),
    "clip empty": (lambda: clip(constant(), 2, 1), "below low"),
}


@pytest.mark.parametrize("case", ERRORS)
def test_errors_name_argument_value_and_remedy(case):
    make, message = ERRORS[case]
    with pytest.raises(ValueError, match=message):
        make()


def test_a_class_or_a_number_is_no_rule():
    with pytest.raises(TypeError, match="call it"):
        times(linear)
    with pytest.raises(TypeError, match=r"constant\(0.5\)"):
        times(0.5)
    with pytest.raises(TypeError, match="not a rule"):
        clip("cosine")
