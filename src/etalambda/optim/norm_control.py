"""Decay that answers to the norm of each tensor: towards a target, or only above a bound.

*Weight norm control* (AdamWN), Loshchilov 2023, arXiv 2311.11446: weight decay is norm control
with target 0. Any other target r ‖θ_0‖ pulls from both sides:

    θ ← θ - u - k (1 - r ‖θ_0‖ / ‖θ‖) θ,     k = η λ                                   (3)

*Constrained parameter regularization* (CPR), Franke et al. 2024, arXiv 2311.09058: no tensor may
have a mean square above its bound κ. An augmented Lagrangian finds the decay that this takes, so
λ is an outcome, one a tensor, and 0 where the bound is not reached:

    μ ← max(0, μ + ν (mean(θ²) - κ)),     θ ← (1 - 2 μ) θ     after every step         (Algorithm 1)

    paper   η    λ or k / η    r       μ             ν      κ
    code    lr   weight_decay  ratio   multiplier    rate   bound

Departures from the papers: (3) is for all weights as one vector, here it is for each tensor; 1 - 2μ
never falls below 0; CPR is written with means instead of sums, as its authors' code scales it, and
its other measure (the standard deviation) and its inflection-point start are not offered.
"""

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from etalambda.optim._base import as_float
from etalambda.optim.hooks import Active, DecayHook
from etalambda.optim.sphere import norm_of


def norm_factor(norm: Any, target: float, rate: float) -> Any:
    """1 - k (1 - target / ‖θ‖), what weight norm control leaves of each weight, eq. (3)."""
    return 1 - rate * (1 - target / norm)


def next_multiplier(multiplier: Any, mean_square: Any, bound: Any, rate: float) -> Any:
    """max(0, μ + ν (mean(θ²) - κ)), the augmented Lagrangian's step of CPR."""
    raised = multiplier + rate * (mean_square - bound)
    return raised.clamp_min(0) if isinstance(raised, Tensor) else max(0.0, raised)


class _Target(DecayHook):
    def __init__(self, optimizers: Any, ratio: float) -> None:
        self._ratio = ratio
        super().__init__(optimizers)

    def begin(self, rows: Active) -> None:
        refuse_local_shards(self._optimizers, "target_norm_decay")
        for _, p, _ in self.chosen(rows):
            self.state[p] = dict(norm=as_float(norm_of([p])))

    def prepare(self, optimizer: Optimizer, rows: Active) -> None:
        self._start = {p: (p.clone(), norm_of([p])) for _, p, _ in self.chosen(rows)}
        for p, (_, norm) in self._start.items():  # a group that was added, or woke up
            if p not in self.state:
                self.state[p] = dict(norm=as_float(norm))

    def act(self, optimizer: Optimizer, active: Active) -> None:
        for group, p, decay in self.chosen(active):
            start, norm = self._start[p]
            target = self._ratio * self.state[p]["norm"]
            rate = as_float(group["lr"]) * decay
            if target == 0:
                p.sub_(start, alpha=rate)
            elif isinstance(norm, Tensor):  # on the device, where to look would be to wait
                lost = 1 - norm_factor(torch.where(norm > 0, norm, 1.0), target, rate)
                p.sub_(start * torch.where(norm > 0, lost, 0.0))
            elif norm > 0:
                p.sub_(start * (1 - norm_factor(norm, target, rate)))
        self._start = {}


class _CPR(DecayHook):
    def __init__(
        self,
        optimizers: Any,
        params: Iterable[Tensor] | None,
        warm_start: int | None,
        bound: float | None,
        rate: float,
    ) -> None:
        self._warm_start, self._bound, self._rate = warm_start, bound, rate
        super().__init__(optimizers, params)

    def begin(self, rows: Active) -> None:
        refuse_local_shards(self._optimizers, "constrained_decay")

    def act(self, optimizer: Optimizer, active: Active) -> None:
        for _, p, _ in self.chosen(active):
            own = self.state.setdefault(p, dict(step=0, multiplier=0.0, bound=self._bound))
            mean_square = norm_of([p]) ** 2 / _count(p)
            if own["bound"] is not None:
                own["multiplier"] = next_multiplier(
                    own["multiplier"], mean_square, own["bound"], self._rate
                )
                kept = 1 - 2 * own["multiplier"]
                p.mul_(kept.clamp_min(0) if isinstance(kept, Tensor) else max(0.0, kept))
            elif own["step"] == self._warm_start:
                own["bound"] = mean_square
            own["step"] += 1


def _count(p: Tensor) -> int:
    return max(1, p.numel() * (2 if p.is_complex() else 1))


def refuse_local_shards(optimizers: list[Optimizer], name: str) -> None:
    """A norm of a plain local shard is not the tensor's."""
    for optimizer in optimizers:
        group = getattr(optimizer, "_process_group", None)
        if group is not None:
            raise ValueError(
                f"{name} got {type(optimizer).__name__} with process_group={group}: the norm of a "
                "local shard is not its tensor's; use FSDP2, whose DTensors know theirs"
            )


def target_norm_decay(optimizers: Optimizer | Iterable[Optimizer], ratio: float = 1.0) -> DecayHook:
    """Pull every tensor towards ``ratio`` times the norm that it has now, instead of towards 0.

    Args:
        optimizers: Any torch optimizers. ``lr · weight_decay`` of a group is the share of the way
            to the target that one step goes; groups at 0 are exempt.
        ratio: r. 0 is decoupled weight decay (AdamWN is AdamW then), 1 keeps each norm softly.

    Returns:
        A handle with ``state`` (the norms at this call), ``state_dict()``, ``load_state_dict()``
        and ``remove()``.

    Raises:
        ValueError: For a negative or non-finite ratio, an optimizer over local shards
            (``process_group``), or one whose decay belongs to another hook.

    Source: Loshchilov 2023, arXiv 2311.11446, eq. (3). Costs a copy of the weights for the time of
    a step, and a norm a tensor.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([3.0, 4.0]))
        >>> optimizer = torch.optim.SGD([w], lr=0.1, weight_decay=5.0)
        >>> handle = target_norm_decay(optimizer, ratio=0.5)
        >>> w.grad = torch.zeros(2)
        >>> optimizer.step()  # half the way from norm 5 to norm 2.5
        >>> w.detach()
        tensor([2.2500, 3.0000])
    """
    if not (math.isfinite(ratio) and ratio >= 0):
        raise ValueError(f"ratio must be a finite number of at least 0, got {ratio}")
    return _Target(optimizers, ratio)


def constrained_decay(
    optimizers: Optimizer | Iterable[Optimizer],
    *,
    warm_start: int | None = None,
    bound: float | None = None,
    rate: float = 1.0,
    params: Iterable[Tensor] | None = None,
) -> DecayHook:
    """CPR: decay each tensor just enough to keep its mean square below a bound.

    Args:
        optimizers: Any torch optimizers. A ``weight_decay`` other than 0 only says that a group
            takes part; its size has no meaning here.
        warm_start: κ is the mean square that each tensor has after this many steps; until then
            nothing decays. The authors take twice the warm-up of the learning rate.
        bound: κ itself, for all tensors. Give one of the two.
        rate: ν, how fast the multipliers answer; the authors' default is 1.
        params: The tensors that take part, whatever their group's ``weight_decay``.

    Returns:
        A handle with ``state`` (per tensor ``multiplier``, ``bound``, ``step``), ``state_dict()``,
        ``load_state_dict()`` and ``remove()``.

    Raises:
        ValueError: Unless exactly one of ``warm_start`` and ``bound`` is given; for negative
            values; for an optimizer over local shards or whose decay belongs to another hook.

    Source: Franke et al. 2024, arXiv 2311.09058, Algorithm 1. Costs a norm and a scaling a tensor.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([3.0, 4.0]))
        >>> optimizer = torch.optim.SGD([w], lr=0.1, weight_decay=1.0)
        >>> handle = constrained_decay(optimizer, bound=12.5, rate=0.1)
        >>> w.grad = torch.tensor([0.0, -10.0])
        >>> optimizer.step()  # to (3, 5), mean square 17: μ = 0.1 · 4.5
        >>> w.detach()
        tensor([0.3000, 0.5000])
    """
    if (warm_start is None) == (bound is None):
        raise ValueError(
            f"give one of warm_start and bound, got warm_start={warm_start} and bound={bound}"
        )
    for name, value in dict(warm_start=warm_start, bound=bound, rate=rate).items():
        if value is not None and not (math.isfinite(value) and value >= 0):
            raise ValueError(f"{name} must be a finite number of at least 0, got {value}")
    return _CPR(optimizers, params, warm_start, bound, rate)
