"""Ranks that see different losses: averaged with ``process_group``, apart without it."""

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from etalambda.schedule import MatchedAnnealing, Scheduler


def rank_main(rank, folder):
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    ends = {}
    for name, group in {"averaged": dist.group.WORLD, "alone": None}.items():
        weight = torch.nn.Parameter(torch.ones(2))
        optimizer = torch.optim.AdamW([weight], lr=0.1, weight_decay=0.5)
        scheduler = Scheduler(optimizer, process_group=group, weight_decay=MatchedAnnealing())
        for loss in (4.0 + rank, 2.0 - rank):
            optimizer.step()
            scheduler.step(loss=loss)
        ends[name] = scheduler.last("weight_decay")[0]
    torch.save(ends, f"{folder}/rank{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.dist
def test_a_process_group_makes_ranks_agree(tmp_path):
    mp.spawn(rank_main, args=(str(tmp_path),), nprocs=2)
    ends = [torch.load(tmp_path / f"rank{rank}.pt", weights_only=True) for rank in (0, 1)]
    first, second = ends
    assert first["averaged"] == second["averaged"] == pytest.approx(0.5 * 1.5 / 4.5)
    assert (first["alone"], second["alone"]) == (0.25, pytest.approx(0.1))
