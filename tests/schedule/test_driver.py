"""The driver: ticks, groups, tensors, order, clocks, resume, and every error before any change."""

import copy
import gc
import io
import math
import pickle
import warnings
import weakref

import pytest
import torch

from etalambda.schedule import (
    AutoL2,
    CoupledToLR,
    MatchedAnnealing,
    Scheduler,
    cosine,
    linear,
    power_law,
    simulate,
    times,
    warmup,
)


def make(*decays, lr=0.1, cls=torch.optim.AdamW, **flags):
    groups = [{"params": [torch.nn.Parameter(torch.ones(2))], "weight_decay": w} for w in decays]
    return cls(groups, lr=lr, **flags)


def decays(optimizer):
    return [group["weight_decay"] for group in optimizer.param_groups]


def quiet(scheduler, **signals):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scheduler.step(**signals)


def test_ticks_of_a_shape():
    optimizer = make(0.5)
    scheduler = Scheduler(optimizer, weight_decay=power_law(1))
    values = [decays(optimizer)[0]]
    for _ in range(3):
        optimizer.step()
        scheduler.step()
        values.append(decays(optimizer)[0])
    assert values == pytest.approx([0.5, 0.25, 0.5 / 3, 0.125])


def test_ticks_with_memory_running_and_full():
    """After each step the first loss is L(0) and λ_0 = λ_1; called before, it is the paper's."""
    running = make(0.5)
    scheduler = Scheduler(running, weight_decay=MatchedAnnealing())
    used = []
    for loss in (4.0, 2.0, 1.0):
        used.append(decays(running)[0])
        running.step()
        scheduler.step(loss=loss)
    assert used == [0.5, 0.5, 0.25]

    full = make(0.5)
    scheduler = Scheduler(full, weight_decay=MatchedAnnealing())
    used = []
    for loss in (4.0, 2.0, 1.0):
        scheduler.step(loss=loss)  # no step-order warning: warnings are errors here
        used.append(decays(full)[0])
        full.step()
    assert used == [0.5, 0.25, 0.125]


def test_groups_at_zero_stay_and_each_group_has_its_own_state():
    optimizer = make(0.5, 0.0, 0.1)
    scheduler = Scheduler(optimizer, weight_decay=AutoL2(every=1, refractory=0.1))
    for loss in (1.0, 2.0, 3.0, 3.0, 3.0, 3.0, 3.0):
        optimizer.step()
        scheduler.step(loss=loss, error=0.5)
    # λ = 0.5: waits of 2 and 20 steps; λ = 0.1: of 10.
    assert decays(optimizer) == pytest.approx([0.005, 0.0, 0.01])
    assert scheduler.last("weight_decay") == decays(optimizer)


def test_several_optimizers_and_entries():
    muon = torch.optim.Muon([torch.nn.Parameter(torch.ones(2, 2))], lr=0.1, weight_decay=0.2)
    adamw = make(0.4, 0.0)
    scheduler = Scheduler([muon, adamw], weight_decay=linear(2), lr=cosine(4))
    muon.step(), adamw.step(), scheduler.step()
    assert scheduler.last("weight_decay") == [0.1, 0.2, 0.0]
    assert scheduler.last("lr") == pytest.approx([0.1 * cosine(4)(1)] * 3)
    momentum = Scheduler([muon, adamw], momentum=linear(2)).last("momentum")
    assert momentum[0] == muon.param_groups[0]["momentum"]
    assert all(math.isnan(value) for value in momentum[1:])  # AdamW has no such entry


def test_only_some_groups_are_driven():
    optimizer = make(0.5, 0.5, 0.5)
    first = optimizer.param_groups[0]["params"]
    for only in ([0], lambda group: group["params"] is first, first, iter(first)):
        scheduler = Scheduler(optimizer, only=only, weight_decay=lambda step: 0.5)
        assert decays(optimizer) == [0.25, 0.5, 0.5]
        assert scheduler.last("weight_decay")[0] == 0.25
        assert math.isnan(scheduler.last("weight_decay")[1])
        optimizer.param_groups[0]["weight_decay"] = 0.5
    with pytest.raises(ValueError, match="only excludes every param group"):
        Scheduler(optimizer, only=lambda group: False, weight_decay=linear(4))


def test_lr_is_driven_before_the_rules_that_read_it():
    optimizer = make(0.5)
    scheduler = Scheduler(optimizer, weight_decay=CoupledToLR(2), lr=warmup(4, start=0.5))
    for tick in range(6):
        lr = optimizer.param_groups[0]["lr"]
        assert decays(optimizer)[0] == pytest.approx(0.5 * (lr / 0.1) ** 2)
        assert lr == pytest.approx(0.1 * warmup(4, start=0.5)(tick))
        optimizer.step()
        scheduler.step()


def test_peak_is_declared_never_a_running_maximum():
    optimizer = make(0.5, lr=0.1)
    ramp = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1, (step + 1) / 10))
    Scheduler(optimizer, weight_decay=CoupledToLR())
    assert decays(optimizer) == pytest.approx([0.05])  # coupled from the first step of the warm-up
    optimizer = make(0.5)
    torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1.0, total_steps=10)
    Scheduler(optimizer, weight_decay=CoupledToLR())
    assert decays(optimizer) == pytest.approx([0.5 / 25])
    assert ramp.last_epoch == 0


def test_signals_are_called_only_when_a_rule_looks():
    calls = []

    def error():
        calls.append(1)
        return torch.tensor(0.5)

    optimizer = make(0.5, 0.1)
    scheduler = Scheduler(optimizer, weight_decay=AutoL2(every=3))
    for step in range(7):
        optimizer.step()
        if step % 3 == 0:
            scheduler.step(loss=torch.tensor(1.0, requires_grad=True), error=error)
        else:
            scheduler.step()
    assert len(calls) == 3  # once a measurement, not once a group


def test_a_tensor_entry_is_filled_in_place_and_not_shared():
    decay = torch.tensor(0.5)
    params = [torch.nn.Parameter(torch.ones(2)) for _ in range(2)]
    optimizer = torch.optim.AdamW([{"params": [p]} for p in params], weight_decay=decay)
    scheduler = Scheduler(optimizer, weight_decay=linear(2))
    held = [group["weight_decay"] for group in optimizer.param_groups]
    assert held[0] is not held[1]
    optimizer.step(), scheduler.step()
    assert [w.item() for w in held] == [0.25, 0.25]
    assert decay.item() == 0.5  # the caller's own tensor, and the defaults, stay
    optimizer.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    assert optimizer.param_groups[0]["weight_decay"] is held[0]


def test_a_group_added_later_is_picked_up():
    optimizer = make(0.5)
    scheduler = Scheduler(optimizer, weight_decay=linear(4))
    optimizer.step(), scheduler.step()
    new = torch.nn.Parameter(torch.ones(2))
    optimizer.add_param_group({"params": [new], "weight_decay": 0.1})
    optimizer.step(), scheduler.step()
    assert decays(optimizer) == pytest.approx([0.25, 0.05])
    assert len(scheduler.last("weight_decay")) == 2


def test_two_schedulers_do_not_share_state():
    optimizer = make(0.5)
    first = Scheduler(optimizer, weight_decay=linear(4))
    second = Scheduler(optimizer, lr=linear(2))
    optimizer.step(), first.step(), second.step()
    assert decays(optimizer) == [0.375]
    assert optimizer.param_groups[0]["lr"] == 0.05
    assert (first.ticks, second.ticks) == (1, 1)
    assert set(optimizer.param_groups[0]) == set(make(0.5).param_groups[0])  # no keys added


def test_clobber_is_said_once_with_both_values():
    optimizer = make(0.5, 0.5)
    scheduler = Scheduler(optimizer, weight_decay=linear(4))
    optimizer.step()
    optimizer.param_groups[1]["weight_decay"] = 0.7
    with pytest.warns(UserWarning, match=r"group 0.1 is 0.7, but this Scheduler set it to 0.5"):
        scheduler.step()
    optimizer.param_groups[1]["weight_decay"] = 0.8
    scheduler.step()
    assert decays(optimizer) == [0.25, 0.25]


def test_step_order_warning_as_torchs():
    scheduler = Scheduler(make(0.5), weight_decay=linear(4))
    with pytest.warns(UserWarning, match="before `optimizer.step"):
        scheduler.step()
    mixed = Scheduler(make(0.5), weight_decay=MatchedAnnealing(), lr=linear(4))
    with pytest.warns(UserWarning, match="before `optimizer.step"):
        mixed.step(loss=1.0)


def test_non_finite_loss_keeps_the_value_is_counted_and_said_once():
    optimizer = make(0.5)
    scheduler = Scheduler(optimizer, weight_decay=MatchedAnnealing())
    optimizer.step(), scheduler.step(loss=2.0), scheduler.step(loss=1.0)
    with pytest.warns(UserWarning, match="loss is nan at tick 3; weight_decay keeps its value"):
        scheduler.step(loss=math.nan)
    scheduler.step(loss=math.inf)
    assert decays(optimizer) == [0.25]
    assert scheduler.non_finite == {"weight_decay": 2}


def test_a_users_own_rule_that_turns_nan_keeps_its_value():
    class Half:
        reads = ("loss",)

        def init(self):
            return ()

        def update(self, state, seen):
            assert set(seen) == {"loss", "initial"}
            return seen["loss"] / 2, ()

    optimizer = make(0.5)
    scheduler = Scheduler(optimizer, weight_decay=Half())
    optimizer.step(), scheduler.step(loss=1.0)
    with pytest.warns(UserWarning, match="keeps its value"):
        scheduler.step(loss=math.nan)
    assert decays(optimizer) == [0.25]
    with pytest.raises(ValueError, match=r"factor -1\.0 at tick 3"):
        scheduler.step(loss=-2.0)


def scaled_step(optimizer, scaler, gradient):
    for group in optimizer.param_groups:
        for p in group["params"]:
            p.grad = torch.full_like(p, gradient) * scaler.get_scale()
    scaler.step(optimizer)
    scaler.update()


@pytest.mark.parametrize("fused", [False, True])
def test_the_optimizer_clock_ignores_steps_that_amp_skipped(fused):
    optimizer = make(0.5, fused=fused)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0)
    scaler.scale(torch.zeros(()))
    scheduler = Scheduler(optimizer, clock="optimizer", weight_decay=linear(4))
    seen = []
    for gradient in (math.inf, 1.0, math.nan, 1.0):
        scaled_step(optimizer, scaler, gradient)
        scheduler.step()
        scheduler.step()  # a framework that calls twice
        seen.append(decays(optimizer)[0])
    assert seen == [0.5, 0.375, 0.375, 0.25]
    assert scheduler.ticks == 2


def test_gradient_accumulation_counts_optimizer_steps():
    optimizer = make(0.5)
    scheduler = Scheduler(optimizer, clock="optimizer", weight_decay=linear(4))
    for micro in range(8):
        if micro % 4 == 3:
            optimizer.step()
        scheduler.step()
    assert decays(optimizer) == [0.25]


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


def test_repr_and_simulate_are_for_people():
    scheduler = Scheduler(make(0.5, 0.0), weight_decay=times(cosine(8), warmup(2)))
    text = repr(scheduler)
    assert "weight_decay: times(cosine(8), warmup(2))" in text
    assert "0 stays 0" in text
    run = simulate(4, bases={"lr": 0.1, "weight_decay": 0.5}, lr=linear(4), weight_decay=linear(4))
    assert run["K"][-1].item() == pytest.approx(0.05 * (1 + 9 / 16 + 4 / 16 + 1 / 16))
    matched = simulate(3, signals=[{"loss": loss} for loss in (4, 2, 1)], lr=MatchedAnnealing())
    assert matched["lr"].tolist() == [1, 0.5, 0.25]


def test_plot_draws_four_panels():
    import matplotlib

    matplotlib.use("Agg")
    figure = Scheduler(make(0.5), weight_decay=cosine(8)).plot(10)
    assert [axis.get_title() for axis in figure.axes][2:] == ["ηλ", "K = Σ ηλ"]
    assert len(figure.axes[0].lines[0].get_ydata()) == 10


ERRORS = {
    "no rules": (lambda: Scheduler(make(0.5)), "no rule given"),
    "no such entry": (
        lambda: Scheduler(make(0.5), weight_deacy=linear(4)),
        "did you mean 'weight_decay'",
    ),
    "entry without numbers": (lambda: Scheduler(make(0.5), betas=linear(4)), "unknown group entry"),
    "zero everywhere": (
        lambda: Scheduler(make(0.0, 0.0), weight_decay=linear(4)),
        "weight_decay is 0 in every group",
    ),
    "no optimizer": (lambda: Scheduler([], weight_decay=linear(4)), "optimizers is empty"),
    "clock": (lambda: Scheduler(make(0.5), clock="call", weight_decay=linear(4)), "'calls'"),
    "negative factor": (lambda: Scheduler(make(0.5), weight_decay=lambda step: -1), "factor -1"),
    "nan factor": (lambda: Scheduler(make(0.5), weight_decay=lambda step: math.nan), "factor nan"),
    "peak 0": (lambda: Scheduler(make(0.5, lr=0.0), weight_decay=CoupledToLR()), "peak learning"),
    "unknown last": (lambda: Scheduler(make(0.5), weight_decay=linear(4)).last("lr"), "entry 'lr'"),
    "steps": (lambda: simulate(0), "steps must be"),
    "signals": (lambda: simulate(2, signals=[{}]), "1 entries for steps=2"),
}


@pytest.mark.parametrize("case", ERRORS)
def test_errors(case):
    attempt, message = ERRORS[case]
    with pytest.raises(ValueError, match=message):
        attempt()


def test_type_errors():
    for rule, message in ((linear, "is a class"), (0.1, "is a number"), ("cosine", "not a rule")):
        with pytest.raises(TypeError, match=message):
            Scheduler(make(0.5), weight_decay=rule)
    with pytest.raises(TypeError, match="not the model"):
        Scheduler(torch.nn.Linear(2, 2).parameters(), weight_decay=linear(4))


@pytest.mark.parametrize("signals", [{}, {"los": 1.0}, {"loss": None}])
def test_a_missing_signal_changes_nothing(signals):
    optimizer = make(0.5)
    scheduler = Scheduler(optimizer, lr=linear(4), weight_decay=MatchedAnnealing())
    optimizer.step()
    with pytest.raises(ValueError, match=r"reads 'loss', .* call step\(loss=...\)"):
        scheduler.step(**signals)
    assert (scheduler.ticks, optimizer.param_groups[0]["lr"]) == (0, 0.1)
    quiet(scheduler, loss=1.0)
    assert scheduler.ticks == 1


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
