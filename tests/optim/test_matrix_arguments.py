"""torch's matrix: constructor arguments, tensor hyperparameters, and their errors."""

import warnings
from copy import deepcopy

import pytest
import torch
from torch.nn import Parameter

from etalambda.optim import SGDW
from tests.optim.matrix import every_config, here, optims, problem, train

pytestmark = pytest.mark.usefixtures("device")


@optims
def test_errors(info):
    for case in info.optim_error_inputs_func(here(), torch.float32):
        config = case.optimizer_error_input
        params = config.params if config.params is not None else [Parameter(torch.randn(2, 3))]
        if issubclass(case.error_type, Warning):
            with pytest.warns(case.error_type, match=case.error_regex):
                info.optim_cls(params, **config.kwargs)
        else:
            with pytest.raises(case.error_type, match=case.error_regex):
                info.optim_cls(params, **config.kwargs)


def refuses_tensor_lr(info):
    """As in torch: Adam's foreach does, SGD's does not."""
    return not issubclass(info.optim_cls, SGDW)


@optims
@pytest.mark.parametrize("dims", [0, 1, 2])
def test_tensor_lr(info, dims):
    for kwargs in every_config(info, skip=("differentiable",)):
        kwargs.pop("lr", None)
        results = []
        for lr in (1e-3, torch.full((1,) * dims, 1e-3, dtype=torch.float64)):
            weight, bias, loss = problem()
            if isinstance(lr, torch.Tensor) and kwargs.get("foreach") and refuses_tensor_lr(info):
                with pytest.raises(ValueError, match="lr as a Tensor is not supported"):
                    info.optim_cls([weight, bias], lr=lr, **kwargs)
                break
            train(info.optim_cls([weight, bias], lr=lr, **kwargs), loss)
            results.append(torch.cat([weight.flatten(), bias]))
        else:
            torch.testing.assert_close(*results)


@optims
def test_set_default_dtype(info):
    old = torch.get_default_dtype()
    for kwargs in every_config(info, skip=("differentiable",)):
        for dtype in (torch.float64, torch.float32):
            torch.set_default_dtype(dtype)
            try:
                p = Parameter(torch.ones(2))
                optimizer = info.optim_cls([p], **deepcopy(kwargs))
                p.grad = torch.ones(2)
                optimizer.step()
                step = optimizer.state.get(p, {}).get("step")
                wide = dtype == torch.float64 and not kwargs.get("fused")
                assert step is None or step.dtype == (torch.float64 if wide else torch.float32)
            finally:
                torch.set_default_dtype(old)


@optims
def test_fused_error_on_params_on_meta(info):
    if "fused" not in info.supported_impls:
        pytest.skip("no fused kernel exists")
    p = Parameter(torch.empty(3, device="meta"))
    p.grad = torch.empty_like(p)
    with pytest.raises(RuntimeError, match="`fused=True` requires all the params to be floating"):
        info.optim_cls([p], lr=1e-3, fused=True).step()


@optims
@pytest.mark.parametrize("name", ["lr", "weight_decay"])
def test_differentiable(info, name):
    """Gradients through a step, also with respect to a 0-d tensor lr and weight_decay."""

    def after(p, g, value):
        q = p.clone()
        q.grad = g.clone()
        hyper = dict(lr=0.1, weight_decay=0.2) | {name: value}
        if issubclass(info.optim_cls, SGDW):
            hyper["momentum"] = 0.9
        optimizer = info.optim_cls([q], differentiable=True, **hyper)
        for _ in range(2):
            optimizer.step()
        return q

    torch.manual_seed(4)
    p, g = (torch.randn(4, dtype=torch.float64, requires_grad=True) for _ in range(2))
    value = torch.tensor(0.1, dtype=torch.float64, requires_grad=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # gradients of gradients that no leaf needs
        assert torch.autograd.gradcheck(after, (p, g, value))
