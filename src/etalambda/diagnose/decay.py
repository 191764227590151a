"""What a live optimizer's decay does: its rate now, its budget over a run, and both as one dict.

The formulas and their sources are in `etalambda.theory.budget`; this module only reads param
groups. An AdamS group needs v̄, which exists after the first step; L2 inside an adaptive optimizer
(Adam with ``weight_decay``) is not a decay rate and reads NaN.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from etalambda._common import as_optimizers
from etalambda.diagnose.rehearsal import rehearse, unwrapped
from etalambda.theory import budget


def decay_form(optimizer: Optimizer, group: dict[str, Any]) -> str:
    """How a param group's ``weight_decay`` acts: a form of `etalambda.theory.budget.FORMS`.

    A subclass of a known optimizer counts as that one. One that nobody here knows counts as
    "plain", which is what optimizers have done since AdamW, unless its groups say otherwise
    (``decoupled_weight_decay`` of torch, ``weight_decouple`` of pytorch_optimizer).

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.ones(2))
        >>> adam = torch.optim.Adam([w], weight_decay=0.1)
        >>> decay_form(adam, adam.param_groups[0])
        'adaptive'
    """
    for flag in ("decoupled_weight_decay", "weight_decouple"):
        if group.get(flag):
            return "plain"
    known = _class_form(type(unwrapped(optimizer)))
    if known is None:
        return "adaptive" if group.get("weight_decouple") is False else "plain"
    return known


@lru_cache(maxsize=256)
def _class_form(cls: type) -> str | None:
    for base in cls.__mro__:
        try:
            return budget.form(base.__name__)
        except ValueError:
            continue
    return None


def v_mean(optimizer: Optimizer) -> float | None:
    """v̄: the mean of the bias-corrected second moment over every parameter; None before a step.

    Xie et al. 2022, Algorithm 2. Taken from the optimizer's own ``v_mean`` where it keeps one, as
    `AdamS` does: then it is v̄ of the last step and costs nothing.
    """
    optimizer = unwrapped(optimizer)
    own = getattr(optimizer, "v_mean", None)
    if own is not None:
        kept = own() if callable(own) else own
        return None if kept is None else float(kept)
    sums, count = [], 0
    for group in optimizer.param_groups:
        for p in group["params"]:
            state = optimizer.state.get(p, {})
            if "exp_avg_sq" in state and (step := float(state["step"])) > 0:
                moment = state.get("max_exp_avg_sq", state["exp_avg_sq"])
                correction = 1 - float(group["betas"][1]) ** step
                total = moment.sum(dtype=torch.float64)
                full = getattr(total, "full_tensor", None)  # DTensor: partial until gathered
                sums.append((total if full is None else full()).cpu() / correction)
                count += p.numel()
    return float(torch.stack(sums).sum()) / count if count else None


def group_rate(optimizer: Optimizer, group: dict[str, Any], mean: float | None = None) -> float:
    """r = η λ · gain of one param group, as its entries stand now; ``mean`` is v̄ where needed."""
    weight_decay = float(group.get("weight_decay", 0.0))
    if weight_decay == 0:
        return 0.0
    if group.get("fixed_decay"):  # pytorch_optimizer: the lr does not multiply the decay
        return weight_decay
    one = budget.gain(
        decay_form(optimizer, group),
        momentum=float(group.get("momentum", 0.0)),
        dampening=float(group.get("dampening", 0.0)),
        v_mean=mean,
        power=float(group.get("power", 0.5)),
    )
    return float(group["lr"]) * weight_decay * one


def intrinsic_lr(optimizers: Optimizer | Iterable[Optimizer]) -> list[float]:
    """λ_e = ηλ, momentum and optimizer taken into account: one float a param group, in order.

    Li, Lyu & Arora 2020, eq. (2). The share of each weight that the next step's decay removes,
    per step; 1/λ_e is the number of steps after which the weights have forgotten their start.

    Returns:
        0 where λ is 0; NaN for L2 in an adaptive optimizer and for AdamS before its first step.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.ones(2))
        >>> intrinsic_lr(torch.optim.SGD([w], lr=0.1, momentum=0.5, weight_decay=0.25))
        [0.05]
    """
    rates = []
    for optimizer in as_optimizers(optimizers):
        mean = _mean_if_needed(optimizer)
        rates += [group_rate(optimizer, group, mean) for group in optimizer.param_groups]
    return rates


def live_rates(optimizers: Optimizer | Iterable[Optimizer]) -> list[float | Tensor]:
    """`intrinsic_lr` without waiting for a GPU: where lr, λ or v̄ live on one, so does the rate."""
    rates: list[float | Tensor] = []
    for optimizer in as_optimizers(optimizers):
        own = getattr(unwrapped(optimizer), "v_mean", None)
        kept = own() if callable(own) else own
        for group in optimizer.param_groups:
            stable = decay_form(optimizer, group) == "stable"
            mean = kept if stable else None
            if any(map(_on_device, (group["lr"], group.get("weight_decay"), mean))):
                rates.append(_rate_on_device(optimizer, group, mean))
            elif stable and own is None and group.get("weight_decay"):
                rates.append(group_rate(optimizer, group, v_mean(optimizer)))
            else:
                rates.append(group_rate(optimizer, group, None if mean is None else float(mean)))
    return rates


def _rate_on_device(optimizer: Optimizer, group: dict[str, Any], mean: Any) -> Tensor:
    """ηλ · gain of one group as a tensor: no number of it is looked at."""
    gain: Any = group_rate(optimizer, group | dict(lr=1.0, weight_decay=1.0), 1.0)
    if decay_form(optimizer, group) == "stable":
        power = float(group.get("power", 0.5))
        gain = math.nan if mean is None else torch.where(mean > 0, mean**-power, 0.0)
    rate = group["lr"] * group.get("weight_decay", 0.0) * gain
    return torch.as_tensor(rate).detach().double()


def _on_device(value: Any) -> bool:
    return isinstance(value, Tensor) and value.device.type != "cpu"


def _mean_if_needed(optimizer: Optimizer) -> float | None:
    stable = any(
        decay_form(optimizer, g) == "stable" and float(g.get("weight_decay", 0.0))
        for g in optimizer.param_groups
    )
    return v_mean(optimizer) if stable else None


def group_plans(
    optimizers: Optimizer | Iterable[Optimizer],
    steps: int,
    scheduler: Any = None,
    *,
    scheduler_every: int = 1,
) -> tuple[Tensor, Tensor]:
    """The lr and the decay rate r_t of every param group over the coming ``steps`` steps.

    Nothing of yours moves: the scheduler runs on a copy of the param groups. See `decay_budget`
    for the arguments.

    Returns:
        ``(lrs, rates)``, float64 tensors of shape ``(steps, groups)``.
    """
    found = as_optimizers(optimizers)
    means = [_mean_if_needed(optimizer) for optimizer in found]

    def read(twins: Sequence[Optimizer]) -> list[tuple[float, float]]:
        return [
            (float(group["lr"]), group_rate(twin, group, mean))
            for twin, mean in zip(twins, means)
            for group in twin.param_groups
        ]

    rows = rehearse(found, steps, scheduler, read, scheduler_every=scheduler_every)
    return rows[..., 0], rows[..., 1]


def decay_budget(
    optimizers: Optimizer | Iterable[Optimizer],
    *,
    steps: int,
    scheduler: Any | Sequence[float] | Callable[[int], float] | None = None,
    scheduler_every: int = 1,
) -> list[float]:
    """K = Σ η λ · gain over the coming ``steps`` steps: one float a param group, in order.

    A run with K = 0.05 shrinks its weights by 5 % in all, one with K = 3 forgets where it started.

    Args:
        optimizers: One torch optimizer, or several that step together.
        steps: Optimizer steps still to come.
        scheduler: What will move lr, λ or momentum meanwhile: a torch scheduler, ours, a list of
            them, or lr factors (a sequence of at least ``steps`` numbers or a callable ``step ->
            factor``). It is rehearsed on a copy and stays where it is. A ``tie`` needs no mention.
        scheduler_every: Optimizer steps between two steps of the scheduler. With a scheduler that
            steps once an epoch, the number of steps in an epoch.

    Returns:
        K of each group; NaN where `intrinsic_lr` is NaN.

    Raises:
        ValueError: If ``steps`` is not a positive integer or the factors are too few or negative.
        TypeError: If the scheduler cannot be rehearsed because it waits for a metric.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.ones(2))
        >>> optimizer = torch.optim.AdamW([w], lr=1e-3, weight_decay=0.1)
        >>> decay_budget(optimizer, steps=10_000)
        [1.0]
        >>> cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=10_000)
        >>> [round(k, 2) for k in decay_budget(optimizer, steps=10_000, scheduler=cosine)]
        [0.5]
    """
    _, rates = group_plans(optimizers, steps, scheduler, scheduler_every=scheduler_every)
    return [math.fsum(column) for column in rates.T.tolist()]


def stats(optimizers: Optimizer | Iterable[Optimizer]) -> dict[str, float]:
    """One flat dict of floats for any logger: lr, λ, their decay rate and τ of every group.

    Keys are ``lr/0``, ``weight_decay/0``, ``intrinsic_lr/0`` (per step), ``tau/0`` (steps,
    infinite without decay), ``norm/0``, and so on for the other groups; AdamS adds ``v_mean/0``,
    one an optimizer.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.ones(4))
        >>> stats(torch.optim.AdamW([w], lr=0.5, weight_decay=0.25))
        {'lr/0': 0.5, 'weight_decay/0': 0.25, 'intrinsic_lr/0': 0.125, 'tau/0': 8.0, 'norm/0': 2.0}
    """
    from etalambda.diagnose.norms import weight_norms

    found = as_optimizers(optimizers)
    groups = [group for optimizer in found for group in optimizer.param_groups]
    row: dict[str, float] = {}
    quantities = zip(groups, intrinsic_lr(found), weight_norms(found))
    for index, (group, rate, norm) in enumerate(quantities):
        row[f"lr/{index}"] = float(group["lr"])
        row[f"weight_decay/{index}"] = float(group.get("weight_decay", 0.0))
        row[f"intrinsic_lr/{index}"] = rate
        row[f"tau/{index}"] = 1 / rate if rate else math.inf
        row[f"norm/{index}"] = norm
    for index, optimizer in enumerate(found):
        if (mean := _mean_if_needed(optimizer)) is not None:
            row[f"v_mean/{index}"] = mean
    return row
