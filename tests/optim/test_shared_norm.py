"""AdamS with a gradient norm from outside: the same steps, without reading the gradients."""

import pytest
import torch

from etalambda.optim import AdamS
from etalambda.optim import _adams_engines as engines
from tests.optim._drive import flat, gradients, weights

HYPER = dict(lr=0.02, betas=(0.9, 0.99), weight_decay=0.1)
CASES = {
    "one group": (dict(), False),
    "two groups": (dict(), True),
    "clipped": (dict(max_norm=0.5), True),
    "amsgrad": (dict(amsgrad=True), True),
    "forloop": (dict(foreach=False), False),
    "maximize": (dict(maximize=True), False),
}


def groups(params, split):
    if not split:
        return params
    return [dict(params=params[:2]), dict(params=params[2:], weight_decay=0.0, lr=0.01)]


def norm_of(params):
    return torch.cat([p.grad.reshape(-1) for p in params if p.grad is not None]).norm()


@pytest.mark.parametrize("case", CASES)
def test_a_norm_from_outside_gives_the_same_steps(case):
    """50 steps; some with the norm and some without, and one with a gradient missing."""
    options, split = CASES[case]
    ours, theirs = weights(), weights()
    shared = AdamS(groups(ours, split), **HYPER, **options)
    own = AdamS(groups(theirs, split), **HYPER, **options)
    for step, grads in enumerate(gradients(ours, 50)):
        for p, q, g in zip(ours, theirs, grads):
            p.grad, q.grad = g.clone(), g.clone()
        if step == 20:
            ours[1].grad = theirs[1].grad = None
        shared.step(grad_norm=None if step % 7 == 3 else norm_of(ours))
        own.step()
        torch.testing.assert_close(flat(ours), flat(theirs), rtol=1e-12, atol=1e-12)
        assert abs(shared.v_mean() / own.v_mean() - 1) < 1e-12


def test_with_the_norm_the_gradients_are_not_read_for_it(monkeypatch):
    params = weights()
    optimizer = AdamS(groups(params, True), **HYPER)
    for p in params:
        p.grad = torch.ones_like(p)
    optimizer.step(grad_norm=norm_of(params))

    def fails(grads):
        raise AssertionError("the gradients were read")

    monkeypatch.setattr(engines, "sum_of_squares", fails)
    optimizer.step(grad_norm=float(norm_of(params)))
    with pytest.raises(AssertionError):
        optimizer.step()


def test_after_clip_grad_norm_and_with_a_grad_scaler():
    ours, theirs = (weights(dtype=torch.float32) for _ in range(2))
    shared, own = (AdamS(p, **HYPER, fused=True) for p in (ours, theirs))
    for grads in gradients(ours, 20):
        for p, q, g in zip(ours, theirs, grads):
            p.grad, q.grad = g.clone(), g.clone()
        norm = torch.nn.utils.clip_grad_norm_(ours, 1.0)
        torch.nn.utils.clip_grad_norm_(theirs, 1.0)
        for p, q in zip(ours, theirs):
            p.grad.mul_(4), q.grad.mul_(4)
        for optimizer in (shared, own):
            optimizer.grad_scale, optimizer.found_inf = torch.full((), 4.0), torch.zeros(())
        shared.step(grad_norm=4 * norm.clamp(max=1.0))
        own.step()
        torch.testing.assert_close(flat(ours), flat(theirs), rtol=1e-5, atol=1e-6)


def test_a_norm_beside_a_closure_is_refused_and_none_is_left_behind():
    params = weights()
    optimizer = AdamS(params)
    with pytest.raises(ValueError, match=r"grad_norm=2.0 is of gradients that the closure"):
        optimizer.step(lambda: torch.zeros(()), grad_norm=2.0)
    optimizer.step(grad_norm=2.0)  # nobody has a gradient
    assert "_grad_norm" not in optimizer.__dict__
