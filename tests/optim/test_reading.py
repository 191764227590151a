"""To read or save the state leaves a run as it is, and a resumed run goes on to the last bit.

In float32, where the recursion of Σv and the sum of the moments differ by 1e-7.
"""

import copy
import io
import pickle
import random

import pytest
import torch
from torch.nn import Parameter

from etalambda.optim import AdaiS, AdamS, _adai_engines
from tests.optim._drive import flat, gradients, weights

SHAPES = ((30, 20), (7,), (), (500,))
HYPER = dict(lr=0.02, weight_decay=0.3)
MAKE = {
    "AdamS": lambda ps: AdamS(ps, **HYPER),
    "AdamS two groups": lambda ps: AdamS(two(ps), **HYPER),
    "AdamS clipped": lambda ps: AdamS(ps, **HYPER, max_norm=1.0),
    "AMSGradS": lambda ps: AdamS(ps, **HYPER, amsgrad=True),
    "AdamS fused": lambda ps: AdamS(ps, **HYPER, fused=True),
    "AdamS device": lambda ps: AdamS(ps, **HYPER, fused=True, capturable=True),
    "AdamS foreach": lambda ps: AdamS(ps, **HYPER, foreach=True),
    "AdaiS": lambda ps: AdaiS(ps, **HYPER),
    # Πβ1 <= 0.2^t is spent after 11 steps, and retired at the 20th
    "AdaiS of age": lambda ps: AdaiS(ps, lr=0.02, weight_decay=0.3, betas=(0.9, 0.9), eps=0.8),
}
every = pytest.mark.parametrize("name", MAKE)


@pytest.fixture(autouse=True)
def _often(monkeypatch):
    monkeypatch.setattr(_adai_engines, "SPENT_EVERY", 10)


def two(params):
    return [dict(params=params[:2]), dict(params=params[2:], betas=(0.8, 0.95))]


def drive(optimizer, steps=30, seed=1, between=lambda step: None, norm=False):
    """The weights after ``steps``; some gradients are missing, ``between`` comes before each."""
    params = [p for group in optimizer.param_groups for p in group["params"]]
    for step, grads in enumerate(gradients(params, steps, seed)):
        between(step)
        for i, (p, g) in enumerate(zip(params, grads)):
            p.grad = None if (step * step + i) % 5 == 0 else g.clone()
        if norm:
            total = torch.nn.utils.get_total_norm([p.grad for p in params if p.grad is not None])
            optimizer.step(grad_norm=total)
        else:
            optimizer.step()
    return flat(params).clone()


def fresh(name):
    return MAKE[name](weights(dtype=torch.float32, shapes=SHAPES))


def readers(optimizer):
    return (
        optimizer.state_dict,
        lambda: copy.deepcopy(optimizer),
        lambda: pickle.dumps(optimizer),
        optimizer.v_mean,
        lambda: str(optimizer),
    )


@every
@pytest.mark.parametrize("norm", [False, True])
def test_reading_at_random_steps_disturbs_nothing(name, norm):
    if norm and not name.startswith("AdamS"):
        pytest.skip("takes no norm from outside")
    plain, read = fresh(name), fresh(name)
    draw, looks = random.Random(0), []

    def look(_):
        if draw.random() < 0.4:
            looks.append(draw.choice(readers(read)))
            looks[-1]()

    expected = drive(plain, norm=norm)
    assert torch.equal(drive(read, between=look, norm=norm), expected)
    assert len(looks) > 5


def through_a_file(optimizer, name):
    file = io.BytesIO()
    torch.save(optimizer.state_dict(), file)
    file.seek(0)
    params = [p for group in optimizer.param_groups for p in group["params"]]
    other = MAKE[name]([Parameter(p.detach().clone()) for p in params])
    other.load_state_dict(torch.load(file, weights_only=True))
    return other


COPIES = {
    "file": through_a_file,
    "deepcopy": lambda optimizer, _: copy.deepcopy(optimizer),
    "pickle": lambda optimizer, _: pickle.loads(pickle.dumps(optimizer)),
}


@every
@pytest.mark.parametrize("way", COPIES)
def test_a_resumed_run_is_the_straight_run_to_the_last_bit(name, way):
    straight, resumed = fresh(name), fresh(name)
    for round_ in range(3):
        drive(straight, steps=9, seed=round_), drive(resumed, steps=9, seed=round_)
        resumed = COPIES[way](resumed, name)
    assert torch.equal(drive(resumed, seed=9), drive(straight, seed=9))


def test_the_sum_of_the_recursion_is_what_is_saved():
    """Else the tests above would hold of a run that adds the moments up at every step."""
    optimizer = fresh("AdamS")
    drive(optimizer)
    rows = optimizer.state_dict()["v_sums"]
    assert any(row["sum"] != row["measured"] for row in rows)
    assert all(abs(row["sum"] / row["measured"] - 1) < 1e-5 for row in rows)


@pytest.mark.parametrize("change", ["moments", "order", "shorter"])
def test_a_sum_of_other_moments_is_not_taken(change):
    """The number is checked against the tensors that it is loaded with."""
    optimizer = fresh("AdamS")
    drive(optimizer, steps=5)
    saved = copy.deepcopy(optimizer.state_dict())
    shapes = SHAPES
    if change == "moments":
        saved["state"][0]["exp_avg_sq"] *= 3
    elif change == "order":
        saved["v_sums"] = [dict(row, params=row["params"][::-1][:1]) for row in saved["v_sums"]]
    else:
        shapes = SHAPES[:2]
        saved["state"] = {i: saved["state"][i] for i in range(2)}
        saved["param_groups"][0]["params"] = [0, 1]
    other = AdamS(weights(dtype=torch.float32, shapes=shapes), **HYPER)
    loop = AdamS(weights(dtype=torch.float32, shapes=shapes), **HYPER, foreach=False)
    other.load_state_dict(copy.deepcopy(saved)), loop.load_state_dict(copy.deepcopy(saved))
    for group in loop.param_groups:
        group["foreach"] = False
    torch.testing.assert_close(drive(other), drive(loop), rtol=1e-5, atol=1e-5)
