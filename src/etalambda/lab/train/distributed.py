"""One process or several: what a rank takes of a batch, how gradients and signals meet.

Under torchrun every rank computes its share of each batch. The gradient is the mean over the whole
batch, so with float64 arithmetic the weights are those of one process; BatchNorm normalizes each
rank's share by itself, as ``accumulate`` does with its parts.
"""

from __future__ import annotations

import datetime
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from etalambda.lab.train.config import TrainConfig


class Ranks:
    """The processes of a run; made by `world`.

    Attributes:
        rank, count: Of this process, and how many there are.
        device: Of this process.
        group: The process group; None for one process.
    """

    def __init__(self, config: TrainConfig, rank: int, count: int, device: torch.device) -> None:
        self.rank, self.count, self.device = rank, count, device
        self.sharded = count > 1 and config.sharding == "fsdp"
        self.group = dist.group.WORLD if count > 1 else None

    @property
    def first(self) -> bool:
        """Whether this process writes records."""
        return self.rank == 0

    def wrap(self, model: nn.Module) -> nn.Module:
        """The model on its device, as replicas or shards."""
        model = model.to(self.device)
        if self.count == 1:
            return model
        if not self.sharded:
            return nn.parallel.DistributedDataParallel(model)
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard

        mesh = init_device_mesh(self.device.type, (self.count,))
        for block in _blocks(model):
            fully_shard(block, mesh=mesh)
        fully_shard(model, mesh=mesh)  # in place
        return model

    def share(self, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor, float]:
        """This rank's rows of a batch, and by what their mean loss counts.

        Ranks average their gradients, so a rank with more rows than others counts more.

        Raises:
            ValueError: If a batch has fewer rows than there are ranks.
        """
        x, y = batch
        if self.count == 1:
            return x, y, 1.0
        if len(x) < self.count:
            raise ValueError(
                f"a batch of {len(x)} examples cannot be shared by {self.count} ranks; change "
                "batch_size, so that the last batch of an epoch is larger, or use fewer ranks"
            )
        mine_x, mine_y = (torch.tensor_split(t, self.count)[self.rank] for t in (x, y))
        return mine_x, mine_y, self.count * len(mine_x) / len(x)

    def last_piece(self, model: Any, last: bool) -> AbstractContextManager[Any]:
        """Let gradients meet in the last piece of a batch only."""
        if self.count == 1:
            return nullcontext()
        if self.sharded:
            model.set_requires_gradient_sync(last)
            return nullcontext()
        return nullcontext() if last else model.no_sync()

    def mean(self, value: Tensor) -> Tensor:
        """The mean of a 0-d tensor over the ranks; every rank must call it."""
        if self.count > 1:
            dist.all_reduce(value)
            value /= self.count
        return value

    def gathered(self, value: Any) -> list[Any]:
        """What every rank passes, by rank; every rank must call it."""
        found = [value] * self.count
        if self.count > 1:
            dist.all_gather_object(found, value)
        return found

    def told_by_first(self, value: bool) -> bool:
        """What the first rank thinks; every rank must call it."""
        return bool(self.gathered(value)[0])

    def barrier(self) -> None:
        """Wait for all."""
        if self.count > 1:
            dist.barrier()


def _blocks(model: nn.Module) -> Iterator[nn.Module]:
    """The entries of the outermost lists of modules: a transformer's blocks."""
    for child in model.children():
        yield from child if isinstance(child, nn.ModuleList) else _blocks(child)


@contextmanager
def world(config: TrainConfig) -> Iterator[Ranks]:
    """The ranks that torchrun started, or one; leaves the process group if it joined it.

    Raises:
        ValueError: If the device is not there.
    """
    joined = dist.is_available() and dist.is_initialized()
    count = dist.get_world_size() if joined else int(os.environ.get("WORLD_SIZE", "1"))
    rank = dist.get_rank() if joined else int(os.environ.get("RANK", "0"))
    device = torch.device(config.device)
    if device.type == "cuda" and count > 1:
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(device)
    if joined or count == 1:
        yield Ranks(config, rank, count, device)
        return
    backend = "nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(backend, timeout=datetime.timedelta(minutes=10))
    try:
        yield Ranks(config, rank, count, device)
    finally:
        dist.destroy_process_group()
