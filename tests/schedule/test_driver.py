"""The driver: ticks, groups, tensors, order, signals and clocks."""

import copy
import math

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
from tests.schedule.decayed import decays, make


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
