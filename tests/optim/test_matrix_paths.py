"""torch's matrix: every implementation of a step is the same step."""

from copy import deepcopy

import pytest
import torch
from torch.nn import Parameter

from etalambda.optim import SGDW
from tests.optim.matrix import every_config, here, optims

pytestmark = pytest.mark.usefixtures("device")


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
