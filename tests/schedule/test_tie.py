"""Ties: couplings by formula, peaks, subsets, AMP, copies, compiled steps, schedule-free."""

import copy
import math
import pickle

import pytest
import torch
from torch.optim.lr_scheduler import CosineAnnealingLR, LambdaLR, OneCycleLR

from etalambda.schedule import COUPLINGS, MatchedAnnealing, Scheduler, cosine, inverse, tie
from tests.schedule.decayed import decays, make

BASE, PEAK = 0.5, 0.1


# What one step removes of each weight, ηλ, in the sources' own terms.
DECAY_OF_A_STEP = {
    "decoupled": lambda lr: lr * BASE,  # torch AdamW
    "independent": lambda lr: lr / PEAK * BASE,  # Loshchilov & Hutter 2019
    "matched": lambda lr: lr**2 / PEAK * BASE,  # AdamC
    "palm": lambda lr: lr**2 * BASE,  # PaLM
    "constant_product": lambda lr: PEAK * BASE,  # Hanson & Pratt 1988
    "inverse": lambda lr: lr * BASE * (0.7 + 0.3 * (1 - lr / PEAK)),
}


@pytest.mark.parametrize(
    "kernel", [{"fused": True}, {"foreach": True}, {"foreach": False}], ids=str
)
@pytest.mark.parametrize("coupling", COUPLINGS)
def test_a_weight_loses_what_the_formula_says(coupling, kernel):
    optimizer = make(BASE, dtype=torch.float64, **kernel)
    tie(optimizer, coupling)
    mover = CosineAnnealingLR(optimizer, 6)
    (weight,) = optimizer.param_groups[0]["params"]
    for _ in range(5):
        before, lr = weight.detach().clone(), optimizer.param_groups[0]["lr"]
        weight.grad = torch.zeros_like(weight)
        optimizer.step()
        lost = 1 - weight.detach() / before
        assert lost.tolist() == pytest.approx([DECAY_OF_A_STEP[coupling](lr)] * 2, rel=1e-11)
        mover.step()


def test_peaks_are_per_group_and_declared():
    groups = [
        {"params": [torch.nn.Parameter(torch.ones(1))], "lr": lr, "weight_decay": 0.5}
        for lr in (0.1, 0.02)
    ]
    optimizer = torch.optim.AdamW(groups)
    LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / 10))
    tie(optimizer, "matched")
    assert decays(optimizer) == pytest.approx([0.05, 0.05])  # a warm-up is coupled from its start
    tied_first = make(0.5)
    tie(tied_first, "matched")
    OneCycleLR(tied_first, max_lr=1.0, total_steps=10)  # built later: its max_lr counts
    tied_first.step()
    assert decays(tied_first) == pytest.approx([0.5 / 25])
    given = make(0.5, 0.5)
    tie(given, "matched", peak_lr=[0.2, 0.4])
    assert decays(given) == pytest.approx([0.25, 0.125])


def test_only_some_groups():
    optimizer = make(0.5, 0.5, 0.0)
    first = optimizer.param_groups[0]["params"]
    for only in (lambda group: group["params"] is first, [0], first, iter(first)):
        handle = tie(optimizer, "palm", only=only)
        assert decays(optimizer) == pytest.approx([0.05, 0.5, 0.0])
        handle.remove()
        assert decays(optimizer) == [0.5, 0.5, 0.0]


def test_several_optimizers_and_late_groups():
    both = [make(0.5), make(0.4)]
    handle = tie(both, "matched")
    both[1].add_param_group({"params": [torch.nn.Parameter(torch.ones(1))], "weight_decay": 0.2})
    for optimizer in both:
        for group in optimizer.param_groups:
            group["lr"] /= 2
        optimizer.step()
    assert decays(both[0]) + decays(both[1]) == pytest.approx([0.25, 0.2, 0.2])
    assert handle.bases == [0.5, 0.4, 0.2]  # the late group's peak is the lr it came with


def test_update_is_for_replays_and_remove_restores():
    optimizer = make(0.5)
    handle = tie(optimizer, "matched")
    optimizer.param_groups[0]["lr"] = 0.025
    handle.update()
    assert decays(optimizer) == [0.125]
    handle.remove()
    optimizer.step()
    assert decays(optimizer) == [0.5]
    assert "matched" in repr(handle)


def test_branches_from_one_checkpoint():
    """Several cool-downs from one stable phase: hooks are gone from a copy, `onto` ties it."""
    optimizer = make(0.5)
    handle = tie(optimizer, "matched")
    optimizer.param_groups[0]["lr"] = 0.05
    optimizer.step()
    for copied in (copy.deepcopy, lambda o: pickle.loads(pickle.dumps(o))):
        branch = copied(optimizer)
        branch.param_groups[0]["lr"] = 0.01
        branch.step()
        assert decays(branch) == [0.25]  # a bare copy is not tied
        handle.onto(branch)
        assert decays(branch) == pytest.approx([0.05])
    assert decays(optimizer) == [0.25]
    with pytest.raises(ValueError, match="groups"):
        handle.onto(make(0.5, 0.5))


def test_a_load_after_tie_keeps_the_base():
    old = make(0.5)
    tie(old, "matched")
    old.param_groups[0]["lr"] = 0.05
    old.step()
    new = make(0.5)
    tie(new, "matched")
    new.load_state_dict(old.state_dict())
    new.step()
    assert decays(new) == [0.25]


def test_someone_else_writing_is_said_once():
    optimizer = make(0.5)
    tie(optimizer, "matched")
    optimizer.param_groups[0]["weight_decay"] = 0.3
    with pytest.warns(UserWarning, match=r"set to 0.3, but it is tied .* makes it 0.5"):
        optimizer.step()
    optimizer.param_groups[0]["weight_decay"] = 0.3
    optimizer.step()
    assert decays(optimizer) == [0.5]


def test_an_overflow_step_of_amp_leaves_the_tie_in_place():
    optimizer = make(0.5, fused=True)
    tie(optimizer, "matched")
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0)
    scaler.scale(torch.zeros(()))
    (weight,) = optimizer.param_groups[0]["params"]
    for lr, gradient in ((0.1, math.inf), (0.05, 1.0)):
        optimizer.param_groups[0]["lr"] = lr
        weight.grad = torch.full((2,), gradient)
        scaler.step(optimizer)
        scaler.update()
        assert decays(optimizer) == [0.5 * lr / PEAK]


def test_tensor_entries_stay_tensors():
    decay = torch.tensor(0.5)
    params = [torch.nn.Parameter(torch.ones(2)) for _ in range(2)]
    groups = [{"params": [p], "lr": torch.tensor(lr)} for p, lr in zip(params, (0.1, 0.2))]
    optimizer = torch.optim.AdamW(groups, weight_decay=decay)
    tie(optimizer, "matched")
    held = optimizer.param_groups[0]["weight_decay"]
    optimizer.param_groups[0]["lr"].fill_(0.05)
    optimizer.step()
    assert optimizer.param_groups[0]["weight_decay"] is held
    assert decays(optimizer) == pytest.approx([0.25, 0.5])


def compiled_run(driven, backend):
    """Five compiled steps; the weight at the end and λ at each step."""
    torch._dynamo.reset()
    weight = torch.nn.Parameter(torch.ones(4))
    optimizer = torch.optim.AdamW(
        [weight], lr=torch.tensor(PEAK), weight_decay=torch.tensor(BASE), foreach=False
    )
    mover = CosineAnnealingLR(optimizer, 10)
    rules = {"shape": cosine(10), "feedback": MatchedAnnealing()}
    scheduler = Scheduler(optimizer, weight_decay=rules[driven]) if driven in rules else None
    handle = tie(optimizer, "matched") if driven == "tie" else None
    step = optimizer.step if backend is None else torch.compile(optimizer.step, backend=backend)
    seen = []
    for loss in (4.0, 2.0, 3.0, 1.0, 0.5):
        weight.grad = torch.ones(4)
        step()
        seen.append(decays(optimizer)[0])
        mover.step()
        if scheduler is not None:
            scheduler.step(loss=loss)
    assert handle is None or handle.bases == [BASE]
    return weight.detach(), seen


DRIVEN = ["nothing", "shape", "feedback", "tie"]


@pytest.mark.parametrize("driven", DRIVEN)
def test_a_compiled_step_is_not_compiled_again(driven):
    """λ in a 0-d tensor costs no frame more than no schedule at all."""
    from torch._dynamo.testing import CompileCounter

    frames = {}
    for name in {driven, "nothing"}:
        counter = CompileCounter()
        weight, seen = compiled_run(name, counter)
        frames[name] = counter.frame_count
        eager, expected = compiled_run(name, None)
        assert seen == expected
        assert torch.allclose(weight, eager)
    assert frames[driven] == frames["nothing"]


@pytest.mark.slow
@pytest.mark.parametrize("driven", DRIVEN)
def test_inductor_agrees_with_eager(driven):
    weight, seen = compiled_run(driven, "inductor")
    eager, expected = compiled_run(driven, None)
    assert seen == expected
    assert torch.allclose(weight, eager)


def test_schedule_free_uses_the_lr_of_its_own_warmup():
    schedulefree = pytest.importorskip("schedulefree")
    weight = torch.nn.Parameter(torch.ones(2))
    optimizer = schedulefree.AdamWScheduleFree(
        [weight], lr=0.1, weight_decay=0.5, warmup_steps=4, foreach=False
    )
    tie(optimizer, "matched")
    optimizer.train()
    for step in range(6):
        weight.grad = torch.ones(2)
        optimizer.step()
        lr = optimizer.param_groups[0]["scheduled_lr"]
        assert lr == pytest.approx(0.1 * min((step + 1) / 4, 1))
        assert decays(optimizer) == pytest.approx([0.5 * lr / 0.1])


def test_at_lr_zero():
    optimizer = make(0.5)
    for coupling in COUPLINGS:
        handle = tie(optimizer, coupling, peak_lr=PEAK)
        optimizer.param_groups[0]["lr"] = 0.0
        optimizer.step()
        assert math.isfinite(decays(optimizer)[0])
        optimizer.param_groups[0]["lr"] = PEAK
        handle.remove()
    zero = COUPLINGS["constant_product"](torch.tensor(0.0), PEAK)
    assert zero.item() == 0


def test_inverse_reaches_one_at_its_lr_floor():
    rule = inverse(floor=0.5, lr_floor=0.1)
    assert (rule(0.1, 0.1), rule(0.01, 0.1)) == (0.5, pytest.approx(1))


ERRORS = {
    "unknown": (lambda: tie(make(0.5), "mached"), "did you mean 'matched'"),
    "zero decay": (lambda: tie(make(0.0)), "no group to tie"),
    "no group": (lambda: tie(make(0.5), only=lambda group: False), "no group to tie"),
    "lr 0 at its peak": (lambda: tie(make(0.5, lr=0.0)), "peak learning rate is 0"),
    "peak nan": (lambda: tie(make(0.5), peak_lr=math.nan), "peak learning rate is nan"),
    "peaks": (lambda: tie(make(0.5), peak_lr=[0.1, 0.2]), "2 entries for 1 groups"),
    "empty": (lambda: tie([]), "empty"),
    "floor": (lambda: inverse(-1), "floor"),
    "lr_floor": (lambda: inverse(lr_floor=1), "below 1"),
}


@pytest.mark.parametrize("case", ERRORS)
def test_errors(case):
    attempt, message = ERRORS[case]
    with pytest.raises(ValueError, match=message):
        attempt()


def test_errors_leave_everything_as_it_was():
    optimizer = make(0.5)
    whole = [torch.nn.Parameter(torch.ones(1)), *optimizer.param_groups[0]["params"]]
    two = torch.optim.AdamW([whole[0], torch.nn.Parameter(torch.ones(1))], weight_decay=0.5)
    with pytest.raises(ValueError, match="only 1 of the 2 tensors"):
        tie(two, only=whole[:1])
    with pytest.raises(TypeError, match="coupling must be"):
        tie(optimizer, 0.5)
    with pytest.raises(ValueError, match="peak learning rate"):
        tie([optimizer, make(0.5, lr=0.0)])
    for untouched in (optimizer, two):
        assert not untouched._optimizer_step_pre_hooks
        assert set(decays(untouched)) == {0.5}
