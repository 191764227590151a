"""Adai and AdaiS against the paper, in every backend."""

import copy

import pytest
import torch
from torch.nn import Parameter

from etalambda.optim import Adai, AdaiS, _adai_engines, functional
from tests.optim._drive import agree, flat, flat_gradients, gradients, run, weights
from tests.reference import optimizers as paper

BACKENDS = {
    "default": dict(),
    "forloop": dict(foreach=False),
    "foreach": dict(foreach=True),
    "capturable": dict(capturable=True),
    "tensor lr": dict(lr=torch.tensor(0.05, dtype=torch.float64)),
}
backends = pytest.mark.parametrize("backend", BACKENDS)
classes = pytest.mark.parametrize(("cls", "rule"), [(Adai, paper.adai), (AdaiS, paper.adais)])
HYPER = dict(lr=0.05, betas=(0.1, 0.99), eps=1e-3, weight_decay=0.2)


@backends
@classes
def test_follows_the_paper(backend, cls, rule):
    """L2 reads θ, so the reference gets gradients that ignore it and adds λθ itself."""
    params = weights()
    optimizer = cls(params, **HYPER | BACKENDS[backend])
    theirs = rule(flat(params), flat_gradients(params, 60), 0.05, 0.1, 0.99, 1e-3, 0.2)
    agree(run(optimizer, params), theirs)


@classes
def test_pure_rule_is_the_class(cls, rule):
    params, theirs = weights(), [p.detach() for p in weights()]
    name = cls.__name__.lower()
    optimizer, state = cls(params, **HYPER), functional.init(name, theirs)
    for grads, ours in zip(gradients(params, 60), run(optimizer, params)):
        theirs, state = functional.RULES[name](theirs, grads, state, **HYPER)
        torch.testing.assert_close(ours, flat(theirs), rtol=1e-12, atol=1e-12)


@backends
@classes
def test_first_step_is_sgd(backend, cls, rule):
    """The first m̂ is the gradient, whatever the inertia."""
    params = weights()
    optimizer = cls(params, **HYPER | BACKENDS[backend] | dict(weight_decay=0.0))
    start, (grads,) = flat(params).clone(), list(gradients(params, 1))
    next(run(optimizer, params, 1))
    torch.testing.assert_close(flat(params), start - 0.05 * flat(grads), rtol=1e-12, atol=1e-12)


@backends
@classes
def test_zero_gradients_are_finite(backend, cls, rule):
    p = Parameter(torch.ones(4))
    optimizer = cls([p], **(HYPER | BACKENDS[backend] | dict(weight_decay=0.0)))
    for _ in range(3):
        p.grad = torch.zeros(4)
        optimizer.step()
    assert torch.equal(p.detach(), torch.ones(4))
    p.grad = None
    optimizer.step()


@classes
def test_gradients_are_not_touched(cls, rule):
    p = Parameter(torch.ones(4))
    p.grad = torch.arange(4.0)
    cls([p], **HYPER).step()
    assert torch.equal(p.grad, torch.arange(4.0))


@backends
@classes
@pytest.mark.parametrize("maximize", [False, True])
def test_resumed_equals_straight(backend, cls, rule, maximize):
    params = weights()
    optimizer = cls(params, **HYPER | BACKENDS[backend], maximize=maximize)
    list(run(optimizer, params, 5))
    resumed = [Parameter(p.detach().clone()) for p in params]
    second = cls(resumed)
    second.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for ours, theirs in zip(run(optimizer, params, 5, seed=2), run(second, resumed, 5, seed=2)):
        assert torch.equal(ours, theirs)


@classes
def test_maximize_is_the_negative(cls, rule):
    up, down = weights(), weights()
    climb = run(cls(up, **HYPER | dict(weight_decay=0.0), maximize=True), up, 9)
    descend = run(cls(down, **HYPER | dict(weight_decay=0.0)), down, 9)
    for a, b in zip(climb, descend):
        torch.testing.assert_close(a + b, 2 * flat(weights()), rtol=1e-12, atol=1e-12)


def test_fused_is_refused_with_the_reason():
    with pytest.raises(ValueError, match="fused=True got no kernel: torch has none for AdaiS"):
        AdaiS([Parameter(torch.ones(1))], fused=True)


@classes
def test_no_memory_of_v(cls, rule):
    """β2 = 0: v is the last g²."""
    ours, theirs = weights(), weights()
    options = HYPER | dict(betas=(0.5, 0.0))
    agree(run(cls(ours, **options), ours), run(cls(theirs, **options, foreach=False), theirs))


def test_a_spent_product_of_inertias_is_retired(monkeypatch):
    """Πβ1 below 2^-54 (float64): the step is the same without it, and it is noticed if it lives."""
    monkeypatch.setattr(_adai_engines, "SPENT_EVERY", 50)
    ours, theirs = weights(shapes=((3, 2), (0,))), weights(shapes=((3, 2), (0,)))
    options = dict(lr=0.01, betas=(0.5, 0.9), eps=0.3, weight_decay=0.1)
    blocked, pure = AdaiS(ours, **options), AdaiS(theirs, **options, foreach=False)
    agree(run(blocked, ours, 210), run(pure, theirs, 210))
    product = blocked.state[ours[0]]["beta1_prod"]
    assert torch.equal(product, torch.zeros_like(product))
    assert blocked._spent()[product] == product._version
    assert pure.state[theirs[0]]["beta1_prod"].max() < 2**-54
    twin = copy.deepcopy(blocked)
    assert len(twin._spent()) == 1
    for optimizer, params in ((blocked, ours), (pure, theirs)):
        optimizer.state[params[0]]["beta1_prod"].fill_(0.5)
    agree(run(blocked, ours, 20, seed=5), run(pure, theirs, 20, seed=5))
    blocked.load_state_dict(blocked.state_dict())
    assert not blocked._spent()


@classes
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(cls, rule, dtype):
    """bfloat16 has nothing between 1 - ε and 1, so 1 - Πβ1 would be 0."""
    results = []
    for flags in (dict(foreach=False), {}, dict(foreach=True), dict(capturable=True)):
        params = weights(dtype=dtype, shapes=((3, 4), (), (0,), (500,)))
        results.append(list(run(cls(params, lr=1e-3, weight_decay=0.05, **flags), params, 10))[-1])
        assert results[-1].isfinite().all()
        assert torch.equal(results[-1], results[0]), flags
