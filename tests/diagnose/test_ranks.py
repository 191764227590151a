"""Curvature under DDP: two ranks with a batch each are one process with both."""

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn

from etalambda.diagnose import Monitor, Panel, curvature, hessian_vector_product


def setting():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 3)).double()
    return net, torch.randn(20, 5).double(), torch.randint(3, (20,))


def panel_row(shard):
    """The panel after three steps on given gradients, of whole or of sharded weights."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import Shard, distribute_tensor

    generator = torch.Generator().manual_seed(1)
    whole = [torch.randn(s, generator=generator).double() for s in ((6, 5), (7,))]
    mesh = init_device_mesh("cpu", (2,)) if shard else None

    def place(tensor):
        return distribute_tensor(tensor, mesh, [Shard(0)]) if shard else tensor

    params = [nn.Parameter(place(w.clone())) for w in whole]
    optimizer = torch.optim.SGD(params, lr=0.1, weight_decay=0.1)
    monitor = Monitor(optimizer, panel=Panel(per="tensor"))
    for _ in range(3):
        for p, w in zip(params, whole):
            p.grad = place(torch.randn(w.shape, generator=generator).double())
        optimizer.step()
    return monitor.last


def rank_main(rank, folder):
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    try:
        net, x, y = setting()
        mine = slice(0, 7) if rank == 0 else slice(7, 20)  # unequal shares
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1, weight_decay=0.01)
        wrapped = nn.parallel.DistributedDataParallel(net)
        options = dict(optimizers=optimizer, process_group=dist.group.WORLD)
        batch, loss = (x[mine], y[mine]), nn.CrossEntropyLoss()
        product, n = hessian_vector_product(wrapped, loss, batch, **options)
        found = curvature(wrapped, loss, batch, steps=20, probes=2, **options)
        row = (product(torch.ones(n).double()), found.minimum, found.maximum, found.trace.value)
        torch.save((row, panel_row(shard=True)), f"{folder}/{rank}.pt")
    finally:
        dist.destroy_process_group()


@pytest.mark.dist
def test_two_ranks_are_one_process(tmp_path):
    mp.spawn(rank_main, args=(str(tmp_path),), nprocs=2)
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2))
    net, x, y = setting()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, weight_decay=0.01)
    loss = nn.CrossEntropyLoss()
    product, n = hessian_vector_product(net, loss, (x, y), optimizers=optimizer)
    alone = curvature(net, loss, (x, y), optimizers=optimizer, steps=20, probes=2)
    alone_row = panel_row(shard=False)
    for row, seen in (first, second):
        assert seen == pytest.approx(alone_row, rel=1e-5, abs=1e-7)
        torch.testing.assert_close(row[0], product(torch.ones(n).double()), rtol=1e-12, atol=1e-14)
        assert row[1:] == pytest.approx((alone.minimum, alone.maximum, alone.trace.value), rel=1e-9)
