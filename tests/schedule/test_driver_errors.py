"""What the driver says of mistakes, before any change, and of a run that goes wrong."""

import math
import warnings

import pytest
import torch

from etalambda.schedule import CoupledToLR, MatchedAnnealing, Scheduler, linear, simulate
from tests.schedule.decayed import decays, make


def quiet(scheduler, **signals):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scheduler.step(**signals)


def test_clobber_is_said_once_with_both_values():
    optimizer = make(0.5, 0.5)
    scheduler = Scheduler(optimizer, weight_decay=linear(4))
    optimizer.step()
    optimizer.param_groups[1]["weight_decay"] = 0.7
    with pytest.warns(UserWarning, match=r"group 0.1 is 0.7, but this Scheduler set it to 0.5"):
        scheduler.step()
    optimizer.param_groups[1]["weight_decay"] = 0.8
    scheduler.step()
    assert decays(optimizer) == [0.25, 0.25]


def test_step_order_warning_as_torchs():
    scheduler = Scheduler(make(0.5), weight_decay=linear(4))
    with pytest.warns(UserWarning, match="before `optimizer.step"):
        scheduler.step()
    mixed = Scheduler(make(0.5), weight_decay=MatchedAnnealing(), lr=linear(4))
    with pytest.warns(UserWarning, match="before `optimizer.step"):
        mixed.step(loss=1.0)


def test_non_finite_loss_keeps_the_value_is_counted_and_said_once():
    optimizer = make(0.5)
    scheduler = Scheduler(optimizer, weight_decay=MatchedAnnealing())
    optimizer.step(), scheduler.step(loss=2.0), scheduler.step(loss=1.0)
    with pytest.warns(UserWarning, match="loss is nan at tick 3; weight_decay keeps its value"):
        scheduler.step(loss=math.nan)
    scheduler.step(loss=math.inf)
    assert decays(optimizer) == [0.25]
    assert scheduler.non_finite == {"weight_decay": 2}


def test_a_users_own_rule_that_turns_nan_keeps_its_value():
    class Half:
        reads = ("loss",)

        def init(self):
            return ()

        def update(self, state, seen):
            assert set(seen) == {"loss", "initial"}
            return seen["loss"] / 2, ()

    optimizer = make(0.5)
    scheduler = Scheduler(optimizer, weight_decay=Half())
    optimizer.step(), scheduler.step(loss=1.0)
    with pytest.warns(UserWarning, match="keeps its value"):
        scheduler.step(loss=math.nan)
    assert decays(optimizer) == [0.25]
    with pytest.raises(ValueError, match=r"factor -1\.0 at tick 3"):
        scheduler.step(loss=-2.0)


ERRORS = {
    "no rules": (lambda: Scheduler(make(0.5)), "no rule given"),
    "no such entry": (
        lambda: Scheduler(make(0.5), weight_deacy=linear(4)),
        "did you mean 'weight_decay'",
    ),
    "entry without numbers": (lambda: Scheduler(make(0.5), betas=linear(4)), "unknown group entry"),
    "zero everywhere": (
        lambda: Scheduler(make(0.0, 0.0), weight_decay=linear(4)),
        "weight_decay is 0 in every group",
    ),
    "no optimizer": (lambda: Scheduler([], weight_decay=linear(4)), "optimizers is empty"),
    "clock": (lambda: Scheduler(make(0.5), clock="call", weight_decay=linear(4)), "'calls'"),
    "negative factor": (lambda: Scheduler(make(0.5), weight_decay=lambda step: -1), "factor -1"),
    "nan factor": (lambda: Scheduler(make(0.5), weight_decay=lambda step: math.nan), "factor nan"),
    "peak 0": (lambda: Scheduler(make(0.5, lr=0.0), weight_decay=CoupledToLR()), "peak learning"),
    "unknown last": (lambda: Scheduler(make(0.5), weight_decay=linear(4)).last("lr"), "entry 'lr'"),
    "steps": (lambda: simulate(0), "steps must be"),
    "signals": (lambda: simulate(2, signals=[{}]), "1 entries for steps=2"),
}


@pytest.mark.parametrize("case", ERRORS)
def test_errors(case):
    attempt, message = ERRORS[case]
    with pytest.raises(ValueError, match=message):
        attempt()


def test_type_errors():
    for rule, message in ((linear, "is a class"), (0.1, "is a number"), ("cosine", "not a rule")):
        with pytest.raises(TypeError, match=message):
            Scheduler(make(0.5), weight_decay=rule)
    with pytest.raises(TypeError, match="not the model"):
        Scheduler(torch.nn.Linear(2, 2).parameters(), weight_decay=linear(4))


@pytest.mark.parametrize("signals", [{}, {"los": 1.0}, {"loss": None}])
def test_a_missing_signal_changes_nothing(signals):
    optimizer = make(0.5)
    scheduler = Scheduler(optimizer, lr=linear(4), weight_decay=MatchedAnnealing())
    optimizer.step()
    with pytest.raises(ValueError, match=r"reads 'loss', .* call step\(loss=...\)"):
        scheduler.step(**signals)
    assert (scheduler.ticks, optimizer.param_groups[0]["lr"]) == (0, 0.1)
    quiet(scheduler, loss=1.0)
    assert scheduler.ticks == 1
