"""Distances, drift and averaging along a trajectory against their definitions."""

import copy

import pytest
import torch
from torch import nn

from etalambda.diagnose import averaging_gain, output_drift, snapshot, weight_distances


def test_distances_of_a_random_walk_grow_as_the_root_of_the_lag():
    """‖W_T - W_{T+Δ}‖² = Δ d for unit steps in d dimensions."""
    generator, d = torch.Generator().manual_seed(0), 5000
    walk = torch.randn(20, d, generator=generator).double().cumsum(0)
    found = weight_distances([{"w": w} for w in walk])
    torch.testing.assert_close(found, found.T)
    assert found.diagonal().abs().max() == 0
    for lag in (1, 4, 16):
        mean = found.diagonal(lag).square().mean() / d
        assert mean == pytest.approx(lag, rel=0.05)


def test_drift_is_the_mean_total_variation():
    a, b = torch.randn(7, 4), torch.randn(7, 4)
    by_hand = [(p - q).abs().sum() / 2 for p, q in zip(a.softmax(1), b.softmax(1))]
    assert output_drift(a, b) == pytest.approx(float(sum(by_hand)) / 7, rel=1e-6)
    assert output_drift(a, a) == 0
    with pytest.raises(ValueError, match=r"got \(7, 4\) and \(7, 3\)"):
        output_drift(a, b[:, :3])


def test_averaging_a_noisy_quadratic_removes_the_noise():
    """Members at squared distance s² from the minimum, independent: the mean of n is at s²/n."""
    torch.manual_seed(0)
    net = nn.Linear(400, 1, bias=False)
    before = copy.deepcopy(net.state_dict())
    points = [{"weight": torch.randn(1, 400)} for _ in range(16)]
    found = averaging_gain(net, points, lambda m: -float(m.weight.square().sum()))
    assert -found.average == pytest.approx(400 / 16, rel=0.3)
    assert found.gain == pytest.approx(400 * 15 / 16, rel=0.1)
    torch.testing.assert_close(net.state_dict(), before)


def test_batch_norm_is_refreshed_and_counters_stay_whole():
    net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    x = torch.randn(50, 3)
    net(x)
    points = [snapshot(net)]
    net(x + 1)
    points.append(snapshot(net))
    assert not any(t.requires_grad for t in points[0].values())
    seen = []
    averaging_gain(net, points, lambda m: 0.0, refresh=lambda m: seen.append(m))
    assert seen[0][1].num_batches_tracked.dtype == torch.long
    assert weight_distances(points)[0, 1] > 0


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="snapshots is empty"):
        weight_distances([])
    with pytest.raises(ValueError, match="differ in the names or shapes"):
        averaging_gain(nn.Linear(1, 1), [{"a": torch.ones(1)}, {"a": torch.ones(2)}], lambda m: 0.0)
