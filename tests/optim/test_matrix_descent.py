"""torch's matrix: steps go downhill, under schedulers, in groups, and nowhere without gradients."""

from copy import deepcopy

import pytest
import torch
from torch.nn import Parameter
from torch.optim.lr_scheduler import ExponentialLR, LinearLR, ReduceLROnPlateau, StepLR

from tests.optim.matrix import every_config, optims, problem, train

pytestmark = pytest.mark.usefixtures("device")


SCHEDULERS = {
    "none": [],
    "step": [lambda o: StepLR(o, gamma=0.9, step_size=10)],
    "plateau": [lambda o: StepLR(o, gamma=0.99, step_size=10), lambda o: ReduceLROnPlateau(o)],
    "chain": [lambda o: LinearLR(o, 0.4, 0.6, 4), lambda o: ExponentialLR(o, 0.99)],
}


@optims
@pytest.mark.parametrize("contiguous", [True, False])
@pytest.mark.parametrize("schedule", SCHEDULERS)
def test_goes_right_direction(info, contiguous, schedule):
    for kwargs in every_config(info, skip=("differentiable",)):
        weight, bias, loss = problem(contiguous)
        optimizer = info.optim_cls([weight, bias], **kwargs)
        schedulers = [make(optimizer) for make in SCHEDULERS[schedule]]
        first, last = train(optimizer, loss, 20, schedulers)
        assert (last > first) if kwargs.get("maximize") else (last < first), kwargs


@optims
def test_param_group_with_lrscheduler_goes_right_direction(info):
    for kwargs in every_config(info, skip=("differentiable",)):
        weight, bias, loss = problem()
        outer = kwargs.pop("lr", 1e-3)
        groups = [dict(params=[weight]), dict(params=[bias], lr=0.01)]
        optimizer = info.optim_cls(groups, lr=outer, **kwargs)
        schedulers = [StepLR(optimizer, gamma=0.9, step_size=10)]
        first, last = train(optimizer, loss, 20, schedulers)
        assert (last > first) if kwargs.get("maximize") else (last < first), kwargs


@optims
def test_param_groups_weight_decay_and_lr(info):
    """A group at weight_decay 0 does not decay; a group at lr 1e-28 does not move."""
    for kwargs in every_config(info, skip=("differentiable",)):
        kwargs.pop("lr", None), kwargs.pop("weight_decay", None)
        free, still = Parameter(torch.ones(3).double()), Parameter(torch.ones(3).double())
        groups = [dict(params=[free], lr=0.1), dict(params=[still])]
        optimizer = info.optim_cls(groups, lr=1e-28, weight_decay=0.5, **kwargs)
        for _ in range(3):
            free.grad, still.grad = torch.ones(3).double(), torch.ones(3).double()
            optimizer.step()
        torch.testing.assert_close(still.detach(), torch.ones(3).double())
        assert (free != 1).all()


@optims
def test_step_is_noop_when_params_have_no_grad_and_for_zero_grads(info):
    for kwargs in every_config(info):
        start = torch.randn(5, 1)
        for grad in (None, torch.zeros(5, 1)):
            if grad is not None and kwargs.get("weight_decay"):
                continue  # upstream: these decay
            p = start.clone() if kwargs.get("differentiable") else Parameter(start.clone())
            optimizer = info.optim_cls([p], **deepcopy(kwargs))
            p.grad = grad
            optimizer.step(lambda: torch.tensor([1.0]))
            torch.testing.assert_close(p.detach(), start)
