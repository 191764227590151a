"""SGDS asks few questions when nothing changed between two steps: what changes must not be missed.

Each event happens to the default path and to the plain loop, which gathers everything anew.
"""

import weakref

import pytest
import torch
from torch.nn import Parameter

from etalambda.optim import SGDS
from tests.optim._drive import flat, gradients, weights

MAKE = dict(lr=0.02, momentum=0.9, weight_decay=0.1)


def clear(optimizer, params):
    optimizer.state_dict()  # the buffers in the form of the paper
    optimizer.state.clear()


def one_state_emptied(optimizer, params):
    optimizer.state_dict()
    optimizer.state[params[1]] = {}


def buffer_replaced(optimizer, params):
    optimizer.state_dict()
    optimizer.state[params[0]]["momentum_buffer"] = torch.ones_like(params[0])


def buffer_written(optimizer, params):
    optimizer.state_dict()
    optimizer.state[params[0]]["momentum_buffer"].zero_()


def gradient_missing(optimizer, params):
    params[2].grad = None


def gradient_laid_out_otherwise(optimizer, params):
    params[0].grad = params[0].grad.t().contiguous().t()


def group_added(optimizer, params):
    late = Parameter(torch.ones(3).double())
    late.grad = torch.ones(3).double()
    optimizer.add_param_group(dict(params=[late]))


def loaded(optimizer, params):
    optimizer.load_state_dict(optimizer.state_dict())


def setting(**entries):
    def change(optimizer, params):
        optimizer.param_groups[0].update(entries)

    change.__name__ = "_".join(f"{k} {v}" for k, v in entries.items())
    return change


EVENTS = [
    clear,
    one_state_emptied,
    buffer_replaced,
    buffer_written,
    gradient_missing,
    gradient_laid_out_otherwise,
    group_added,
    loaded,
    setting(lr=0.05),
    setting(weight_decay=0.0),
    setting(weight_decay=torch.tensor(0.3, dtype=torch.float64)),
    setting(momentum=0.5),
    setting(nesterov=True),
    setting(dampening=0.5),
    setting(maximize=True),
    setting(fused=True),
    setting(bias_corrected=True),
]


@pytest.mark.parametrize("event", EVENTS, ids=lambda e: e.__name__)
def test_an_event_between_steps_is_noticed(event):
    ours, theirs = weights(), weights()
    pairs = [(SGDS(ours, **MAKE), ours), (SGDS(theirs, **MAKE, foreach=False), theirs)]
    for step, grads in enumerate(gradients(ours, 12)):
        for optimizer, params in pairs:
            for p, g in zip(params, grads):
                p.grad = g.clone()
            if step in (4, 5, 8):
                event(optimizer, params)
            optimizer.step()
        torch.testing.assert_close(flat(ours), flat(theirs), rtol=1e-11, atol=1e-11)
    for p, q in zip(ours, theirs):
        mine, other = pairs[0][0].state[p], pairs[1][0].state[q]
        assert mine.get("step") == other.get("step")


def test_gradients_are_not_kept_alive():
    params = weights()
    optimizer = SGDS(params, **MAKE)
    for _ in range(3):
        for p in params:
            p.grad = torch.ones_like(p)
        gone = weakref.ref(params[0].grad)
        optimizer.step()
        optimizer.zero_grad()
        assert gone() is None


def test_the_shortcut_is_taken_and_found_again_after_an_event(monkeypatch):
    """Without events tensors are gathered once; after one, once more."""
    params = weights()
    optimizer, gathered = SGDS(params, **MAKE), []
    original = SGDS._gathered

    def counted(self, group):
        gathered.append(step)
        return original(self, group)

    monkeypatch.setattr(SGDS, "_gathered", counted)
    for step in range(12):
        for p in params:
            p.grad = torch.ones_like(p)
        if step == 5:
            group_added(optimizer, params)
        optimizer.step()
    assert gathered == [0, 5, 6]  # the new group at 5; at 6 the old one sees a longer state
