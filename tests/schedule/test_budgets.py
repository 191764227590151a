"""Equal budgets: rescaled rules, recorded traces, replays and shuffles."""

import pytest
import torch

from etalambda.schedule import (
    MatchedAnnealing,
    Scheduler,
    constant,
    cosine,
    linear,
    power_law,
    record,
    replay,
    rescale_to_budget,
    shuffle,
    simulate,
    tie,
    u_shape,
)
from tests.laws import RULES

LRS = [0.1 * cosine(50)(t) for t in range(50)]


def optimizer(decay=0.5):
    groups = [
        {"params": [torch.nn.Parameter(torch.ones(2))]},
        {"params": [torch.nn.Parameter(torch.ones(2))], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=0.1, weight_decay=decay)


@pytest.mark.parametrize(
    "rule",
    [linear(50), power_law(), u_shape(50), lambda t: 1 + t],
    ids=["linear", "power law", "u shape", "growing"],  # a lambda's own name differs by process
)
@pytest.mark.parametrize("base", [1.0, 0.05])
def test_a_rescaled_rule_spends_the_budget(rule, base):
    scaled = rescale_to_budget(rule, 1.7, LRS, weight_decay=base)
    run = simulate(
        50, bases={"lr": 1.0, "weight_decay": base}, lr=lambda t: LRS[t], weight_decay=scaled
    )
    assert run["K"][-1].item() == pytest.approx(1.7, rel=1e-12)
    assert scaled(10) / scaled(5) == pytest.approx(rule(10) / rule(5))


def test_a_replay_is_the_run_it_was_recorded_from():
    first = optimizer()
    recording = record(first)
    scheduler = Scheduler(first, weight_decay=MatchedAnnealing())
    for loss in (4.0, 2.0, 1.0, 3.0):
        first.step(), scheduler.step(loss=loss)
    trace = recording.trace()
    assert trace == [0.5, 0.5, 0.25, 0.125]
    assert recording.trace(1) == [0.0] * 4

    second = optimizer(0.2)
    again = record([second])
    scheduler = Scheduler(second, weight_decay=replay(trace, initial=0.2))
    for _ in range(4):
        second.step(), scheduler.step()
    assert again.trace() == pytest.approx(trace, rel=1e-15)
    recording.remove()
    first.step()
    assert len(recording.trace()) == 4


def test_a_recording_sees_what_a_tie_writes():
    first = optimizer()
    recording = record(first, "weight_decay")
    tie(first, "matched")
    for lr in (0.1, 0.05):
        for group in first.param_groups:
            group["lr"] = lr
        first.step()
    assert recording.trace() == [0.5, 0.25]


def test_shuffle_keeps_the_values_and_the_budget():
    trace = [power_law()(t) for t in range(50)]
    state = torch.get_rng_state()
    mixed = shuffle(trace, seed=3)
    assert sorted(mixed) == sorted(trace)
    assert mixed == shuffle(trace, seed=3) != shuffle(trace, seed=4)
    assert torch.equal(state, torch.get_rng_state())
    balanced = shuffle(trace, seed=3, lrs=LRS)
    spent = [sum(lr * w for lr, w in zip(LRS, values)) for values in (trace, balanced)]
    assert spent[0] == pytest.approx(spent[1])


ERRORS = {
    "memory": (lambda: rescale_to_budget(MatchedAnnealing(), 1, LRS), "replay it instead"),
    "nothing": (lambda: rescale_to_budget(lambda t: 0.0, 1, LRS), "spends 0.0"),
    "budget": (lambda: rescale_to_budget(constant(), -1, LRS), "budget must be"),
    "no trace": (lambda: record(optimizer()).trace(), "0 groups were recorded"),
    "empty": (lambda: replay([]), "values is empty"),
    "negative": (lambda: replay([-1.0]), "values must be"),
    "initial": (lambda: replay([1.0], initial=0), "initial must be"),
    "lengths": (lambda: shuffle([1.0, 2.0], lrs=[0.1]), "1 entries for 2 values"),
}


@pytest.mark.parametrize("case", ERRORS)
def test_errors(case):
    attempt, message = ERRORS[case]
    with pytest.raises(ValueError, match=message):
        attempt()


def test_every_rule_is_in_the_laws():
    """A rule that is public and not in tests/laws.py would face no law."""
    from dataclasses import is_dataclass

    import etalambda.schedule as room

    public = {
        name
        for name in room.__all__
        if is_dataclass(rule := getattr(room, name)) and (hasattr(rule, "update") or callable(rule))
    }
    other = {"MuonSplit", "ParamGroups", "inverse"}
    made = {type(make()).__name__ for make in RULES.values()}
    assert {name for name in public if _is_rule(getattr(room, name))} - other <= made


def _is_rule(cls):
    from etalambda.schedule.rule import Readable

    return isinstance(cls, type) and issubclass(cls, Readable)
