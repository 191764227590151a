"""Many networks of one shape as one: every parameter stacked along a new first dimension.

`torch.func` computes them together (`functional_call` under `vmap`), BatchNorm's buffers included;
convolutional networks whose channels stay apart go as one network of T times the channels
(`grouped`); networks with a ``stacked`` method of their own use that.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from etalambda.lab.models.grouped import Grouped, is_groupable


class Stacked:
    """T networks of one shape.

    ``names`` and ``params`` list the trainable tensors, each (T, *shape); ``buffers`` the rest:
    running statistics, and what is frozen (``requires_grad=False``).

    Args:
        nets: The networks, one architecture.

    Raises:
        ValueError: If there is none, or their tensors differ in name or shape.

    Example:
        >>> nets = Stacked.build(lambda: nn.Linear(3, 2), seeds=[0, 1, 0])
        >>> nets(nets.params, torch.ones(3, 5, 3)).shape, nets.count
        (torch.Size([3, 5, 2]), 8)
    """

    def __init__(self, nets: Sequence[nn.Module]) -> None:
        if not nets:
            raise ValueError("nets is empty; pass at least one network")
        shapes = [{k: v.shape for k, v in net.state_dict().items()} for net in nets]
        if any(shape != shapes[0] for shape in shapes):
            raise ValueError("nets differ in the names or shapes of their tensors; stack equals")
        self.template = copy.deepcopy(nets[0]).to("meta")
        rows = [dict(net.named_parameters()) for net in nets]
        self.names = [name for name, p in rows[0].items() if p.requires_grad]
        self.params = [torch.stack([row[n].detach() for row in rows]) for n in self.names]
        others = [net.state_dict() for net in nets]
        kept = [name for name in others[0] if name not in self.names]
        self.buffers = {n: torch.stack([row[n] for row in others]) for n in kept}
        self._fast = getattr(type(nets[0]), "stacked", None)
        self._grouped = Grouped(self.template, len(nets)) if is_groupable(nets[0]) else None

    @classmethod
    def build(
        cls,
        make: Callable[[], nn.Module],
        seeds: Sequence[int],
        *,
        device: str | torch.device = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> Stacked:
        """One network a seed, each drawn on the CPU from that seed; equal seeds, equal weights."""
        nets = {seed: seeded(make, seed) for seed in dict.fromkeys(seeds)}
        stacked = cls([net.to(device=device, dtype=dtype) for net in nets.values()])
        row = {seed: i for i, seed in enumerate(nets)}
        return stacked.pick(torch.tensor([row[seed] for seed in seeds], device=device))

    def pick(self, rows: Tensor) -> Stacked:
        """The networks of these rows, as copies."""
        picked = copy.copy(self)
        picked.params = [p[rows] for p in self.params]
        picked.buffers = {name: b[rows] for name, b in self.buffers.items()}
        if self._grouped is not None:
            picked._grouped = Grouped(self.template, len(rows))
        return picked

    @property
    def count(self) -> int:
        """Parameters of one network."""
        return sum(p[0].numel() for p in self.params)

    def __call__(self, params: list[Tensor], x: Tensor, training: bool = True) -> Tensor:
        """The networks' outputs: (T, B, ...) -> (T, B, ...). Training updates the buffers."""
        named = dict(zip(self.names, params))
        if self._fast is not None:
            return self._fast(named, x)
        if self._grouped is not None:
            return self._grouped(named, self.buffers, x, training)
        self.template.train(training)

        def one(params: dict[str, Tensor], buffers: dict[str, Tensor], x: Tensor) -> Tensor:
            return functional_call(self.template, (params, buffers), (x,))

        return vmap(one, randomness="different")(named, self.buffers, x)

    def unstack(self, row: int) -> nn.Module:
        """One of the networks as an ordinary module, with copies of its tensors."""
        net = copy.deepcopy(self.template).to_empty(device=self.params[0].device)
        net = net.to(self.params[0].dtype)
        tensors = dict(zip(self.names, self.params)) | self.buffers
        net.load_state_dict({name: t[row] for name, t in tensors.items()})
        return net


_SEEDING = threading.Lock()
T = TypeVar("T")


def seeded(make: Callable[[], T], seed: int) -> T:
    """``make()`` under a seed, leaving torch's own random state as it was.

    torch has one random state for all threads, and jobs run side by side: one makes at a time.
    """
    with _SEEDING, torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make()
