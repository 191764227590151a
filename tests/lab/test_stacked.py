"""Many networks in one call: each is the network that it would have been alone."""

import pytest
import torch
from torch import nn

from etalambda.lab.models import MLP, Quadratic, SmallCNN, SmallResNet, Stacked
from etalambda.lab.models.convnets import densenet121, mnist_cnn
from etalambda.lab.models.grouped import Grouped
from etalambda.lab.models.resnets import Bottleneck, PreResNet, ResNet


@pytest.mark.parametrize(
    ("make", "x"),
    [
        (MLP, torch.randn(3, 5, 64)),
        (lambda: Quadratic(7, 16), torch.randint(0, 7, (3, 9, 2))),
    ],
)
def test_fast_paths_equal_vmap_of_the_module(make, x):
    nets = Stacked.build(make, [0, 1, 2], dtype=torch.float64)
    x = x.double() if x.is_floating_point() else x
    leaves = [p.requires_grad_() for p in nets.params]
    values = []
    for fast in (nets._fast, None):
        nets._fast = fast
        out = nets(leaves, x)
        values.append((out, *torch.autograd.grad(out.sin().sum(), leaves)))
    for ours, theirs in zip(*values):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (lambda: SmallCNN(3), (64,)),
        (lambda: SmallResNet(2), (64,)),
        (lambda: mnist_cnn(width=2), (1, 28, 28)),
        (lambda: PreResNet(1), (3, 8, 8)),
        (lambda: ResNet(Bottleneck, (1, 1, 1, 1)), (3, 8, 8)),
    ],
)
def test_grouped_networks_equal_vmap_buffers_included(make, shape, training):
    x = torch.randn(3, 4, *shape, dtype=torch.float64)
    values = []
    for grouped in (True, False):
        nets = Stacked.build(make, [0, 1, 2], dtype=torch.float64)
        nets._grouped = nets._grouped if grouped else None
        leaves = [p.requires_grad_() for p in nets.params]
        out = nets(leaves, x, training)
        values.append((out, *torch.autograd.grad(out.sin().sum(), leaves), *nets.buffers.values()))
    for ours, theirs in zip(*values):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-10)


def test_networks_that_join_channels_are_not_grouped():
    assert Stacked([densenet121(growth=2)])._grouped is None
    with pytest.raises(ValueError, match="cannot be grouped; use vmap"):
        Grouped(densenet121(growth=2), 2)


def test_unstacked_networks_are_the_rows():
    nets = Stacked.build(SmallCNN, [0, 1])
    x = torch.randn(2, 6, 64)
    out = nets(nets.params, x)
    row = nets.unstack(1)
    assert torch.equal(row.features[1].running_mean, nets.buffers["features.1.running_mean"][1])
    torch.testing.assert_close(row.train()(x[1]), out[1], rtol=1e-4, atol=1e-5)


def test_nets_of_two_shapes_do_not_stack():
    with pytest.raises(ValueError, match="differ in the names or shapes"):
        Stacked([nn.Linear(2, 2), nn.Linear(2, 3)])
    with pytest.raises(ValueError, match="nets is empty"):
        Stacked([])


def test_a_seed_makes_one_network_in_whatever_thread():
    """torch's random state is one for all threads: without a lock, jobs mix each other's draws."""
    from concurrent.futures import ThreadPoolExecutor

    from etalambda.lab.models.stacked import seeded

    def make(seed):
        return seeded(
            lambda: torch.nn.Sequential(*[torch.nn.Linear(8, 8) for _ in range(40)]), seed
        )

    alone = [make(seed)[0].weight for seed in range(16)]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(make, range(16)))
    for weight, net in zip(alone, together):
        assert torch.equal(weight, net[0].weight)
        assert not torch.equal(net[0].weight, net[39].weight)
