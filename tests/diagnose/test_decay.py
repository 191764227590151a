"""Reading live optimizers: rates, budgets with any scheduler, and a run that is left untouched."""

import copy
import math

import pytest
import torch
from torch.optim import lr_scheduler as torch_schedulers

import etalambda as el
from etalambda.diagnose import decay_budget, intrinsic_lr, stats
from etalambda.diagnose.decay import decay_form, group_plans, v_mean


def weight(n=4):
    return torch.nn.Parameter(torch.ones(n))


def adamw(**options):
    return torch.optim.AdamW([weight()], **dict(lr=1e-3, weight_decay=0.1) | options)


class Unheard(torch.optim.Optimizer):
    """An optimizer that nobody knows."""

    def __init__(self, params, **options):
        super().__init__(params, dict(lr=0.1, weight_decay=0.5) | options)


class MyAdamW(torch.optim.AdamW):
    """A subclass keeps its parent's way to decay."""


class AdamS(Unheard):
    """The least of what the real one shows: a name, groups and moments."""


def test_one_float_a_group_over_several_optimizers():
    sgd = torch.optim.SGD([weight()], lr=0.5, momentum=0.5, dampening=0.5, weight_decay=0.25)
    assert intrinsic_lr([sgd, adamw(lr=0.5)]) == [0.125, 0.05]


@pytest.mark.parametrize(
    ("optimizer", "form"),
    [
        (torch.optim.Adam([weight()]), "adaptive"),
        (torch.optim.Adam([weight()], decoupled_weight_decay=True), "plain"),
        (torch.optim.NAdam([weight()], decoupled_weight_decay=True), "plain"),
        (torch.optim.RMSprop([weight()]), "adaptive"),
        (MyAdamW([weight()]), "plain"),
        (Unheard([weight()]), "plain"),
        (Unheard([weight()], weight_decouple=False), "adaptive"),
        (torch.optim.SGD([weight()], lr=0.1), "momentum"),
    ],
)
def test_forms_of_live_optimizers(optimizer, form):
    assert decay_form(optimizer, optimizer.param_groups[0]) == form


def test_tensor_lr_and_decay_that_the_lr_does_not_multiply():
    assert intrinsic_lr(adamw(lr=torch.tensor(0.5)))[0] == pytest.approx(0.05)
    assert intrinsic_lr(Unheard([weight()], fixed_decay=True)) == [0.5]


def test_adams_rate_follows_its_second_moment():
    w = weight()
    optimizer = AdamS([w], betas=(0.9, 0.5))
    assert math.isnan(intrinsic_lr(optimizer)[0])
    assert v_mean(optimizer) is None
    optimizer.state[w] = {"step": 1, "exp_avg_sq": torch.full((4,), 2.0)}
    assert v_mean(optimizer) == 4.0
    assert intrinsic_lr(optimizer) == [0.1 * 0.5 / 2]
    assert stats(optimizer)["v_mean/0"] == 4.0


SCHEDULERS = {
    "cosine": lambda o: torch_schedulers.CosineAnnealingLR(o, T_max=50),
    "lambda": lambda o: torch_schedulers.LambdaLR(o, lambda step: 1 / (1 + step)),
    "sequential": lambda o: torch_schedulers.SequentialLR(
        o,
        [torch_schedulers.LinearLR(o, 0.1, total_iters=10), torch_schedulers.ExponentialLR(o, 0.9)],
        milestones=[10],
    ),
    "one cycle": lambda o: torch_schedulers.OneCycleLR(o, max_lr=0.1, total_steps=60),
    "chained": lambda o: torch_schedulers.ChainedScheduler(
        [torch_schedulers.ConstantLR(o, 0.1), torch_schedulers.StepLR(o, 20)]
    ),
    "cyclic": lambda o: torch_schedulers.CyclicLR(o, 1e-4, 1e-2, step_size_up=7),
}


@pytest.mark.filterwarnings("ignore:.*epoch parameter.*")
@pytest.mark.parametrize("name", SCHEDULERS)
@pytest.mark.parametrize("make", [adamw, lambda: torch.optim.SGD([weight()], 0.1, 0.9, 0, 0.01)])
def test_a_rehearsed_budget_is_the_budget_then_spent(name, make):
    optimizer = make()
    scheduler = SCHEDULERS[name](optimizer)
    groups, state = copy.deepcopy(optimizer.state_dict()), copy.deepcopy(scheduler.state_dict())
    predicted = decay_budget(optimizer, steps=50, scheduler=scheduler)
    assert optimizer.state_dict() == groups
    assert str(scheduler.state_dict()) == str(state) or name in ("sequential", "chained", "cyclic")
    spent = 0.0
    for _ in range(50):
        spent += intrinsic_lr(optimizer)[0]
        optimizer.step()
        scheduler.step()
    assert predicted[0] == pytest.approx(spent, rel=1e-12)


def test_epoch_wise_schedulers_several_optimizers_and_a_tensor_lr():
    first, second = adamw(lr=torch.tensor(0.1)), adamw(lr=0.2)
    both = [torch_schedulers.StepLR(o, 1, gamma=0.5) for o in (first, second)]
    budgets = decay_budget([first, second], steps=20, scheduler=both, scheduler_every=10)
    assert budgets == pytest.approx([0.1 * 0.1 * 15, 0.2 * 0.1 * 15])
    assert float(first.param_groups[0]["lr"]) == pytest.approx(0.1)


def test_lr_factors_as_numbers_and_as_a_function():
    optimizer = adamw()
    numbers = decay_budget(optimizer, steps=4, scheduler=[1.0, 0.5, 0.25, 0.25, 9.0])
    assert numbers == pytest.approx([2e-4])
    assert decay_budget(optimizer, steps=4, scheduler=lambda t: 0.5) == pytest.approx([2e-4])
    lrs, rates = group_plans(optimizer, 3)
    assert lrs.shape == rates.shape == (3, 1)


def test_a_wrapped_optimizer_and_scheduler_are_unwrapped():
    class Wrapped(torch.optim.Optimizer):
        def __init__(self, inner):
            self.optimizer = inner

        param_groups = property(lambda self: self.optimizer.param_groups)
        state = property(lambda self: self.optimizer.state)

    inner = torch.optim.Adam([weight()], lr=1e-3, weight_decay=0.1)
    assert math.isnan(intrinsic_lr(Wrapped(inner))[0])
    inner = adamw()
    schedule = torch_schedulers.StepLR(inner, 1, gamma=0.5)
    assert decay_budget(Wrapped(inner), steps=2, scheduler=schedule) == pytest.approx([1.5e-4])


def test_stats_are_flat_floats():
    row = stats([adamw(), adamw(weight_decay=0.0)])
    assert all(type(value) is float for value in row.values())
    assert row["tau/0"] == pytest.approx(1e4)
    assert row["tau/1"] == math.inf
    assert row["norm/1"] == 2.0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(steps=0), "steps must be a positive whole number, got 0"),
        (dict(steps=1.5), "steps must be a positive whole number, got 1.5"),
        (dict(steps=3, scheduler_every=0), "scheduler_every must be a positive"),
        (dict(steps=3, scheduler=[1.0, 1.0]), "the schedule has 2 factors for steps=3"),
        (dict(steps=2, scheduler=[1.0, float("nan")]), "factor at step 1 is nan"),
        (dict(steps=2, scheduler=[-1.0, 1.0]), "factor at step 0 is -1.0"),
    ],
)
def test_bad_input_is_named(options, message):
    with pytest.raises(ValueError, match=message):
        decay_budget(adamw(), **options)


def test_a_scheduler_that_needs_a_metric_is_refused_with_a_remedy():
    optimizer = adamw()
    plateau = torch_schedulers.ReduceLROnPlateau(optimizer)
    with pytest.raises(TypeError, match=r"ReduceLROnPlateau cannot run ahead.*scheduler=None"):
        decay_budget(optimizer, steps=3, scheduler=plateau)


def test_a_scheduler_that_cannot_be_copied_is_refused_with_a_remedy():
    optimizer = adamw()
    schedule = torch_schedulers.StepLR(optimizer, 1)
    schedule.stream = (n for n in range(3))
    with pytest.raises(TypeError, match=r"StepLR cannot be copied.*lr factors as a list"):
        decay_budget(optimizer, steps=3, scheduler=schedule)


def test_our_scheduler_and_tie_are_rehearsed():
    optimizer = adamw(lr=0.1)
    handle = el.tie(optimizer, "matched")
    half = torch_schedulers.LinearLR(optimizer, 1.0, 0.0, total_iters=100)
    budgets = decay_budget(optimizer, steps=100, scheduler=half)
    assert budgets[0] == pytest.approx(0.1 * 0.1 * sum((1 - t / 100) ** 2 for t in range(100)))
    assert optimizer.param_groups[0]["weight_decay"] == 0.1
    by_factors = decay_budget(optimizer, steps=100, scheduler=lambda t: 1 - t / 100)
    assert by_factors == pytest.approx(budgets)
    handle.remove()
    ours = el.Scheduler(optimizer, weight_decay=lambda t: 0.5**t)
    assert decay_budget(optimizer, steps=3, scheduler=ours) == pytest.approx([0.1 * 0.1 * 1.75])
    assert ours.ticks == 0


def test_a_feedback_rule_cannot_be_rehearsed_and_says_so():
    from etalambda.schedule import MatchedAnnealing

    optimizer = adamw()
    ours = el.Scheduler(optimizer, weight_decay=MatchedAnnealing())
    with pytest.raises(TypeError, match="Scheduler cannot run ahead"):
        decay_budget(optimizer, steps=3, scheduler=ours)


def test_real_adams():
    w = weight()
    optimizer = el.AdamS([w], lr=0.1, weight_decay=0.01)
    assert math.isnan(intrinsic_lr(optimizer)[0])
    w.grad = torch.full((4,), 2.0)
    optimizer.step()
    assert intrinsic_lr(optimizer)[0] == pytest.approx(0.1 * 0.01 / 2)
