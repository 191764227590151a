"""AdamW to AdamS and back, foreign checkpoints, and the same decay in other units."""

import copy

import pytest
import torch
from torch.nn import Parameter

from etalambda.optim import AdamS, equivalent_weight_decay
from tests.optim._drive import flat, gradients, run, weights

HYPER = dict(lr=0.01, betas=(0.9, 0.99), weight_decay=0.3)


def adamw_after(steps, **options):
    params = weights()
    optimizer = torch.optim.AdamW(params, **HYPER | options)
    list(run(optimizer, params, steps))
    return optimizer, params


@pytest.mark.parametrize("amsgrad", [False, True])
@pytest.mark.parametrize("power", [0.25, 0.5])
@pytest.mark.parametrize("flags", [dict(), dict(foreach=False)])
def test_the_step_after_the_switch_is_adamw_s(amsgrad, power, flags):
    adamw, params = adamw_after(20, amsgrad=amsgrad)
    twins = [Parameter(p.detach().clone()) for p in params]
    control = torch.optim.AdamW(twins)
    control.load_state_dict(copy.deepcopy(adamw.state_dict()))
    adams = AdamS.from_adamw(adamw, power=power, **flags)
    ours, theirs = (next(run(o, p, 1, seed=9)) for o, p in ((adams, params), (control, twins)))
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
    for name in ("lr", "betas", "amsgrad", "eps"):
        assert adams.param_groups[0][name] == adamw.param_groups[0][name]


def test_weight_decay_is_scaled_by_the_root_of_v_mean():
    adamw, _ = adamw_after(20)
    v = [s["exp_avg_sq"] / (1 - 0.99**20) for s in adamw.state.values()]
    v_mean = torch.cat([x.flatten() for x in v]).mean().item()
    adams = AdamS.from_adamw(adamw)
    assert abs(adams.param_groups[0]["weight_decay"] / (0.3 * v_mean**0.5) - 1) < 1e-12


def test_there_and_back():
    adamw, params = adamw_after(20)
    before = copy.deepcopy(adamw.state_dict())
    back = AdamS.from_adamw(adamw).to_adamw()
    assert isinstance(back, torch.optim.AdamW)
    assert abs(back.param_groups[0]["weight_decay"] - 0.3) < 1e-14
    for index, state in before["state"].items():
        for key, value in state.items():
            assert torch.equal(back.state_dict()["state"][index][key], value)
    next(run(back, params, 1))


def test_a_scheduler_that_moved_the_decay_is_not_overruled():
    adamw, params = adamw_after(5)
    adams = AdamS.from_adamw(adamw)
    adams.param_groups[0]["weight_decay"] = 7.0
    next(run(adams, params, 1))
    assert adams.param_groups[0]["weight_decay"] == 7.0


def test_errors():
    fresh = torch.optim.AdamW(weights())
    with pytest.raises(ValueError, match="AdamW has taken no step, so v̄ is unknown"):
        AdamS.from_adamw(fresh)
    with pytest.raises(ValueError, match="AdamS has taken no step"):
        AdamS(weights()).to_adamw()
    for wrong in (torch.optim.SGD(weights()), torch.optim.Adam(weights())):
        with pytest.raises(TypeError, match=f"got {type(wrong).__name__}; Adam's L2"):
            AdamS.from_adamw(wrong)


def test_loading_adamw_s_state_keeps_our_decay_and_says_so():
    adamw, params = adamw_after(5)
    adams = AdamS(params, lr=0.5, weight_decay=5e-4, power=0.25, max_norm=3.0)
    with pytest.warns(UserWarning, match=r"weight_decay \[0.3\] is not loaded, \[0.0005\] stays"):
        adams.load_state_dict(adamw.state_dict())
    (group,) = adams.param_groups
    assert (group["weight_decay"], group["power"], group["max_norm"]) == (5e-4, 0.25, 3.0)
    assert (group["lr"], group["betas"]) == (0.01, (0.9, 0.99))
    assert len(adams.state) == len(params)
    next(run(adams, params, 1))


def test_own_state_brings_its_decay():
    params = weights()
    first = AdamS(params, lr=0.1, weight_decay=0.7)
    list(run(first, params, 2))
    second = AdamS(weights(), lr=0.2, weight_decay=0.1)
    second.load_state_dict(first.state_dict())
    assert second.param_groups[0]["weight_decay"] == 0.7


@pytest.mark.parametrize("source", ["l2", "sgds", "adams", "sgdw", "adamw"])
@pytest.mark.parametrize("target", ["l2", "sgds", "adams", "sgdw", "adamw"])
def test_there_and_back_in_every_unit(source, target):
    options = dict(momentum=0.9, dampening=0.1, v_mean=3e-5)
    there = equivalent_weight_decay(0.01, source, target, **options)
    assert abs(equivalent_weight_decay(there, target, source, **options) / 0.01 - 1) < 1e-12


def test_sgdw_and_sgds_with_equivalent_decay_are_one():
    from etalambda.optim import SGDS, SGDW

    ours, theirs = weights(), weights()
    value = equivalent_weight_decay(0.02, "sgds", "sgdw", momentum=0.8)
    pair = (
        SGDS(ours, lr=0.1, momentum=0.8, weight_decay=0.02),
        SGDW(theirs, lr=0.1, momentum=0.8, weight_decay=value),
    )
    for grads in gradients(ours, 20):
        for p, q, g in zip(ours, theirs, grads):
            p.grad, q.grad = g.clone(), g.clone()
        for optimizer in pair:
            optimizer.step()
    torch.testing.assert_close(flat(ours), flat(theirs), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("args", "options", "message"),
    [
        (("l3", "l2"), {}, "unknown kind of weight decay 'l3'"),
        (("l2", "adamw"), {}, "pass v_mean"),
        (("l2", "adamw"), dict(lr=0.0), "lr must be a finite number above 0"),
        (("l2", "adamw"), dict(v_mean=-1.0), "v_mean must be"),
        (("l2", "sgdw"), dict(momentum=1.0), r"momentum must lie in \[0, 1\), got 1.0"),
    ],
)
def test_bad_conversions(args, options, message):
    with pytest.raises(ValueError, match=message):
        equivalent_weight_decay(0.1, *args, **options)
