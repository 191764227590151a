"""What the processes of test_distributed.py run. Two ranks, gloo, a file as meeting point."""

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.nn import Parameter

from etalambda.optim import Adai, AdaiS, AdamS, stable_decay, weight_noise
from tests.laws import HOOKS
from tests.two_ranks import run_scenarios

MAKE = {
    "AdamS": lambda ps, **o: AdamS(ps, lr=3e-4, weight_decay=0.06, **o),
    "AdamS forloop": lambda ps, **o: AdamS(ps, lr=3e-4, weight_decay=0.06, foreach=False, **o),
    "AdamS foreach": lambda ps, **o: AdamS(ps, lr=3e-4, weight_decay=0.06, foreach=True, **o),
    "AMSGradS": lambda ps, **o: AdamS(ps, lr=3e-4, weight_decay=0.06, amsgrad=True, **o),
    "AdamS clipped": lambda ps, **o: AdamS(ps, lr=3e-4, weight_decay=0.06, max_norm=0.1, **o),
    "Adai": lambda ps, **o: Adai(ps, lr=3e-3, weight_decay=0.3, **o),
    "AdaiS": lambda ps, **o: AdaiS(ps, lr=3e-3, weight_decay=0.3, **o),
    "torch AdamW": lambda ps: torch.optim.AdamW(ps, lr=3e-4, weight_decay=0.5),
}


def net(dtype, seed=0):
    """Shards of 17 and 16 rows, and an empty one."""
    torch.manual_seed(seed)
    layers = nn.Linear(64, 33), nn.Tanh(), nn.Linear(33, 7), nn.Tanh(), nn.Linear(7, 1)
    return nn.Sequential(*layers).to(dtype)


def train(model, optimizer, steps=20, start=0, rank=None):
    """The same batches everywhere; with ``rank`` each process takes its half."""
    dtype = next(model.parameters()).dtype
    for step in range(start, start + steps):
        generator = torch.Generator().manual_seed(step)
        x = torch.randn(8, 64, generator=generator, dtype=torch.float64).to(dtype)
        y = torch.randn(8, 1, generator=generator, dtype=torch.float64).to(dtype)
        if rank is not None:
            x, y = x.chunk(2)[rank], y.chunk(2)[rank]
        optimizer.zero_grad()
        (model(x) - y).square().mean().backward()
        optimizer.step()


def full(p):
    """The whole of a parameter, sharded or not."""
    return (p.full_tensor() if hasattr(p, "full_tensor") else p).detach()


def error(model, expected):
    """The largest difference of a weight."""
    pairs = zip(model.parameters(), expected, strict=True)
    return max((full(ours) - theirs).abs().max().item() for ours, theirs in pairs)


def compare(model, expected, tolerance):
    found = error(model, expected)
    assert found <= tolerance, found


def alone(name, dtype, steps=20):
    """The weights after ``steps`` in a single process."""
    model = net(dtype)
    train(model, MAKE[name](model.parameters()), steps)
    return [p.detach() for p in model.parameters()]


def ddp(rank, _folder):
    for dtype, tolerance in ((torch.float64, 1e-12), (torch.float32, 1e-6)):
        for name in ("AdamS", "AdaiS"):
            model = nn.parallel.DistributedDataParallel(net(dtype))
            train(model, MAKE[name](model.parameters()), rank=rank)
            compare(model, alone(name, dtype), tolerance)


def shard(model, mesh):
    from torch.distributed.fsdp import fully_shard

    for layer in model:
        if isinstance(layer, nn.Linear):
            fully_shard(layer, mesh=mesh)
    fully_shard(model, mesh=mesh)
    return model


def fsdp(rank, _folder):
    """float64 to 1e-12. In float32 the gradients of two half batches add up to another rounding
    than that of the whole batch, and Adam's m / √v magnifies it where both are small: torch's
    AdamW in the same script is the control. With one batch on both ranks nothing is left of it.
    """
    mesh = init_device_mesh("cpu", (2,))

    def trained(name, dtype, rank):
        model = shard(net(dtype), mesh)
        train(model, MAKE[name](model.parameters()), rank=rank)
        return model

    control = error(
        trained("torch AdamW", torch.float32, rank), alone("torch AdamW", torch.float32)
    )
    assert 0 < control < 1e-5, control
    for name in MAKE:
        compare(trained(name, torch.float64, rank), alone(name, torch.float64), 1e-12)
        expected = alone(name, torch.float32)
        compare(trained(name, torch.float32, None), expected, 1e-7)
        compare(trained(name, torch.float32, rank), expected, max(1e-6, 4 * control))


def hooks(rank, _folder):
    """Hooks see the norms of whole tensors, whatever part of them a rank holds."""
    mesh = init_device_mesh("cpu", (2,))
    for name, hook in {**HOOKS, "stable": stable_decay}.items():
        if "noise" in name:
            continue
        results = []
        for sharded in (False, True):
            model = net(torch.float64)
            if sharded:
                shard(model, mesh)
            optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.3)
            hook(optimizer)
            train(model, optimizer, 6, rank=rank if sharded else None)
            results.append([full(p) for p in model.parameters()])
        for ours, theirs in zip(*results):
            torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12, msg=name)
    model = shard(net(torch.float64), mesh)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.3)
    with pytest.raises(ValueError, match="sharded parameters"):
        weight_noise(optimizer, 0.1, 5)


def hsdp(rank, _folder):
    """Replicas agree already: v̄ is reduced over the sharded dimension of the mesh only."""
    for shape in ((2, 1), (1, 2)):
        mesh = init_device_mesh("cpu", shape, mesh_dim_names=("replicate", "shard"))
        for name in ("AdamS", "AMSGradS"):
            model = shard(net(torch.float64), mesh)
            train(model, MAKE[name](model.parameters()), rank=rank)
            compare(model, alone(name, torch.float64), 1e-12)


def local_shards(rank, _folder):
    """Plain tensors that are split by hand, with ``process_group``: one rank lacks a gradient."""
    for name in ("AdamS", "AMSGradS", "AdamS clipped", "AdaiS"):
        generator = torch.Generator().manual_seed(1)
        whole = torch.randn(10, generator=generator, dtype=torch.float64)
        reference = [Parameter(whole.clone()), Parameter(torch.ones(2).double())]
        mine = Parameter(whole[:7].clone() if rank == 0 else whole[7:].clone())
        extra = Parameter(torch.ones(2).double()) if rank == 0 else None
        shards = [mine] if extra is None else [mine, extra]
        ours = MAKE[name](shards, process_group=dist.group.WORLD)
        theirs = MAKE[name](reference)
        for step in range(10):
            g = torch.randn(10, generator=generator, dtype=torch.float64)
            reference[0].grad = g.clone() if step % 3 else None
            reference[1].grad = torch.ones(2).double()
            mine.grad = (g[:7] if rank == 0 else g[7:]).clone() if step % 3 else None
            if extra is not None:
                extra.grad = torch.ones(2).double()
            theirs.step(), ours.step()
        expected = reference[0].detach()[:7] if rank == 0 else reference[0].detach()[7:]
        torch.testing.assert_close(mine.detach(), expected, rtol=1e-12, atol=1e-12)


def checkpoint(rank, folder):
    """DCP: save on two ranks, load on two ranks; `test_dcp` then loads on one."""
    import torch.distributed.checkpoint as dcp
    from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict

    mesh = init_device_mesh("cpu", (2,))
    model = shard(net(torch.float64), mesh)
    optimizer = MAKE["AdamS"](model.parameters())
    train(model, optimizer, 5, rank=rank)
    weights, state = get_state_dict(model, optimizer)
    dcp.save(dict(model=weights, optimizer=state), checkpoint_id=folder + "/dcp")
    train(model, optimizer, 5, start=5, rank=rank)

    again = shard(net(torch.float64), mesh)
    second = MAKE["AdamS"](again.parameters())
    weights, state = get_state_dict(again, second)
    dcp.load(dict(model=weights, optimizer=state), checkpoint_id=folder + "/dcp")
    set_state_dict(again, second, model_state_dict=weights, optim_state_dict=state)
    train(again, second, 5, start=5, rank=rank)
    compare(again, [full(p) for p in model.parameters()], 0.0)
    whole = [full(p) for p in model.parameters()]
    if rank == 0:
        torch.save(whole, folder + "/expected.pt")


SCENARIOS = (ddp, fsdp, hsdp, hooks, local_shards, checkpoint)


def process(rank, folder):
    """One process: meet, run every scenario and note how it ended, leave."""
    torch.set_num_threads(1)
    run_scenarios(SCENARIOS, rank, folder)
