"""Matrices on a sphere, moved by a fixed angle a step: hyperball optimization.

Wen, Dang, Lyu, Ma & Liang 2026, arXiv 2606.16899. Weight decay sets the norm of a matrix and, with
it, the size of a step relative to the weights. So fix both, and let the optimizer choose only
the direction u:

    W ← R · Norm(W - η R · Norm(u)),     R = ‖W_0‖,     Norm(x) = x / ‖x‖

On Adam this is AdamH, on Muon MuonH. η is an angle: the step of `keep_on_sphere` without the
optimizer's own step length. λ has nothing left to do.

    paper   η    R        u
    code    lr   radius   the change that the optimizer makes, -ΔW, of any length

Departures from the paper: u is read off as the difference of the weights before and after the
step, so in float32 its direction is exact to about 1e-7 ‖W‖ / ‖ΔW‖ only.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from etalambda.optim._base import as_float
from etalambda.optim.hooks import Active, DecayHook
from etalambda.optim.norm_control import refuse_local_shards
from etalambda.optim.sphere import norm_of


def hyperball_step(start: Tensor, moved: Tensor, radius: float, lr: float) -> Tensor:
    """R · Norm(W - η R · Norm(u)) with u from W = ``start`` to ``moved``; W itself if u = 0."""
    change = moved - start
    length = norm_of([change])
    if not isinstance(length, Tensor):
        if not length > 0:
            return start
        tilted = start + change * (lr * radius / length)
        return tilted * (radius / norm_of([tilted]))
    moving = length > 0  # on the device, where to look would be to wait
    tilted = start + change * (lr * radius / torch.where(moving, length, 1.0))
    return tilted * torch.where(moving, radius / norm_of([tilted]), 1.0)


class _Hyperball(DecayHook):
    def begin(self, rows: Active) -> None:
        refuse_local_shards(self._optimizers, "hyperball")
        self._place(rows)

    def chosen(self, rows: Active) -> Any:
        for group, p, decay in super().chosen(rows):
            if p.dim() >= 2 or self._only is not None:
                yield group, p, decay

    def _place(self, rows: Active) -> None:
        """The radius of each matrix that has none yet."""
        for _, p, _ in self.chosen(rows):
            if p not in self.state:
                radius = as_float(norm_of([p]))
                if radius == 0:
                    raise ValueError(
                        f"hyperball got a tensor of shape {tuple(p.shape)} and norm 0, which no "
                        "sphere holds; initialize it, or put it into a group with weight_decay=0"
                    )
                self.state[p] = dict(radius=radius)

    def prepare(self, optimizer: Optimizer, rows: Active) -> None:
        self._place(rows)
        self._start = {p: p.clone() for _, p, _ in self.chosen(rows)}

    def act(self, optimizer: Optimizer, active: Active) -> None:
        for group, p, _ in self.chosen(active):
            lr = as_float(group["lr"])
            p.copy_(hyperball_step(self._start[p], p, self.state[p]["radius"], lr))
        self._start = {}


def hyperball(
    optimizers: Optimizer | Iterable[Optimizer], params: Iterable[Tensor] | None = None
) -> DecayHook:
    """Move matrices by the angle ``lr`` a step and keep the norm that they have now.

    Args:
        optimizers: Any torch optimizers; only the direction of their steps matters. ``lr`` becomes
            an angle: the authors use 2.5e-3 to 1e-2.
        params: The tensors to keep on their spheres. None: those of two or more dimensions in
            groups whose ``weight_decay`` is not 0. All others move freely and without decay.

    Returns:
        A handle with ``state`` (per tensor ``radius``), ``state_dict()``, ``load_state_dict()``
        and ``remove()``.

    Raises:
        ValueError: For a tensor of norm 0, for params that no group has, for an optimizer over
            local shards or whose decay belongs to another hook.

    Source: Wen et al. 2026, arXiv 2606.16899. Costs a copy of the weights for the time of a step.
    Reported to help single-pass language models against constant decay; against well tuned decay
    others found no gain.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([[3.0, 4.0]]))
        >>> optimizer = torch.optim.SGD([w], lr=0.75, weight_decay=1.0)
        >>> handle = hyperball(optimizer)
        >>> w.grad = torch.tensor([[-0.8, 0.6]])  # at a right angle to w
        >>> optimizer.step()  # to (3, 4) + 0.75 (4, -3) = (6, 1.75), back to norm 5
        >>> w.detach()
        tensor([[4.8000, 1.4000]])
    """
    return _Hyperball(optimizers, params)
