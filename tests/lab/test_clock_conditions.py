"""The decay clock of Part II: what its conditions feed, and what its bounds say of late runs."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from etalambda.lab.engine import Trial
from etalambda.lab.figures.parttwo._conditions import CONDITIONS, PLANS, feed_of
from etalambda.lab.figures.parttwo.clock import bounds, ratio, resampled, spread
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
