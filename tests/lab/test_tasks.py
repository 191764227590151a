"""Tasks: fixed splits, seeded orders, exact labels."""

import numpy as np
import pytest
import torch

from etalambda.lab.engine import Trial
from etalambda.lab.statistics import mean_sd, paired_difference, r_squared, slope
from etalambda.lab.tasks import Digits, Modular, Passes
from etalambda.lab.tasks.digits import error
from etalambda.lab.tasks.passes import permutation


def test_digits_split_is_fixed_and_disjoint():
    from sklearn.datasets import load_digits

    images = load_digits().data
    task = Digits(label_noise=0)
    rows = torch.cat([task.x[name] for name in ("train", "val", "test")]).double().numpy()
    order = lambda x: x[np.lexsort(x.T)]
    spread = images.std() / rows.std()
    back = order(np.round(rows * spread + images.mean() - rows.mean() * spread))
    assert np.array_equal(back, order(images))
    assert abs(task.x["train"].mean()) < 1e-6
    assert task.x["train"].std() == pytest.approx(1, abs=1e-3)


def test_label_noise_moves_exactly_its_share_of_training_labels():
    clean, noisy = Digits(label_noise=0), Digits(label_noise=0.2)
    moved = clean.y["train"] != noisy.y["train"]
    assert int(moved.sum()) == 120
    assert torch.equal(moved, noisy.wrong)
    more = Digits(label_noise=0.4)
    assert int((clean.y["train"] != more.y["train"]).sum()) == 240
    assert bool((more.wrong | ~noisy.wrong).all())  # more noise keeps the wrong labels wrong
    for part in ("val", "test"):
        assert torch.equal(clean.y[part], noisy.y[part])
    assert not clean.wrong.any()


def test_every_epoch_sees_every_image_once_in_an_order_of_the_seed():
    task = Digits(batch_size=70)
    assert task.steps_per_epoch == 9
    trials = [Trial(0, 0.1), Trial(1, 0.1), Trial(0, 0.2)]
    feed = task.batches(trials)
    batches = [feed(step) for step in range(18)]
    assert batches[8][0].shape == (3, 40, 64)
    first = torch.cat([x for x, _ in batches[:9]], 1)
    second = torch.cat([x for x, _ in batches[9:]], 1)
    assert torch.equal(first[0], first[2])
    assert not torch.equal(first[0], first[1])
    assert not torch.equal(first[0], second[0])
    order = lambda x: x[x[:, :].sum(1).argsort()].sum(1)
    torch.testing.assert_close(order(first[0]), order(task.x["train"]))
    torch.testing.assert_close(order(second[1]), order(task.x["train"]))


def test_the_feed_can_start_anywhere():
    task = Digits()
    trials = [Trial(3, 0.1)]
    straight = task.batches(trials)
    for step in range(30):
        last = straight(step)
    assert torch.equal(task.batches(trials)(29)[0], last[0])
    assert torch.equal(permutation(9, 3, 5), permutation(9, 3, 5))
    assert not torch.equal(permutation(9, 3, 5), permutation(9, 4, 5))


def test_errors_are_shares():
    outputs = torch.eye(10)[None].repeat(2, 1, 1)
    labels = torch.arange(10)
    outputs[1, 0] = -1.0
    outputs[1, 0, 3] = 1.0
    assert error(outputs, labels).tolist() == pytest.approx([0.0, 0.1])


@pytest.mark.parametrize(
    ("change", "message"),
    [(dict(label_noise=1.0), "label_noise must lie"), (dict(batch_size=0), "batch_size must be")],
)
def test_bad_digits_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        Digits(**change)


def test_modular_halves_and_sums():
    task = Modular(7)
    a, b = task.pairs.unbind(1)
    assert torch.equal((a + b) % 7, task.sums)
    assert len(torch.unique(task.pairs, dim=0)) == 49
    x, y = task.batches([Trial(0, 0.1), Trial(1, 0.1)])(5)
    assert x.shape == (2, 24, 2)
    assert torch.equal(x.sum(-1) % 7, y)
    perfect = torch.nn.functional.one_hot(task.sums, 7).float().expand(2, -1, -1).clone()
    assert [part.tolist() for part in task.accuracy(perfect, [0, 1])] == [[1, 1], [1, 1]]
    wrong = perfect.clone()
    wrong[0, task.is_training(0)] = 0
    wrong[0, task.is_training(0), 0] = 1
    train, test = task.accuracy(wrong, [0, 1])
    assert train[0] < 0.5
    assert test.tolist() == [1, 1]


def test_paired_difference_is_the_t_interval():
    from scipy.stats import ttest_1samp

    random = np.random.default_rng(0)
    a, b = random.normal(size=9), random.normal(size=9)
    a[3] = np.nan
    expected = ttest_1samp(np.delete(a - b, 3), 0).confidence_interval()
    found = paired_difference(a, b)
    assert (found.low, found.high, found.n) == pytest.approx((expected.low, expected.high, 8))
    with pytest.raises(ValueError, match="must be paired"):
        paired_difference([1.0], [1.0, 2.0])
    assert np.isnan(paired_difference([1.0], [0.0]).low)


def test_slope_is_the_regression_of_scipy():
    from scipy.stats import linregress, t

    random = np.random.default_rng(1)
    x = random.normal(size=12)
    y = 2 * x + random.normal(size=12)
    line = linregress(x, y)
    found = slope(x, y)
    assert found.value == pytest.approx(line.slope)
    assert found.high - found.value == pytest.approx(t.ppf(0.975, 10) * line.stderr)
    assert np.isnan(slope([1, 2], [1, 2]).value)
    assert np.isnan(slope([1, 1, 1], [1, 2, 3]).value)


def test_r_squared_is_a_share():
    x = np.geomspace(1e-3, 1e3, 40)
    assert r_squared(x, np.log(x) ** 3 - np.log(x))[0] == pytest.approx(1)
    noise = np.random.default_rng(2).normal(size=40)
    assert 0 <= r_squared(x, noise)[0] < 0.4
    assert np.isnan(r_squared(x[:3], noise[:3])[0])
    assert np.isnan(r_squared(x, np.ones(40))[0])
    assert r_squared(np.append(x, 0), np.append(noise, 1))[1] == 40
    assert mean_sd([])[2] == 0


@pytest.mark.parametrize("passes", [1, 4])
def test_passes_show_each_row_of_the_share_once_a_pass(passes):
    task = Passes(torch.arange(50), torch.arange(50), passes=passes, batch_size=3)
    feed = task.batches([Trial(seed=s, lr=0.1) for s in (0, 1, 0)])
    seen = torch.cat([feed(step)[0] for step in range(task.steps)], 1)
    rows = task.steps_per_epoch * 3
    assert seen.shape == (3, passes * rows)
    assert torch.equal(seen[0], seen[2])
    for stream in seen[:2]:
        epochs = stream.view(passes, rows)
        assert len(epochs[0].unique()) == rows
        assert all(torch.equal(e.sort().values, epochs[0].sort().values) for e in epochs)
    assert not torch.equal(seen[0], seen[1])


def test_passes_that_fill_no_batch_are_named():
    with pytest.raises(ValueError, match="50 rows in 20 passes do not fill a batch of 3"):
        Passes(torch.arange(50), torch.arange(50), passes=20, batch_size=3)
