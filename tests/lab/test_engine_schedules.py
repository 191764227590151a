"""λ over time in the many-trials engine: what the schedule room would have written."""

import math
import warnings

import pytest
import torch

from etalambda.lab.engine import Trial, cross_entropy, train
from etalambda.lab.engine.schedules import Schedules
from etalambda.lab.models import MLP
from etalambda.schedule import MatchedAnnealing, Scheduler, TwoStepAnnealing, cosine, linear
from tests.lab.one_by_one import DOUBLE, STEPS, finals


def test_rules_with_memory_follow_the_scheduler(digits):
    """The engine's λ is what `Scheduler` called after each step writes into the groups."""
    trial = Trial(seed=0, lr=0.05, weight_decay=0.3, rules={"weight_decay": MatchedAnnealing(2)})
    twin = Trial(seed=0, lr=0.05, weight_decay=0.3)
    make = lambda: MLP((64, 8, 10))
    seen = list(
        train(make, digits.batches, [trial, twin], optimizer="sgd", steps=STEPS, every=1, **DOUBLE)
    )
    torch.manual_seed(0)
    net = make().double()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05, weight_decay=0.3)
    scheduler = Scheduler(optimizer, weight_decay=MatchedAnnealing(2))
    feed = digits.batches([twin])
    for step in range(STEPS):
        assert seen[step].weight_decay[0].item() == pytest.approx(
            optimizer.param_groups[0]["weight_decay"], rel=1e-9
        )
        x, y = feed(step)
        loss = cross_entropy(net(x[0])[None], y).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step(loss=loss.item())


@pytest.mark.parametrize("variant", ["literal", "abs", "relative", "twice"])
def test_two_steps_are_those_of_the_schedule_room(digits, variant):
    trials = [
        Trial(seed, 0.05, 0.3, rules={"weight_decay": cosine(STEPS)}, two_step=variant)
        for seed in (0, 1)
    ]
    make = lambda: MLP((64, 8, 10))
    ours = finals(make, digits, trials, optimizer="sgd", momentum=0.9)[0]
    torch.manual_seed(0)
    net = make().double()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9, weight_decay=0.3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # literal warns that it climbs
        annealing = TwoStepAnnealing(optimizer, cosine(STEPS), variant=variant)
        feed = digits.batches(trials[:1])
        for step in range(STEPS):
            x, y = feed(step)

            def closure(x=x, y=y):
                optimizer.zero_grad()
                loss = cross_entropy(net(x[0])[None], y).sum()
                loss.backward()
                return loss

            annealing.step(closure)
    torch.testing.assert_close(
        ours.predict(digits.x["val"])[0], net(digits.x["val"]), rtol=1e-9, atol=1e-9
    )


def test_snapshots_come_at_every_and_K_is_the_sum(digits):
    rules = {"lr": cosine(10), "weight_decay": linear(10)}
    trials = [Trial(0, 0.1, 0.5, rules=rules), Trial(0, 0.1, 0.0)]
    seen = list(train(MLP, digits.batches, trials, optimizer="sgdw", steps=10, every=4, **DOUBLE))
    assert [s.step for s in seen] == [0, 4, 8, 10]
    rates = [0.05 * cosine(10)(i) * linear(10)(i) for i in range(10)]
    for s in seen:
        assert s.K.tolist() == pytest.approx([sum(rates[: s.step]), 0.0], abs=1e-15)
    assert math.isnan(seen[0].loss[0])


def test_a_signal_that_the_lab_lacks_is_named():
    class Asks:
        reads = ("temperature",)

        def init(self):
            return 0

        def update(self, state, seen):
            return seen["temperature"], state

    schedules = Schedules([Trial(0, 0.1, 0.1, rules={"weight_decay": Asks()})], steps=3)
    with pytest.raises(ValueError, match="reads 'temperature', which the lab does not measure"):
        schedules.see(0, {"loss": lambda row: 1.0}, [True])
