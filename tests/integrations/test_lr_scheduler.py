"""The adapter: torch's interface around both schedules."""

import copy

import pytest
import torch
from torch.optim.lr_scheduler import ChainedScheduler, LRScheduler, SequentialLR, StepLR

from etalambda.integrations import LRSchedulerAdapter
from etalambda.integrations._run import LossMeter
from etalambda.schedule import CoupledToLR, MatchedAnnealing, Scheduler, cosine, linear


def make(rule=None, **flags):
    w, b = torch.nn.Parameter(torch.ones(2)), torch.nn.Parameter(torch.ones(2))
    groups = [{"params": [w], "weight_decay": 0.5}, {"params": [b], "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=0.1)
    lr = StepLR(optimizer, 1, gamma=0.5)
    scheduler = Scheduler(optimizer, weight_decay=rule or linear(4), **flags)
    return optimizer, LRSchedulerAdapter(scheduler, lr)


def run(optimizer, both, steps):
    seen = []
    for _ in range(steps):
        seen.append([(g["lr"], g["weight_decay"]) for g in optimizer.param_groups])
        optimizer.step()
        both.step()
    return seen


def test_steps_both_and_leaves_exempt_groups_alone():
    optimizer, both = make()
    assert isinstance(both, LRScheduler)
    seen = run(optimizer, both, 4)
    assert [group[0] for group in seen] == [
        (0.1, 0.5),
        (0.05, 0.375),
        (0.025, 0.25),
        (0.0125, 0.125),
    ]
    assert all(group[1][1] == 0 for group in seen)
    assert both.get_last_lr() == both.get_lr() == [0.00625] * 2
    assert both.get_last_weight_decay() == [0.0, 0.0]


def test_rules_see_the_new_learning_rate():
    optimizer, both = make(CoupledToLR())
    run(optimizer, both, 2)
    assert optimizer.param_groups[0]["weight_decay"] == pytest.approx(0.125)


@pytest.mark.parametrize("stop", [0, 1, 3])
def test_resume_equals_the_straight_run(stop):
    straight = run(*make(cosine(5)), 5)
    optimizer, both = make(cosine(5))
    first = run(optimizer, both, stop)
    saved = copy.deepcopy((optimizer.state_dict(), both.state_dict()))
    optimizer, both = make(cosine(5))
    optimizer.load_state_dict(saved[0])
    both.load_state_dict(saved[1])
    assert first + run(optimizer, both, 5 - stop) == straight


def test_a_checkpoint_from_before_the_adapter_loads():
    optimizer, both = make()
    plain = StepLR(torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=1.0), 1)
    state = plain.state_dict() | {"last_epoch": 7}
    both.load_state_dict(state)
    assert both._lr_scheduler.last_epoch == 7
    assert optimizer.param_groups[0]["weight_decay"] == 0.5


def test_several_calls_a_step_count_once_on_the_optimizer_clock():
    optimizer, both = make(clock="optimizer")
    optimizer.step()
    for _ in range(4):
        both._scheduler.step()
    assert optimizer.param_groups[0]["weight_decay"] == 0.375


def test_chains_with_torch_and_refuses_to_be_reset():
    optimizer, both = make()
    chain = ChainedScheduler([StepLR(optimizer, 1, gamma=0.5), both], optimizer=optimizer)
    optimizer.step()
    chain.step()
    assert optimizer.param_groups[0]["weight_decay"] == 0.375
    with pytest.raises(TypeError, match="put SequentialLR into the adapter"):
        SequentialLR(optimizer, [both, StepLR(optimizer, 1)], milestones=[2])


def test_without_an_lr_scheduler():
    optimizer, _ = make()
    alone = LRSchedulerAdapter(Scheduler(optimizer, weight_decay=linear(4)))
    optimizer.step()
    alone.step()
    assert alone.get_last_lr() == [0.1, 0.1]
    _, both = make()
    with pytest.raises(ValueError, match="disagree on whether there is an lr_scheduler"):
        both.load_state_dict(alone.state_dict())
    with pytest.raises(ValueError, match="no adapter's state"):
        alone.load_state_dict({"last_epoch": 1})


def test_errors_name_the_remedy():
    optimizer, both = make()
    with pytest.raises(ValueError, match=r"reads loss.*through the callback"):
        LRSchedulerAdapter(Scheduler(optimizer, weight_decay=MatchedAnnealing()))
    with pytest.raises(TypeError, match="etalambda Scheduler, got StepLR"):
        LRSchedulerAdapter(StepLR(optimizer, 1))
    with pytest.raises(TypeError, match="torch LRScheduler, got linear"):
        LRSchedulerAdapter(both._scheduler, linear(3))


def test_loss_of_a_step_is_the_mean_of_its_parts_or_the_sum_of_its_shares():
    meter = LossMeter()
    assert meter.signals() == {}
    for mean, want in ((True, 2.0), (False, 4.0)):
        meter.add(torch.tensor(1.0, requires_grad=True), mean=mean)
        meter.add(3.0, mean=mean)
        assert meter.signals()["loss"]() == want
