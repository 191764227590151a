"""Sums over the whole model: over param groups, devices and shards, in one small all-reduce.

A DTensor holds a shard of its parameter. A sum over the model adds what every rank has, over the
mesh dimensions that shard and over no others: replicas (DDP, the outer dimension of HSDP) already
agree. Plain tensors are whole, unless the optimizer was given a ``process_group`` over whose ranks
they are split (FSDP1, ZeRO, Megatron).
"""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

PLAIN = {Tensor, torch.nn.Parameter}
Groups = tuple[Any, ...]  # the process groups over which a tensor is split


def shard_groups(p: Tensor, process_group: Any = None) -> Groups:
    """The process groups over whose ranks ``p`` is split; empty for a whole tensor."""
    placements = getattr(p, "placements", None)
    if placements is None:
        return () if process_group is None else (process_group,)
    mesh = p.device_mesh  # type: ignore[attr-defined]
    return tuple(
        mesh.get_group(dim)
        for dim, placement in enumerate(placements)
        if not placement.is_replicate() and mesh.size(dim) > 1
    )


def layouts(params: Iterable[Tensor], process_group: Any = None) -> list[Groups]:
    """Every way in which the model is split, in an order that all ranks share.

    It looks at parameters without a gradient too: a rank that holds none still has to answer.
    """
    found: dict[Groups, None] = {}
    params = list(params)
    if process_group is None and set(map(type, params)) <= PLAIN:
        return []
    for p in params:
        if process_group is not None or type(p) not in PLAIN:
            found.setdefault(shard_groups(p, process_group))
    return list(found)


def total(
    parts: Sequence[tuple[Groups, Sequence[Tensor | float]]],
    every: Sequence[Groups],
    width: int,
    home: torch.device,
) -> list[Tensor]:
    """The sums over all parts and ranks of ``width`` numbers each, as 0-d float64 tensors.

    Args:
        parts: For each part of the model how it is split, and its ``width`` local sums.
        every: All layouts of the model (`layouts`): each is reduced once, also without a part.
        width: How many numbers each part has.
        home: The device on which the sums are taken.
    """
    result = torch.zeros(width, dtype=torch.float64, device=home)
    for groups in dict.fromkeys([*every, *(groups for groups, _ in parts)]):
        local = [_vector(values, home) for where, values in parts if where == groups]
        row = torch.stack(local).sum(0) if local else result.new_zeros(width)
        for group in groups:
            torch.distributed.all_reduce(row, group=group)
        result = result + row
    return list(result.unbind())


def _vector(values: Sequence[Tensor | float], home: torch.device) -> Tensor:
    if not any(isinstance(value, Tensor) for value in values):
        return torch.tensor(values, dtype=torch.float64, device=home)
    return torch.stack(
        [
            v.to(home, torch.float64)
            if isinstance(v, Tensor)
            else torch.full((), v, dtype=torch.float64, device=home)
            for v in values
        ]
    )


def by_layout(lists: Any, process_group: Any) -> list[Any]:
    """Lists whose tensors are all split in one way, so that their sums can be added."""
    if set(map(type, lists.params)) <= PLAIN:
        return [lists]
    found: dict[Groups, list[int]] = {}
    for index, p in enumerate(lists.params):
        found.setdefault(shard_groups(p, process_group), []).append(index)
    return [lists.pick(indices) for indices in found.values()]
