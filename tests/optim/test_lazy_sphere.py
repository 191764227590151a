"""The lazy sphere equals the eager one, step for step, on losses that are homogeneous."""

import math

import pytest
import torch
from torch.nn import Parameter

from etalambda.optim import SGDW, AdamS, cautious_decay, keep_on_sphere, lazy_sphere
from tests.optim._drive import flat

SHAPES = ((4, 3), (5,))


def spin_glass(params):
    """A cubic form: degree 3 in all weights together."""
    x = torch.cat([p.reshape(-1) for p in params])
    generator = torch.Generator().manual_seed(1)
    couplings = torch.randn(17, 17, 17, generator=generator, dtype=torch.float64).to(x.dtype)
    return torch.einsum("ijk,i,j,k", couplings, x, x, x) / 17


def invariant(params):
    """Degree 0 in each tensor: what a normalization layer makes of the weights before it."""
    units = [p / p.norm() for p in params]
    return sum((u.reshape(-1) * torch.arange(u.numel()).to(u.dtype)).cos().sum() for u in units)


LOSSES = {"spin glass": (spin_glass, 3), "scale invariant": (invariant, 0)}
MAKE = {
    "SGD": lambda ps: torch.optim.SGD(ps, lr=0.01, weight_decay=0.5),
    "SGDW": lambda ps: SGDW(ps, lr=0.01, weight_decay=0.5),
    "AdamW": lambda ps: torch.optim.AdamW(ps, lr=0.01, weight_decay=0.5),
    "AdamW fused": lambda ps: torch.optim.AdamW(ps, lr=0.01, weight_decay=0.5, fused=True),
    "AdamS power 0": lambda ps: AdamS(ps, lr=0.01, weight_decay=0.5, power=0),
}


def start(dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    return [Parameter(torch.randn(s, generator=generator).double().to(dtype)) for s in SHAPES]


def descend(optimizer, params, loss, steps, closure=False):
    def gradients():
        optimizer.zero_grad()
        value = loss(params)
        value.backward()
        return value

    for _ in range(steps):
        if closure:
            optimizer.step(gradients)
        else:
            gradients(), optimizer.step()


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("name", MAKE)
def test_lazy_is_eager(name, loss):
    function, degree = LOSSES[loss]
    eager, lazy = start(), start()
    optimizers = MAKE[name](eager), MAKE[name](lazy)
    keep_on_sphere(optimizers[0], eager)
    handle = lazy_sphere(optimizers[1], lazy, degree=degree)
    assert handle.radii == [math.sqrt(17)]
    for optimizer, params in zip(optimizers, (eager, lazy)):
        descend(optimizer, params, function, 30)
    assert abs(flat(lazy).norm().item() - math.sqrt(17)) > 1e-4  # one step off, by design
    handle.project_()
    torch.testing.assert_close(flat(lazy), flat(eager), rtol=1e-14, atol=1e-14)
    assert optimizers[1].param_groups[0]["weight_decay"] == 0.5


def test_tensor_by_tensor_with_others_off_the_sphere():
    eager, lazy = start(), start()
    extra = [Parameter(torch.ones(2).double()) for _ in range(2)]
    runs = []
    for params, free in zip((eager, lazy), extra):
        groups = [dict(params=[p]) for p in params] + [dict(params=[free], weight_decay=0.1)]
        optimizer = torch.optim.AdamW(groups, lr=0.02, weight_decay=0.5)
        runs.append((optimizer, params, free))
    keep_on_sphere(runs[0][0], eager, "initial", per="tensor")
    handle = lazy_sphere(runs[1][0], lazy, "initial", per="tensor", degree=0)
    for optimizer, params, free in runs:
        descend(optimizer, params, lambda ps, f=free: invariant(ps) + (f**2).sum(), 30)
    handle.project_()
    torch.testing.assert_close(flat(lazy), flat(eager), rtol=1e-14, atol=1e-14)
    assert torch.equal(*extra)


@pytest.mark.parametrize("case", ["closure", "missing gradient", "lr 0"])
def test_what_the_step_cannot_carry_is_projected_at_once(case):
    eager, lazy = start(), start()
    optimizers = MAKE["AdamW"](eager), MAKE["AdamW"](lazy)
    keep_on_sphere(optimizers[0], eager)
    handle = lazy_sphere(optimizers[1], lazy, degree=3)
    for optimizer, params in zip(optimizers, (eager, lazy)):
        descend(optimizer, params, spin_glass, 3)
        if case == "lr 0":
            optimizer.param_groups[0]["lr"] = 0.0
        if case == "missing gradient":
            optimizer.zero_grad(), spin_glass(params).backward()
            params[1].grad = None
            optimizer.step()
        descend(optimizer, params, spin_glass, 3, closure=case == "closure")
    handle.project_()
    torch.testing.assert_close(flat(lazy), flat(eager), rtol=1e-13, atol=1e-13)


def test_float32_and_a_grad_scaler_s_scale():
    """The fused kernel multiplies the gradients; a scale that is there already stays in force."""
    eager, lazy = start(torch.float32), start(torch.float32)
    optimizers = MAKE["AdamW fused"](eager), MAKE["AdamW fused"](lazy)
    keep_on_sphere(optimizers[0], eager)
    handle = lazy_sphere(optimizers[1], lazy, degree=3)
    optimizers[1].grad_scale, optimizers[1].found_inf = torch.full((), 8.0), torch.zeros(())
    descend(optimizers[0], eager, spin_glass, 5)
    descend(optimizers[1], lazy, lambda ps: 8 * spin_glass(ps), 5)
    assert optimizers[1].grad_scale == 8
    handle.remove()
    torch.testing.assert_close(flat(lazy), flat(eager), rtol=1e-5, atol=1e-5)
    assert not optimizers[1]._optimizer_step_pre_hooks


def test_resume_equals_the_straight_run():
    """Saved one step off the sphere, loaded into a hook that was set on other weights."""
    straight, half, again = start(), start(), [Parameter(torch.randn(s).double()) for s in SHAPES]
    first = MAKE["AdamW"](straight)
    lazy_sphere(first, straight, "initial", degree=3)
    descend(first, straight, spin_glass, 10)
    second = MAKE["AdamW"](half)
    saved = lazy_sphere(second, half, "initial", degree=3)
    descend(second, half, spin_glass, 5)
    third = MAKE["AdamW"](again)
    hook = lazy_sphere(third, again, "initial", degree=3)
    hook.load_state_dict(saved.state_dict())
    third.load_state_dict(second.state_dict())
    with torch.no_grad():
        for p, q in zip(again, half):
            p.copy_(q)
    descend(third, again, spin_glass, 5)
    torch.testing.assert_close(flat(again), flat(straight), rtol=1e-14, atol=1e-14)
    with pytest.raises(ValueError, match="state_dict has 2 radii for 1 spheres"):
        hook.load_state_dict({**saved.state_dict(), "radii": [1.0, 1.0]})


def test_weights_of_norm_0_are_named_before_anything_changes():
    params = start()
    optimizer = MAKE["SGD"](params)
    lazy_sphere(optimizer, params, degree=3)
    with torch.no_grad():
        for p in params:
            p.zero_(), setattr(p, "grad", torch.ones_like(p))
    with pytest.raises(ValueError, match=r"params have norm 0.0, which has no direction"):
        optimizer.step()
    assert optimizer.param_groups[0]["weight_decay"] == 0.5


def test_refusals():
    params = start()
    for optimizer in (
        torch.optim.SGD(params, momentum=0.9),
        torch.optim.Adam(params),
        AdamS(params),
    ):
        with pytest.raises(ValueError, match=r"and (SGD|Adam|AdamS) is none; use keep_on_sphere"):
            lazy_sphere(optimizer, params, degree=0)
    adamw = MAKE["AdamW"](params)
    with pytest.raises(ValueError, match="param group 0 has tensors on different spheres"):
        lazy_sphere(adamw, params, degree=0, per="tensor")
    with pytest.raises(ValueError, match="param group 0 has tensors on different spheres"):
        lazy_sphere(adamw, params[:1], degree=0)
    cautious = cautious_decay(adamw)
    with pytest.raises(ValueError, match="has its decay from Cautious already"):
        lazy_sphere(adamw, params, degree=0)
    cautious.remove()
    handle = lazy_sphere(adamw, params, degree=0)
    adamw.param_groups[0]["weight_decay"] = 200.0
    before = flat(params).clone()
    with pytest.raises(ValueError, match=r"lr \* weight_decay must lie in \[0, 1\)"):
        descend(adamw, params, invariant, 1)
    assert torch.equal(flat(params), before)
    assert adamw.param_groups[0]["weight_decay"] == 200.0
    handle.remove()
