"""torch's own law for optimizers, restated over its OptimizerInfo entries for our classes.

Each test of test_matrix_*.py restates the upstream test of the same name (test/test_optim.py,
TestOptimRenewed), on the CPU, and on CUDA where there is one; inputs and error inputs are torch's.
"""

import contextlib
from copy import deepcopy

import pytest
import torch
from torch.nn import Parameter
from torch.optim.lr_scheduler import ReduceLROnPlateau

from etalambda.optim import SGDS, SGDW, Adai, AdaiS, AdamS

common = pytest.importorskip("torch.testing._internal.common_optimizers")

NEW = ("foreach", "differentiable", "fused", "maximize", "capturable")


def _info(cls, inputs, errors, impls):
    return common.OptimizerInfo(
        cls,
        optim_inputs_func=inputs,
        optim_error_inputs_func=errors,
        supported_impls=impls,
        not_og_supported_flags=NEW,
        supports_fused_on=("cpu", "cuda") if "fused" in impls else (),
    )


def _without_amsgrad(device, dtype=None):
    for config in common.optim_inputs_func_adam(device, dtype):
        config.kwargs.pop("amsgrad", None)
        yield config


ADAM = (common.optim_inputs_func_adam, common.optim_error_inputs_func_adam)
SGD = (common.optim_inputs_func_sgd, common.optim_error_inputs_func_sgd)
ADAI = (lambda d, t=None: list(_without_amsgrad(d, t)), common.optim_error_inputs_func_adam)
ALL = ("foreach", "differentiable", "fused")
INFOS = [
    _info(AdamS, *ADAM, ALL),
    _info(SGDS, *SGD, ALL),
    _info(SGDW, *SGD, ALL),
    _info(Adai, *ADAI, ALL[:2]),
    _info(AdaiS, *ADAI, ALL[:2]),
]
DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


@pytest.fixture(params=DEVICES)
def device(request):
    """Every tensor of a test is made here."""
    with torch.device(request.param) if request.param != "cpu" else contextlib.nullcontext():
        yield request.param


def here():
    return torch.empty(()).device.type


optims = pytest.mark.parametrize("info", INFOS, ids=[i.optim_cls.__name__ for i in INFOS])


def every_config(info, skip=()):
    return [
        deepcopy(c.kwargs)
        for c in common._get_optim_inputs_including_global_cliquey_kwargs(here(), None, info, skip)
    ]


def problem(contiguous=True, dtype=torch.float64):
    """Upstream's: ten weights and five biases against a target of ones."""
    torch.manual_seed(0)
    weight = Parameter(torch.randn((10, 5), dtype=dtype))
    bias = Parameter(torch.randn(10, dtype=dtype))
    if not contiguous:
        weight = Parameter(torch.randn((10, 5, 2), dtype=dtype)[..., 0])
        bias = Parameter(torch.randn((10, 2), dtype=dtype)[..., 0])
    x = torch.randn(5, dtype=dtype)
    return weight, bias, lambda: (weight.mv(x) + bias).pow(2).sum()


def train(optimizer, loss, steps=5, schedulers=()):
    def closure():
        optimizer.zero_grad()
        value = loss()
        value.backward()
        return value

    first = closure().item()
    for _ in range(steps):
        value = optimizer.step(closure)
        for scheduler in schedulers:
            if isinstance(scheduler, ReduceLROnPlateau):
                scheduler.step(value.item())
            else:
                scheduler.step()
    return first, loss().item()
