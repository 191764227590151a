"""`v_mean`: the v̄ that the last step decayed with, for monitors; free, and right after a load."""

import copy
import io

import pytest
import torch

from etalambda.diagnose.decay import v_mean as seen_by_monitors
from etalambda.optim import Adai, AdaiS, AdamS
from etalambda.optim.convert import v_mean_of
from tests.optim._drive import run, weights

MAKE = {
    "AdamS": AdamS,
    "AdamS forloop": lambda ps: AdamS(ps, foreach=False),
    "AdamS foreach": lambda ps: AdamS(ps, foreach=True),
    "AdamS device": lambda ps: AdamS(ps, capturable=True, fused=True),
    "AMSGradS": lambda ps: AdamS(ps, amsgrad=True),
    "AdamS clipped": lambda ps: AdamS(ps, max_norm=0.1),
    "Adai": lambda ps: Adai(ps, weight_decay=0.1),
    "AdaiS": AdaiS,
}
every = pytest.mark.parametrize("name", MAKE)


@every
def test_it_is_the_mean_of_the_state_after_every_step(name):
    params = weights()
    optimizer = MAKE[name](params)
    assert optimizer.v_mean() is None
    for _ in run(optimizer, params, 20):
        kept = optimizer.v_mean()
        assert kept.shape == ()
        assert abs(kept.item() / v_mean_of(optimizer) - 1) < 1e-12
        assert seen_by_monitors(optimizer) == kept.item()


@every
def test_it_survives_loading_copying_and_reading(name):
    params = weights()
    optimizer = MAKE[name](params)
    list(run(optimizer, params, 5))
    expected = optimizer.v_mean().item()
    file = io.BytesIO()
    torch.save(optimizer.state_dict(), file)
    file.seek(0)
    loaded = MAKE[name](weights())
    list(run(loaded, loaded.param_groups[0]["params"], 2, seed=7))
    loaded.load_state_dict(torch.load(file, weights_only=True))
    optimizer.v_mean().zero_()  # a copy: who writes to it changes nothing
    for twin in (optimizer, copy.deepcopy(optimizer), loaded):
        torch.testing.assert_close(twin.v_mean().item(), expected, rtol=1e-12, atol=0)


def test_reading_looks_at_no_buffer():
    """Between steps the number is at hand: the state may not even be touched."""
    params = weights()
    optimizer = AdamS(params)
    list(run(optimizer, params, 3))
    expected = optimizer.v_mean()
    for state in optimizer.state.values():
        state["exp_avg_sq"] = None
    assert torch.equal(optimizer.v_mean(), expected)
    optimizer.state.clear()
    assert optimizer.v_mean() is None


def test_a_missing_gradient_is_in_neither_sum_nor_count():
    params = weights()
    optimizer = AdamS(params, lr=0.1, weight_decay=0.1)
    list(run(optimizer, params, 3))
    params[0].grad = None
    before = params[1].detach().clone()
    for p in params[1:]:
        p.grad = torch.zeros_like(p)
    moments = optimizer.state[params[1]]["exp_avg"].clone()
    optimizer.step()
    state = optimizer.state[params[1]]
    step = 0.1 * 0.9 * moments / (1 - 0.9**4) / ((state["exp_avg_sq"] / (1 - 0.999**4)).sqrt())
    kept = 1 - 0.1 * 0.1 * optimizer.v_mean() ** -0.5
    torch.testing.assert_close(params[1].detach(), kept * before - step, rtol=1e-6, atol=1e-6)
    assert optimizer.v_mean().item() != v_mean_of(optimizer)


@pytest.mark.parametrize("capturable", [False, True])
def test_a_skipped_step_leaves_it(capturable):
    params = weights(dtype=torch.float32, shapes=((4, 3),))
    optimizer = AdamS(params, fused=True, capturable=capturable)
    optimizer.found_inf, optimizer.grad_scale = torch.zeros(1), torch.ones(1)
    list(run(optimizer, params, 3))
    before = optimizer.v_mean()
    optimizer.found_inf = torch.ones(1)
    params[0].grad = torch.full_like(params[0], torch.inf)
    optimizer.step()
    assert torch.equal(optimizer.v_mean(), before)
    assert before > 0


@pytest.mark.filterwarnings("ignore")
def test_a_compiled_step_keeps_it_too():
    params = weights()
    optimizer = AdamS(params)
    list(run(optimizer, params, 2))
    torch._dynamo.reset()
    step = torch.compile(optimizer.step, backend="eager")
    for p in params:
        p.grad = torch.ones_like(p)
    for _ in range(2):
        step()
        assert abs(optimizer.v_mean().item() / v_mean_of(optimizer) - 1) < 1e-12
