"""Decay hooks: stable decay against AdamS, cautious and L1 decay against their formulas."""

import pytest
import torch
from torch.nn import Parameter

from etalambda.optim import SGDW, AdamS, cautious_decay, l1_decay, stable_decay
from tests.optim._drive import agree, flat, run, weights


@pytest.mark.parametrize("amsgrad", [False, True])
@pytest.mark.parametrize("power", [0.0, 0.5])
def test_stable_decay_on_adam_is_adams(amsgrad, power):
    options = dict(lr=0.02, betas=(0.9, 0.99), weight_decay=0.1, amsgrad=amsgrad)
    ours, theirs = weights(), weights()
    adam = torch.optim.Adam(ours, **options)
    stable_decay(adam, power)
    agree(run(adam, ours), run(AdamS(theirs, **options, power=power), theirs))
    assert adam.param_groups[0]["weight_decay"] == 0.1


@pytest.mark.parametrize("cls", [torch.optim.NAdam, torch.optim.RAdam, torch.optim.AdamW])
def test_stable_decay_takes_over_from_other_optimizers(cls):
    params, control = weights(), weights()
    optimizer, plain = cls(params, lr=0.01, weight_decay=0.1), cls(control, lr=0.01, weight_decay=0)
    handle = stable_decay(optimizer)
    start = flat(params).clone()
    ours, theirs = next(run(optimizer, params, 1)), next(run(plain, control, 1))
    v_hat = flat([s["exp_avg_sq"] for s in optimizer.state.values()]) / (1 - 0.999)
    torch.testing.assert_close(ours, theirs - 0.01 * 0.1 * v_hat.mean() ** -0.5 * start)
    handle.remove()
    assert not optimizer._optimizer_step_post_hooks
    assert optimizer.param_groups[0]["weight_decay"] == 0.1


@pytest.mark.parametrize("name", ["AdaBound", "Yogi", "PAdam"])
def test_stable_decay_takes_over_from_pytorch_optimizer_s(name):
    """Their counter is the group's; their own decay, were it taken, would stand in the way."""
    cls = getattr(pytest.importorskip("pytorch_optimizer"), name)
    params, control = weights(), weights()
    optimizer, plain = cls(params, lr=0.01, weight_decay=0.1), cls(control, lr=0.01)
    stable_decay(optimizer)
    expected = None
    for step, (ours, theirs) in enumerate(
        zip(run(optimizer, params, 5), run(plain, control, 5)), 1
    ):
        before = flat(weights()) if expected is None else expected
        v_hat = flat([s["exp_avg_sq"] for s in optimizer.state.values()]) / (1 - 0.999**step)
        expected = theirs - 0.01 * 0.1 * v_hat.mean() ** -0.5 * before
        torch.testing.assert_close(ours, expected, rtol=1e-12, atol=1e-12)
        for q, p in zip(control, params):  # both take the next step from here
            q.data.copy_(p.data)


def test_stable_decay_takes_complex_weights_as_two():
    real = torch.randn(3, 2, 2).double()
    whole, parts = Parameter(torch.view_as_complex(real.clone())), Parameter(real.clone())
    for p in (whole, parts):
        optimizer = torch.optim.Adam([p], lr=0.02, weight_decay=0.1)
        stable_decay(optimizer)
        for step in range(1, 5):
            g = torch.linspace(-1, step, 12).double().reshape(3, 2, 2)
            p.grad = torch.view_as_complex(g) if p.is_complex() else g
            optimizer.step()
    torch.testing.assert_close(torch.view_as_real(whole.detach()), parts.detach())


def test_stable_decay_needs_second_moments():
    with pytest.raises(ValueError, match="stable_decay needs betas and exp_avg_sq, and SGD has"):
        stable_decay(torch.optim.SGD(weights()))
    with pytest.raises(ValueError, match="power must be at least 0, got -1"):
        stable_decay(torch.optim.Adam(weights()), power=-1)


MAKERS = {
    "SGD": lambda ps, w: torch.optim.SGD(ps, lr=0.05, momentum=0.9, weight_decay=w),
    "AdamW": lambda ps, w: torch.optim.AdamW(ps, lr=0.05, weight_decay=w),
    "AdamS": lambda ps, w: AdamS(ps, lr=0.05, weight_decay=w),
    "SGDW": lambda ps, w: SGDW(ps, lr=0.05, momentum=0.9, weight_decay=w),
}


@pytest.mark.parametrize("name", MAKERS)
def test_cautious_decay_masks_the_decay(name):
    """θ - u - η λ 1[u θ > 0] θ, with u the step that the optimizer makes at λ = 0."""
    params, control = weights(), weights()
    optimizer, plain = MAKERS[name](params, 0.4), MAKERS[name](control, 0.0)
    cautious_decay(optimizer)
    for seed in range(2, 7):
        start = flat(params).clone()
        with torch.no_grad():
            for p, q in zip(params, control):
                q.copy_(p)
        ours, theirs = next(run(optimizer, params, 1, seed)), next(run(plain, control, 1, seed))
        mask = (start - theirs) * start > 0
        assert 0 < mask.sum() < mask.numel()
        torch.testing.assert_close(ours, theirs - 0.05 * 0.4 * mask * start, rtol=1e-9, atol=1e-9)


def test_cautious_decay_on_muon_in_a_group_without_decay():
    w = Parameter(torch.randn(4, 3))
    muon = torch.optim.Muon([w], lr=0.1, weight_decay=0.0)
    cautious_decay(muon)
    w.grad = torch.randn(4, 3)
    muon.step()


def test_l1_makes_zeros_and_no_sign_flips():
    params = weights()
    start = flat(params).clone()
    optimizer = torch.optim.SGD(params, lr=0.1, weight_decay=3.0)
    handle = l1_decay(optimizer)
    for p in params:
        p.grad = torch.zeros_like(p)
    optimizer.step()
    expected = start.sign() * (start.abs() - 0.3).clamp_min(0)
    torch.testing.assert_close(flat(params), expected)
    assert (flat(params) == 0).any()
    handle.remove()


def test_a_scheduled_decay_is_read_at_each_step():
    w = Parameter(torch.ones(1))
    optimizer = torch.optim.SGD([w], lr=1.0, weight_decay=0.1)
    cautious_decay(optimizer)
    for value in (0.5, 0.25):
        optimizer.param_groups[0]["weight_decay"] = value
        with torch.no_grad():
            w.fill_(1.0)
        w.grad = torch.full((1,), 1e-7)
        optimizer.step()
        assert abs(w.item() - (1 - value)) < 1e-6
        assert optimizer.param_groups[0]["weight_decay"] == value
