"""The driver's state: saved, loaded, copied, removed; and who wins over the optimizer's own."""

import copy
import gc
import io
import pickle
import weakref

import pytest
import torch

from etalambda.schedule import MatchedAnnealing, Scheduler, linear, times
from tests.schedule.decayed import decays, make


def test_resume_says_who_wins():
    optimizer = make(0.5)
    scheduler = Scheduler(optimizer, weight_decay=linear(4))
    optimizer.step(), scheduler.step()
    state = scheduler.state_dict()
    for keep, expected in {"checkpoint": 0.375, "constructor": 0.15}.items():
        again = make(0.2)
        resumed = Scheduler(again, weight_decay=linear(4))
        with pytest.warns(UserWarning, match=f"0.5 in the checkpoint and 0.2 .* keep='{keep}'"):
            resumed.load_state_dict(state, keep=keep)
        again.load_state_dict(optimizer.state_dict())  # the later load does not undo it
        assert decays(again) == pytest.approx([expected])


def test_built_after_the_optimizer_was_loaded():
    """The driven value in the checkpoint is not taken for another base value."""
    optimizer = make(0.5)
    scheduler = Scheduler(optimizer, weight_decay=linear(4))
    optimizer.step(), scheduler.step()
    again = make(0.5)
    again.load_state_dict(optimizer.state_dict())
    resumed = Scheduler(again, weight_decay=linear(4))
    resumed.load_state_dict(scheduler.state_dict())
    again.step(), resumed.step()
    assert decays(again) == [0.25]


def test_checkpoints_from_before_and_to_plain_torch():
    plain = make(0.5)
    plain.step()
    optimizer = make(0.5)
    scheduler = Scheduler(optimizer, weight_decay=linear(4))
    optimizer.load_state_dict(plain.state_dict())  # made before etalambda was added
    optimizer.step(), scheduler.step()
    plain.load_state_dict(optimizer.state_dict())  # ours into plain torch
    assert decays(plain) == [0.375]


def test_removal_mid_run_gives_the_base_back():
    optimizer = make(0.5, 0.0)
    scheduler = Scheduler(optimizer, weight_decay=linear(4), lr=linear(2))
    optimizer.step(), scheduler.step()
    scheduler.remove()
    assert (decays(optimizer), optimizer.param_groups[0]["lr"]) == ([0.5, 0.0], 0.1)
    assert not optimizer._optimizer_step_post_hooks
    optimizer.step()


def test_flattened_checkpoints_from_before_load():
    from torch.distributed.checkpoint.state_dict import (
        StateDictOptions,
        get_optimizer_state_dict,
        set_optimizer_state_dict,
    )

    def built():
        model = torch.nn.Linear(2, 1)
        return model, torch.optim.AdamW(model.parameters(), weight_decay=0.5)

    options = StateDictOptions(flatten_optimizer_state_dict=True)
    model, plain = built()
    model(torch.ones(1, 2)).sum().backward()
    plain.step()
    flat = get_optimizer_state_dict(model, plain, options=options)
    model, optimizer = built()
    scheduler = Scheduler(optimizer, weight_decay=linear(4))
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    set_optimizer_state_dict(model, optimizer, flat, options=options)
    scheduler.step()
    assert decays(optimizer) == [0.375]


def test_state_is_plain_and_no_optimizer_is_kept_alive():
    optimizer = make(0.5)
    scheduler = Scheduler(optimizer, weight_decay=times(MatchedAnnealing(2), linear(4)))
    optimizer.step(), scheduler.step(loss=2.0)
    file = io.BytesIO()
    torch.save(scheduler.state_dict(), file)
    file.seek(0)
    assert torch.load(file, weights_only=True) == scheduler.state_dict()
    seen = weakref.ref(scheduler)
    hooks = len(optimizer._optimizer_step_post_hooks)
    del scheduler
    gc.collect()
    assert seen() is None
    assert len(optimizer._optimizer_step_post_hooks) == hooks - 1
    optimizer.step()


def test_a_copy_goes_on_by_itself():
    optimizer = make(0.5)
    scheduler = Scheduler(optimizer, clock="optimizer", weight_decay=linear(4))
    for copied in (copy.deepcopy, lambda pair: pickle.loads(pickle.dumps(pair))):
        other, its = copied((optimizer, scheduler))
        other.step(), its.step()
        assert (decays(other), decays(optimizer)) == ([0.375], [0.5])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state | {"rules": {"weight_decay": "AutoL2"}}, "of the rules"),
        (lambda state: {"tick": 3}, "lacks"),
    ],
)
def test_a_foreign_state_changes_nothing(change, message):
    optimizer = make(0.5)
    scheduler = Scheduler(optimizer, weight_decay=linear(4))
    optimizer.step(), scheduler.step()
    with pytest.raises(ValueError, match=message):
        scheduler.load_state_dict(change(scheduler.state_dict()))
    with pytest.raises(ValueError, match="in 2 groups, this scheduler in 1"):
        scheduler.load_state_dict(Scheduler(make(0.5, 0.5), weight_decay=linear(4)).state_dict())
    with pytest.raises(ValueError, match="unknown keep"):
        scheduler.load_state_dict(scheduler.state_dict(), keep="mine")
    assert (scheduler.ticks, decays(optimizer)) == (1, [0.375])
