"""Decay of some entries only: cautious decay, and its control, as many entries at random.

Chen et al. 2025 (arXiv 2510.12402, Algorithm 1) decay a weight only where the step u moves it
towards 0 as well, θ ← θ - u - η λ 1[u θ > 0] θ. That is weaker decay, of about half of the entries,
and decay of chosen entries. A mask that draws as many entries at random is as weak and chooses
nothing: what cautious decay gains over it is the choice.

A mask has two faces: a function of all trials' tensors for `Many`, a hook on the optimizer for
`One`. Both decay what the weights were before the step, decoupled.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.optim import Optimizer

from etalambda.optim import DecayHook, cautious_decay
from etalambda.optim.hooks import Active

Draw = Callable[[], Tensor]


@dataclass(frozen=True)
class Mask:
    """Which entries decay.

    Attributes:
        chosen: Where step and weight agree, (T, *shape) of bool, and a draw of uniform numbers in
            that shape -> which entries decay, in that shape.
        hook: Optimizer, seed of the trial and its tensors in order -> the same as a hook.

    Example:
        >>> agree = torch.tensor([[True, False, True, False]])
        >>> CAUTIOUS.chosen(agree, lambda: torch.rand(1, 4)).tolist()
        [[True, False, True, False]]
        >>> AT_RANDOM.chosen(agree, lambda: torch.tensor([[0.1, 0.2, 0.7, 0.9]])).tolist()
        [[True, True, False, False]]
    """

    chosen: Callable[[Tensor, Draw], Tensor]
    hook: Callable[[Optimizer, int, Sequence[Tensor]], DecayHook]


def agreeing(start: Tensor, moved: Tensor) -> Tensor:
    """Where a step from ``start`` to ``moved`` goes towards 0, or past it.

    >>> agreeing(torch.tensor([1.0, -1.0, 0.0]), torch.tensor([0.5, -2.0, 1.0]))
    tensor([ True, False, False])
    """
    return (start - moved) * start > 0


def as_many(agree: Tensor, draw: Draw) -> Tensor:
    """Each entry with the probability that an entry of its tensor agrees, (T, *shape)."""
    share = agree.flatten(1).double().mean(1)
    return draw() < share.view(-1, *[1] * (agree.dim() - 1))


class AsMany(DecayHook):
    """Decay as many entries of each tensor as `cautious_decay` would, drawn by seed."""

    def __init__(self, optimizer: Optimizer, seed: int, params: Sequence[Tensor]) -> None:
        self._order = {p: index for index, p in enumerate(params)}
        self._seed, self._step = seed, -1
        super().__init__(optimizer)

    def prepare(self, optimizer: Optimizer, rows: Active) -> None:
        self._step += 1
        self._start = {p: p.clone() for _, p, _ in self.chosen(rows)}

    def act(self, optimizer: Optimizer, active: Active) -> None:
        for group, p, decay in self.chosen(active):
            start = self._start[p]
            draw = partial(uniform, [self._seed], self._step, self._order[p], p[None])
            some = as_many(agreeing(start, p)[None], draw)[0]
            p.sub_(start * some, alpha=group["lr"] * decay)
        self._start = {}


CAUTIOUS = Mask(
    lambda agree, draw: agree, lambda optimizer, seed, params: cautious_decay(optimizer)
)
"""Where step and weight agree: `etalambda.optim.cautious_decay`."""

AT_RANDOM = Mask(as_many, AsMany)
"""Each tensor's share of that, at that step, but entries drawn at random."""


def uniform(seeds: Sequence[int], step: int, place: int, like: Tensor) -> Tensor:
    """Uniform numbers in the shape of ``like`` (T, *shape), by seed, step and place of the tensor.

    Equal seeds get equal numbers, whatever else is trained beside them.
    """
    drawn = {}
    for seed in dict.fromkeys(seeds):
        key = ((seed * 1_000_003 + step) * 1_009 + place) % 2**32
        random = torch.Generator().manual_seed(key)
        drawn[seed] = torch.rand(like.shape[1:], generator=random)
    return torch.stack([drawn[seed] for seed in seeds]).to(like.device)


def decayed(
    mask: Mask,
    params: Sequence[Tensor],
    moved: Sequence[Tensor],
    rates: Sequence[Tensor | None],
    seeds: Sequence[int],
    step: int,
) -> list[Tensor]:
    """What a step without decay made of T trials' tensors, less the masked decay.

    Args:
        mask: Which entries.
        params, moved: The tensors before and after the step, (T, *shape) each.
        rates: lr · weight_decay of each tensor, (T,), or None where it does not decay.
        seeds: Of the trials.
        step: Of the run.
    """
    new = []
    for place, (start, there, rate) in enumerate(zip(params, moved, rates)):
        if rate is not None:
            draw = partial(uniform, seeds, step, place, start)
            some = mask.chosen(agreeing(start, there), draw)
            there = there - start * some * rate.view(-1, *[1] * (start.dim() - 1))
        new.append(there)
    return new


def share(params: Sequence[Tensor], moved: Sequence[Tensor]) -> Tensor:
    """Of all entries of T trials' tensors, the share whose step and weight agree: (T,) float64.

    >>> share([torch.tensor([[1.0, -1.0]])], [torch.tensor([[0.5, -2.0]])])
    tensor([0.5000], dtype=torch.float64)
    """
    counts = [agreeing(start, there).flatten(1).sum(1) for start, there in zip(params, moved)]
    return torch.stack(counts).sum(0).double().cpu() / sum(p[0].numel() for p in params)
