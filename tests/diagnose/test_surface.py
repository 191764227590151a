"""Slices of the loss against direct evaluation; the model is left alone."""

import copy

import pytest
import torch
from torch import nn

from etalambda.diagnose import direction_between, filter_normalized_direction, loss_slice


def setting():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 2)).double()
    return net, (torch.randn(12, 3).double(), torch.randint(2, (12,)))


def test_one_and_two_dimensional_slices():
    net, batch = setting()
    loss, before = nn.CrossEntropyLoss(), copy.deepcopy(net.state_dict())
    here = loss(copy.deepcopy(net)(batch[0]), batch[1]).item()
    d, e = (filter_normalized_direction(net, seed=s) for s in (1, 2))
    plane = loss_slice(net, loss, batch, [d, e], [-0.5, 0.0, 0.5], [0.0, 1.0])
    assert plane.shape == (3, 2)
    assert plane[1, 0].item() == pytest.approx(here, rel=1e-12)
    line = loss_slice(net, loss, batch, [d], [-0.5, 0.0, 0.5])
    torch.testing.assert_close(line, plane[:, 0])
    torch.testing.assert_close(net.state_dict(), before, rtol=0, atol=0)


def test_filters_have_the_weights_norm_and_vectors_stay_fixed():
    net, _ = setting()
    direction = filter_normalized_direction(net)
    assert sorted(direction) == ["0.weight", "3.weight"]
    for name, d in direction.items():
        weight = dict(net.named_parameters())[name]
        torch.testing.assert_close(d.norm(dim=1), weight.detach().norm(dim=1))


def test_a_scale_invariant_network_has_the_same_slice_at_any_scale():
    """The reason for filter normalisation: it undoes what weight decay does to the picture."""
    net, batch = setting()
    net[0].bias.requires_grad_(False).zero_()
    grid = torch.linspace(-1, 1, 5)
    direction = {"0.weight": filter_normalized_direction(net, seed=4)["0.weight"]}
    small = loss_slice(net, nn.CrossEntropyLoss(), batch, [direction], grid)
    with torch.no_grad():
        net[0].weight *= 10
    direction = {"0.weight": filter_normalized_direction(net, seed=4)["0.weight"]}
    large = loss_slice(net, nn.CrossEntropyLoss(), batch, [direction], grid)
    torch.testing.assert_close(small, large, rtol=1e-3, atol=1e-3)  # BatchNorm's eps


def test_between_two_checkpoints():
    net, batch = setting()
    other = copy.deepcopy(net)
    with torch.no_grad():
        for p in other.parameters():
            p += torch.randn_like(p)
    path = direction_between(net, dict(other.named_parameters()))
    ends = loss_slice(net, nn.CrossEntropyLoss(), batch, [path], [0.0, 1.0])
    there = nn.CrossEntropyLoss()(other(batch[0]), batch[1])
    assert ends[1].item() == pytest.approx(there.item(), rel=1e-12)


def test_bad_input_is_named():
    net, batch = setting()
    d = filter_normalized_direction(net)
    with pytest.raises(ValueError, match="one grid a direction, got 1 and 2"):
        loss_slice(net, nn.CrossEntropyLoss(), batch, [d], [0.0], [0.0])
    with pytest.raises(ValueError, match="does not fit the model at 'nope'"):
        loss_slice(net, nn.CrossEntropyLoss(), batch, [{"nope": torch.ones(1)}], [0.0])
    with pytest.raises(ValueError, match=r"lacks '0.bias'"):
        direction_between(net, {})
