"""Every rule faces every kind of optimizer, grouping and interruption."""

import copy
import io
import math
import pickle

import pytest
import torch

from etalambda.optim import AdamS
from etalambda.schedule import COUPLINGS, Scheduler, fold, tie
from etalambda.schedule.rule import has_memory
from tests.laws import RULES

BAD_AND_GOOD = [4.0, 3.0, 3.5, 2.0, 2.5, 2.4, 1.0, 1.5]  # losses: falling, with setbacks


def adamw(groups, **flags):
    return torch.optim.AdamW(groups, lr=0.01, weight_decay=0.5, **flags)


def one_group(params):
    return [{"params": params}]


def three_groups(params):
    return [
        {"params": params[:1]},
        {"params": params[1:2], "weight_decay": 0.25},
        {"params": params[2:], "weight_decay": 0.0},
    ]


def muon_and_adamw(groups):
    return [torch.optim.Muon(groups[:-1] or groups, lr=0.02, weight_decay=0.1)] + [
        adamw(groups[-1:]) if groups[:-1] else adamw([torch.nn.Parameter(torch.ones(2))])
    ]


OPTIMIZERS = {
    "SGD momentum": lambda g: [torch.optim.SGD(g, lr=0.05, momentum=0.9, weight_decay=0.5)],
    "AdamW fused": lambda g: [adamw(g, fused=True)],
    "AdamS": lambda g: [AdamS(g, lr=0.01, weight_decay=0.5)],
    "Muon + AdamW": muon_and_adamw,
}
GROUPINGS = {"one group": one_group, "three groups, one exempt": three_groups}


def built(rule, optimizer, grouping):
    torch.manual_seed(1)
    params = [torch.nn.Parameter(torch.randn(3, 3)) for _ in range(3)]
    optimizers = OPTIMIZERS[optimizer](GROUPINGS[grouping](params))
    schedulers = [torch.optim.lr_scheduler.CosineAnnealingLR(o, 10) for o in optimizers]
    return optimizers, schedulers, Scheduler(optimizers, weight_decay=RULES[rule]())


def weights(optimizers):
    return [p.detach() for o in optimizers for g in o.param_groups for p in g["params"]]


def decays(optimizers):
    return [g["weight_decay"] for o in optimizers for g in o.param_groups]


def train(run, losses):
    optimizers, schedulers, scheduler = run
    seen = []
    for loss in losses:
        for p in (p for o in optimizers for g in o.param_groups for p in g["params"]):
            p.grad = p.detach().sin() * loss
        for mover in (*optimizers, *schedulers):
            mover.step()
        scheduler.step(loss=loss, error=0.5)
        seen.append(decays(optimizers))
    return seen


def through_file(state):
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def resumed(run, fresh, scheduler_first):
    """A fresh process: objects built anew, states through a file, in either order."""
    for new, old in zip(weights(fresh[0]), weights(run[0])):
        new.copy_(old)
    loads = [
        lambda: fresh[2].load_state_dict(through_file(run[2].state_dict())),
        lambda: [n.load_state_dict(through_file(o.state_dict())) for n, o in zip(fresh[0], run[0])],
    ]
    for load in loads if scheduler_first else loads[::-1]:
        load()
    for new, old in zip(fresh[1], run[1]):
        new.load_state_dict(old.state_dict())
    return fresh


INTERRUPTIONS = {
    "resume": lambda run, again: resumed(run, again(), scheduler_first=False),
    "resume, scheduler first": lambda run, again: resumed(run, again(), scheduler_first=True),
    "deepcopy": lambda run, again: copy.deepcopy(run),
    "pickle": lambda run, again: pickle.loads(pickle.dumps(run)),
}


@pytest.mark.parametrize("interruption", INTERRUPTIONS)
@pytest.mark.parametrize("grouping", GROUPINGS)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("rule", RULES)
def test_interrupted_run_equals_straight_run(rule, optimizer, grouping, interruption):
    straight = built(rule, optimizer, grouping)
    expected = train(straight, BAD_AND_GOOD)

    first = built(rule, optimizer, grouping)
    seen = train(first, BAD_AND_GOOD[:4])
    second = INTERRUPTIONS[interruption](first, lambda: built(rule, optimizer, grouping))
    assert decays(second[0]) == seen[-1]
    seen += train(second, BAD_AND_GOOD[4:])

    assert seen == expected
    assert all(torch.equal(a, b) for a, b in zip(weights(second[0]), weights(straight[0])))
    if "exempt" in grouping:
        assert {row[2] for row in seen} == {0.0}


@pytest.mark.parametrize("rule", RULES)
def test_driven_values_are_the_folded_factors(rule):
    """What the driver writes is base x what the rule alone gives: nothing is hidden in it."""
    optimizers, _, scheduler = run = built(rule, "SGD momentum", "one group")
    first = decays(optimizers)
    seen = [row[0] for row in train(run, BAD_AND_GOOD)]
    made, ticks = RULES[rule](), range(1, len(BAD_AND_GOOD) + 1)
    if has_memory(made):
        lrs = [0.05 * 0.5 * (1 + math.cos(math.pi * t / 10)) for t in ticks]
        signals = [
            {"loss": loss, "error": 0.5, "step": t, "lr": lr, "peak_lr": 0.05}
            for t, lr, loss in zip(ticks, lrs, BAD_AND_GOOD)
        ]
        expected = [0.5 * f for f in fold(made, signals, initial=0.5)]
    else:
        expected = [0.5 * made(t) for t in ticks]
        assert first == [0.5 * made(0)]
    assert seen == pytest.approx(expected, rel=1e-12)
    assert scheduler.last("weight_decay") == [seen[-1]]


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_constant_factor_of_one_is_no_scheduler(optimizer):
    driven = built("factor 1", optimizer, "three groups, one exempt")
    bare = built("factor 1", optimizer, "three groups, one exempt")
    train(driven, BAD_AND_GOOD)
    for loss in BAD_AND_GOOD:
        for p in (p for o in bare[0] for g in o.param_groups for p in g["params"]):
            p.grad = p.detach().sin() * loss
        for mover in (*bare[0], *bare[1]):
            mover.step()
    assert all(torch.equal(a, b) for a, b in zip(weights(driven[0]), weights(bare[0])))


@pytest.mark.parametrize("rule", RULES)
def test_repr_is_short_and_pure(rule):
    made = RULES[rule]()
    assert len(repr(made)) < 200
    if has_memory(made):
        state = made.init()
        seen = dict(loss=2.0, error=0.5, lr=0.1, peak_lr=0.1, initial=0.5, step=1)
        assert made.update(state, seen) == made.update(state, seen)
        assert state == made.init()


@pytest.mark.parametrize("grouping", GROUPINGS)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("coupling", COUPLINGS)
def test_tie_follows_the_lr_of_each_step(coupling, optimizer, grouping):
    torch.manual_seed(1)
    params = [torch.nn.Parameter(torch.randn(3, 3)) for _ in range(3)]
    optimizers = OPTIMIZERS[optimizer](GROUPINGS[grouping](params))
    bases = decays(optimizers)
    handle = tie(optimizers, coupling)
    schedulers = [torch.optim.lr_scheduler.CosineAnnealingLR(o, 5) for o in optimizers]
    peaks = [g["initial_lr"] for o in optimizers for g in o.param_groups]
    for _ in range(5):
        lrs = [g["lr"] for o in optimizers for g in o.param_groups]
        for o in optimizers:
            o.step()
        expected = [b * COUPLINGS[coupling](lr, top) for b, lr, top in zip(bases, lrs, peaks)]
        assert decays(optimizers) == pytest.approx(expected, rel=1e-15)
        for mover in schedulers:
            mover.step()
    handle.remove()
    assert decays(optimizers) == bases
