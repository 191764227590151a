"""Every hook of tests/laws.py faces every law, on optimizers of several kinds."""

import copy
import io

import pytest
import torch
from torch.nn import Parameter

from etalambda.optim import AdamS
from tests.laws import HOOKS, MODELS

OPTIMIZERS = {
    "SGD": lambda ps: torch.optim.SGD(ps, lr=0.05, momentum=0.9, weight_decay=0.2),
    "AdamW": lambda ps: torch.optim.AdamW(ps, lr=0.02, weight_decay=0.2),
    "AdamW fused": lambda ps: torch.optim.AdamW(ps, lr=0.02, weight_decay=0.2, fused=True),
    "AdamS": lambda ps: AdamS(ps, lr=0.02, weight_decay=0.2),
}
every = pytest.mark.parametrize("name", HOOKS)
each_optimizer = pytest.mark.parametrize("kind", OPTIMIZERS)


def train(optimizers, closure, steps):
    for _ in range(steps):
        closure()
        for optimizer in optimizers:
            optimizer.step()


def copied(tensors):
    return [p.detach().clone() for p in tensors]


def same(ours, theirs):
    for p, q in zip(ours, theirs, strict=True):
        torch.testing.assert_close(p.detach(), q.detach(), rtol=1e-12, atol=1e-12)


def through_file(state):
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


@every
@each_optimizer
def test_resume_equals_the_straight_run(name, kind):
    net, closure = MODELS["mlp"]()
    straight = OPTIMIZERS[kind](net.parameters())
    HOOKS[name](straight)
    train([straight], closure, 10)

    half, half_closure = MODELS["mlp"]()
    first = OPTIMIZERS[kind](half.parameters())
    hook = HOOKS[name](first)
    train([first], half_closure, 5)
    saved = through_file(dict(optimizer=first.state_dict(), hook=hook.state_dict()))

    again, again_closure = MODELS["mlp"]()
    second = OPTIMIZERS[kind](again.parameters())
    hook = HOOKS[name](second)
    again.load_state_dict(half.state_dict())
    second.load_state_dict(saved["optimizer"])
    hook.load_state_dict(saved["hook"])
    train([second], again_closure, 5)
    same(again.parameters(), net.parameters())


@every
def test_the_hook_acts_and_can_be_removed(name):
    runs = []
    for hooked in (False, True):
        net, closure = MODELS["mlp"]()
        optimizer = OPTIMIZERS["SGD"](net.parameters())
        hook = HOOKS[name](optimizer) if hooked else None
        train([optimizer], closure, 6)
        runs.append(copied(net.parameters()))
        if hook is not None:
            hook.remove()
            assert not optimizer._optimizer_step_post_hooks
            assert not optimizer._optimizer_step_pre_hooks
            closure()
            bare, plain = copy.deepcopy((net, optimizer))  # copies carry no hooks
            for p, q in zip(bare.parameters(), net.parameters()):
                p.grad = q.grad.clone()
            optimizer.step(), plain.step()
            same(net.parameters(), bare.parameters())
    assert any(not torch.equal(p, q) for p, q in zip(*runs))


@every
def test_one_optimizer_or_two_one_group_or_two(name):
    """A tensor's fate does not depend on how the tensors are grouped."""
    results = []
    for split in ("whole", "groups", "optimizers"):
        net, closure = MODELS["mlp"]()
        params = list(net.parameters())
        halves = params[:2], params[2:]
        if split == "optimizers":
            found = [OPTIMIZERS["AdamW"](half) for half in halves]
        else:
            groups = [dict(params=half) for half in halves] if split == "groups" else params
            found = [OPTIMIZERS["AdamW"](groups)]
        HOOKS[name](found)
        train(found, closure, 8)
        results.append(copied(params))
    same(results[0], results[1])
    same(results[0], results[2])


@every
def test_a_group_at_zero_is_exempt(name):
    """The exempt group goes the way of the plain optimizer without decay."""
    living, exempt = (Parameter(torch.randn(4, 3).double()) for _ in range(2))
    control = Parameter(exempt.detach().clone())
    groups = [dict(params=[living]), dict(params=[exempt], weight_decay=0.0)]
    optimizer = torch.optim.AdamW(groups, lr=0.02, weight_decay=0.2)
    plain = torch.optim.AdamW([control], lr=0.02, weight_decay=0.0)
    hook = HOOKS[name](optimizer)
    for step in range(8):
        living.grad = torch.ones(4, 3).double()
        exempt.grad, control.grad = (torch.full((4, 3), step - 3.0).double() for _ in range(2))
        optimizer.step(), plain.step()
    same([exempt], [control])
    assert exempt not in hook.state


@every
def test_frozen_weights_and_missing_gradients_do_not_move(name):
    net, closure = MODELS["mlp"]()
    params = list(net.parameters())
    params[0].requires_grad_(False)
    before = copied(params)
    optimizer = OPTIMIZERS["SGD"](params)
    HOOKS[name](optimizer)
    optimizer.step()
    same(params, before)
    train([optimizer], closure, 5)
    assert torch.equal(params[0], before[0])
    assert not torch.equal(params[2], before[2])


@every
def test_zero_gradients_leave_finite_weights(name):
    w = Parameter(torch.randn(4, 3).double())
    optimizer = torch.optim.SGD([w], lr=0.1, weight_decay=0.2)
    HOOKS[name](optimizer)
    for _ in range(5):
        w.grad = torch.zeros_like(w)
        optimizer.step()
    assert torch.isfinite(w).all()


@every
def test_a_closure_works_from_the_first_step_on(name):
    results = []
    for with_closure in (False, True):
        net, closure = MODELS["mlp"]()
        optimizer = OPTIMIZERS["AdamW"](net.parameters())
        HOOKS[name](optimizer)
        for _ in range(5):
            if with_closure:
                optimizer.step(closure)
            else:
                closure(), optimizer.step()
        results.append(copied(net.parameters()))
    same(*results)


@every
def test_the_group_shows_its_decay_between_steps_and_after_a_failed_one(name):
    w = Parameter(torch.randn(4, 3).double())
    optimizer = torch.optim.SGD([w], lr=0.1, weight_decay=0.2)
    HOOKS[name](optimizer)
    w.grad = torch.ones_like(w)
    optimizer.step()
    assert optimizer.param_groups[0]["weight_decay"] == 0.2

    def fails():
        raise RuntimeError("out of data")

    with pytest.raises(RuntimeError, match="out of data"):
        optimizer.step(fails)
    optimizer.step()
    assert optimizer.param_groups[0]["weight_decay"] == 0.2


@every
@pytest.mark.parametrize("kind", ["SGD", "AdamW", "AdamS"])  # torch's fused kernels take none
def test_complex_weights_are_their_real_and_imaginary_parts(name, kind):
    real = torch.randn(3, 2, 2, dtype=torch.float64)
    whole, parts = Parameter(torch.view_as_complex(real.clone())), Parameter(real.clone())
    for p in (whole, parts):
        optimizer = OPTIMIZERS[kind]([p])
        HOOKS[name](optimizer)
        for step in range(5):
            g = torch.linspace(-1, step, 12, dtype=torch.float64).reshape(3, 2, 2)
            p.grad = torch.view_as_complex(g) if p.is_complex() else g
            optimizer.step()
    same([torch.view_as_real(whole.detach())], [parts])


@every
def test_a_skipped_step_changes_nothing(name):
    w = Parameter(torch.randn(4, 3))
    optimizer = torch.optim.AdamW([w], lr=0.1, weight_decay=0.2, fused=True)
    hook = HOOKS[name](optimizer)
    before, state = w.detach().clone(), hook.state_dict()
    w.grad = torch.full_like(w, torch.inf)
    optimizer.grad_scale, optimizer.found_inf = torch.ones(()), torch.ones(())
    optimizer.step()
    assert torch.equal(w, before)
    assert hook.state_dict() == state


@every
def test_errors(name):
    with pytest.raises(TypeError, match="optimizers must be torch optimizers, got Linear"):
        HOOKS[name](torch.nn.Linear(1, 1))
    w, half = Parameter(torch.randn(4, 3)), Parameter(torch.randn(2, 3))
    optimizer, other = (torch.optim.SGD([p], lr=0.1, weight_decay=0.2) for p in (w, half))
    hook, state = HOOKS[name](optimizer), HOOKS[name](other).state_dict()
    with pytest.raises(ValueError, match=r"saved for tensors of \[6\] elements.* have \[12\]"):
        hook.load_state_dict(state)
