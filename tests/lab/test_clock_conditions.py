"""The decay clock of Part II: what its conditions feed, and what its bounds say of late runs."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from etalambda.lab.engine import Trial
from etalambda.lab.figures.parttwo import clock_more
from etalambda.lab.figures.parttwo._clock import bounds, ratio, resampled, spread
from etalambda.lab.figures.parttwo._clock_runs import PLANS, clock_job
from etalambda.lab.figures.parttwo._conditions import CONDITIONS, FewDigits, feed_of
from etalambda.lab.tasks import Modular

TASK = Modular(p=7)
TRIALS = [Trial(seed, 0.1) for seed in (0, 1, 0)]


def test_wrong_labels_are_a_fixed_share_and_differ_by_seed():
    condition = replace(CONDITIONS["base"], label_noise=0.25)
    pairs, sums = feed_of(TASK, condition)(TRIALS)(0)
    wrong = sums != pairs.sum(-1) % TASK.p
    assert wrong.sum(1).tolist() == [6, 6, 6]
    assert torch.equal(sums[0], sums[2])
    assert not torch.equal(wrong[0], wrong[1])


def test_half_batches_are_the_two_halves_of_a_pass():
    feed = feed_of(TASK, CONDITIONS["half batches"])(TRIALS)
    whole = {tuple(pair) for pair in TASK.batches(TRIALS)(0)[0][1].tolist()}
    first, second = ({tuple(pair) for pair in feed(step)[0][1].tolist()} for step in (4, 5))
    assert len(first) == len(second) == 12
    assert not first & second
    assert first | second <= whole
    pairs, sums = feed(4)
    assert torch.equal(sums, pairs.sum(-1) % TASK.p)
    assert torch.equal(pairs[0], pairs[2])
    assert not torch.equal(pairs, feed(6)[0])


def test_few_digits_train_on_the_seed_s_images_and_test_on_the_rest():
    setting = FewDigits(images=100).setting("cpu")
    x, y = setting.batches(TRIALS)(0)
    assert x.shape == (3, 100, 64)
    assert torch.equal(x[0], x[2])
    assert not torch.equal(x[0], x[1])
    named = torch.nn.functional.one_hot(y, 10)
    outputs = torch.zeros(3, len(setting.inputs), 10)
    for row, (images, labels) in enumerate(zip(x, named)):
        for image, label in zip(images, labels):
            outputs[row, (setting.inputs == image).all(1)] = label.float()
    train, test = setting.accuracy(outputs, [trial.seed for trial in TRIALS])
    assert train.tolist() == [1.0] * 3
    assert test.max() < 0.15  # argmax of nothing is class 0, a tenth of the images


def test_few_digits_start_from_larger_weights():
    nets = [FewDigits(scale=scale).setting("cpu") for scale in (1.0, 6.0)]
    torch.manual_seed(0)
    usual = nets[0].make()
    torch.manual_seed(0)
    large = nets[1].make()
    for one, other in zip(usual.parameters(), large.parameters()):
        torch.testing.assert_close(6 * one, other)


@pytest.mark.parametrize("name", ["base", "Muon"])
def test_a_job_stops_at_arrival_and_has_a_row_a_network(name):
    condition = replace(clock_more.CONDITIONS[name], there=0.0)
    said = []
    found = clock_job(name, condition, ("constant 1", "down"), (0, 1), 40, "cpu")(said.append)
    rows = found["arrivals"]
    assert list(zip(rows["plan"], rows["seed"])) == [
        ("constant 1", 0), ("constant 1", 1), ("down", 0), ("down", 1)
    ]  # fmt: skip
    assert rows["arrived"].all()
    assert rows["step"].tolist() == [0] * 4
    assert said == sorted(said)
    assert said[-1] < 1


def arrivals(late: bool) -> dict[str, np.ndarray]:
    rows = [(plan, seed) for plan in PLANS for seed in range(3)]
    plans = np.array([plan for plan, _ in rows], dtype=object)
    up = plans == "up"
    return dict(
        condition=np.array(["base"] * len(rows), dtype=object),
        plan=plans,
        seed=np.array([seed for _, seed in rows]),
        K=np.where(up, 3.0, 2.0),
        arrived=~up if late else np.ones(len(rows), dtype=bool),
    )


def test_bounds_meet_where_all_arrive():
    both = bounds(arrivals(late=False), "base")
    assert spread(*both) == (1.5, 1.5)
    assert ratio(*both, *both) == (1.0, 1.0)
    found = resampled(spread, *both)
    assert found[:3] == pytest.approx((1.5, 1.5, 1.5))


def test_a_plan_that_never_arrives_leaves_no_upper_bound():
    both = bounds(arrivals(late=True), "base")
    assert spread(*both) == (1.5, np.inf)
    assert ratio(*both, *both) == (1.0, 1.0)  # a sixth is late: the median is known
