"""torch's own law for optimizers, restated over its OptimizerInfo entries for our classes.

Each test restates the upstream test of the same name (test/test_optim.py, TestOptimRenewed), on
the CPU, and on CUDA where there is one; the inputs and the error inputs are torch's.
"""

import contextlib
import pickle
import warnings
from copy import deepcopy

import pytest
import torch
from torch.nn import Parameter
from torch.optim.lr_scheduler import ExponentialLR, LinearLR, ReduceLROnPlateau, StepLR

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


@pytest.fixture(params=DEVICES, autouse=True)
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


def implementations(info, flag, dtype, complex_=False):
    """Seven steps with ``flag`` off and on: a 0-d weight, a layer frozen at steps 3 and 4, no
    gradients at all at step 2; weights and state after each step."""
    for config in info.optim_inputs_func(here(), dtype):
        tracks = []
        for value in (False, True):
            torch.manual_seed(1)
            kind = torch.complex128 if complex_ else dtype
            params = [torch.randn(s, dtype=torch.float64).to(kind) for s in ((5, 4), (4,), ())]
            params = [Parameter(p) for p in params]
            kwargs = deepcopy(config.kwargs)
            if flag == "foreach" and isinstance(kwargs.get("lr"), torch.Tensor):
                kwargs["lr"] = kwargs["lr"].item()
            optimizer, track = info.optim_cls(params, **kwargs, **{flag: value}), []
            for step in range(7):
                for index, p in enumerate(params):
                    g = torch.randn(p.shape, dtype=torch.float64).to(kind)
                    frozen = step == 2 or (index == 1 and step in (3, 4))
                    p.grad = None if frozen else g
                optimizer.step()
                track += [p.detach().clone() for p in params]
                for p in params:
                    state = optimizer.state.get(p, {})
                    track += [state[k].clone() for k in sorted(state)]
            tracks.append(track)
        yield config, tracks


@optims
@pytest.mark.parametrize("complex_", [False, True])
def test_foreach_matches_forloop(info, complex_):
    for config, (off, on) in implementations(info, "foreach", torch.float64, complex_):
        torch.testing.assert_close(off, on, rtol=1e-12, atol=1e-12, msg=str(config))


@optims
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_fused_matches_forloop(info, dtype):
    if "fused" not in info.supported_impls:
        pytest.skip("no fused kernel exists")
    low = dtype in (torch.float16, torch.bfloat16)
    options = dict(rtol=5e-3, atol=5e-3) if low else {}
    for config, (off, on) in implementations(info, "fused", dtype):
        torch.testing.assert_close(off, on, msg=str(config), **options)


@optims
def test_complex_is_its_real_view(info):
    """Real and imaginary parts count as two elements, in v̄ too."""
    for kwargs in every_config(info, skip=("differentiable",)):
        torch.manual_seed(2)
        z = Parameter(torch.randn(4, 3, dtype=torch.complex128))
        x = Parameter(torch.view_as_real(z).detach().clone())
        other = [Parameter(torch.ones(2).double()) for _ in range(2)]
        pair = [info.optim_cls([p, q], **deepcopy(kwargs)) for p, q in zip((z, x), other)]
        for _ in range(5):
            z.grad = torch.randn(4, 3, dtype=torch.complex128)
            x.grad = torch.view_as_real(z.grad).clone()
            for q in other:
                q.grad = torch.ones(2).double()
            for optimizer in pair:
                optimizer.step()
            torch.testing.assert_close(torch.view_as_real(z.detach()), x.detach())


@optims
def test_mixed_dtype(info):
    """Four dtypes in one optimizer step as one."""
    for kwargs in every_config(info, skip=("differentiable",)):
        kwargs["eps"] = 0.1
        if issubclass(info.optim_cls, SGDW):
            kwargs.pop("eps")
        results = []
        for dtypes in ([torch.float64] * 4, [torch.float64, torch.float32, torch.float16] * 2):
            torch.manual_seed(3)
            params = [Parameter(torch.randn(6).double().to(d)) for d in dtypes[:4]]
            optimizer = info.optim_cls(params, **deepcopy(kwargs))
            for _ in range(5):
                for p in params:
                    p.grad = torch.randn(6).double().to(p.dtype)
                optimizer.step()
            results.append([p.detach().double() for p in params])
        torch.testing.assert_close(*results, rtol=2e-2, atol=2e-2)


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
def test_fused_does_not_step_if_foundinf(info):
    if "fused" not in info.supported_impls:
        pytest.skip("no fused kernel exists")
    for config in info.optim_inputs_func(here()):
        for scale in (None, torch.ones(1)):
            params = [Parameter(torch.ones(1)) for _ in range(5)]
            optimizer = info.optim_cls(params, **deepcopy(config.kwargs), fused=True)
            optimizer.grad_scale, optimizer.found_inf = scale, torch.ones(())
            for p in params:
                p.grad = torch.ones(1)
            optimizer.step()
            assert all(torch.equal(p.detach(), torch.ones(1)) for p in params)
            assert all(optimizer.state[p].get("step", 0) == 0 for p in params)


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


def stepped(info, kwargs, named=False, steps=3):
    """An optimizer after some steps, its loss and its parameters."""
    weight, bias, loss = problem()
    params = [("weight", weight), ("bias", bias)] if named else [weight, bias]
    optimizer = info.optim_cls(params, **deepcopy(kwargs))
    train(optimizer, loss, steps)
    return optimizer, (weight, bias), loss


@optims
@pytest.mark.parametrize("named", [(False, False), (False, True), (True, False), (True, True)])
def test_state_dict_deterministic(info, named):
    for kwargs in every_config(info, skip=("differentiable",)):
        first, params, loss = stepped(info, kwargs, named[0])
        twins = [Parameter(p.detach().clone()) for p in params]
        groups = [("weight", twins[0]), ("bias", twins[1])] if named[1] else twins
        second = info.optim_cls(groups, **deepcopy(kwargs))
        second.load_state_dict(deepcopy(first.state_dict()))
        for _ in range(5):
            train(first, loss, 1)
            for p, q in zip(params, twins):
                q.grad = p.grad.clone()
            # the closure of `train` left the gradients of the last point; step once more on both
            first.step(), second.step()
            for p, q in zip(params, twins):
                q.data.copy_(p.data)
        assert first.state_dict()["param_groups"][0].keys() >= set(kwargs)


@optims
def test_can_load_older_state_dict(info):
    """Flags that older versions did not have are back-filled."""
    for kwargs in every_config(info, skip=("differentiable",)):
        optimizer, _, loss = stepped(info, kwargs)
        saved = deepcopy(optimizer.state_dict())
        for group in saved["param_groups"]:
            for flag in info.not_og_supported_flags:
                group.pop(flag, None)
        optimizer.load_state_dict(saved)
        for group in optimizer.param_groups:
            assert set(kwargs) <= set(group)
        train(optimizer, loss, 2)


@optims
def test_save_load_equality_with_weights_only(info, tmp_path):
    for kwargs in every_config(info, skip=("differentiable",)):
        optimizer, _, _ = stepped(info, kwargs)
        saved = optimizer.state_dict()
        torch.save(saved, tmp_path / "state.pt")
        loaded = torch.load(tmp_path / "state.pt", weights_only=True)
        torch.testing.assert_close(loaded["state"], saved["state"])
        assert str(loaded["param_groups"]) == str(saved["param_groups"])


@optims
def test_load_nontensor_step(info):
    for kwargs in every_config(info, skip=("differentiable",)):
        optimizer, params, loss = stepped(info, kwargs)
        for p in params:
            if "step" in optimizer.state[p]:
                optimizer.state[p]["step"] = optimizer.state[p]["step"].item()
        optimizer.load_state_dict(optimizer.state_dict())
        for p in params:
            assert isinstance(optimizer.state[p].get("step", torch.ones(())), torch.Tensor)
        train(optimizer, loss, 1)


@optims
def test_hooks(info):
    """Step hooks and the four state-dict hooks run, and may change what they are given."""
    seen = []
    for kwargs in every_config(info, skip=("differentiable",)):
        optimizer, _, loss = stepped(info, kwargs)
        optimizer.register_step_pre_hook(lambda *_: seen.append("pre"))
        optimizer.register_step_post_hook(lambda *_: seen.append("post"))
        optimizer.register_state_dict_pre_hook(lambda *_: seen.append("save pre"))
        optimizer.register_state_dict_post_hook(lambda _, s: {**s, "extra": 1})
        optimizer.register_load_state_dict_pre_hook(lambda _, s: seen.append(s["extra"]))
        optimizer.register_load_state_dict_post_hook(lambda _: seen.append("load post"))
        seen.clear()
        train(optimizer, loss, 1)
        optimizer.load_state_dict(optimizer.state_dict())
        assert seen == ["pre", "post", "save pre", 1, "load post"]


@optims
def test_deepcopy_pickle_and_print(info):
    """Nothing public but defaults, state and param_groups; copies step on their own."""
    for kwargs in every_config(info, skip=("differentiable",)):
        optimizer, _, _ = stepped(info, kwargs)
        assert "Parameter Group 0" in str(optimizer)
        public = {k for k in vars(optimizer) if not k.startswith("_")}
        assert public == {"defaults", "state", "param_groups"}
        for copy_ in (deepcopy(optimizer), pickle.loads(pickle.dumps(optimizer))):
            assert {k for k in vars(copy_) if not k.startswith("_")} == public
            for group in copy_.param_groups:
                for p in group["params"]:
                    p.grad = torch.ones_like(p)
            copy_.step()


@optims
def test_non_empty_state(info):
    """An entry of ``state`` is never empty."""
    for kwargs in every_config(info, skip=("differentiable",)):
        optimizer, _, _ = stepped(info, kwargs)
        assert all(len(state) > 0 for state in optimizer.state.values())


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
