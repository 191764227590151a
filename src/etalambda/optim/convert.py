"""The same decay in another optimizer's units, and a run that changes from AdamW to AdamS.

Xie et al. 2022, sections 3 and 4. What one step takes from a weight θ, and where the weights
settle, tell which λ of one optimizer stands for which of another:

    SGD with L2, SGDS, AdamS    λ          the minimum of L + (λ/2)‖θ‖²
    SGDW                        λ β3 / (1 - β1)                               (SWD-A7, SWD-E22)
    AdamW                       λ / √v̄, or the recipe λ / η where v̄ is unknown    (11), B.1

    paper   η    λ             β1         β3              v̄
    code    lr   weight_decay  momentum   1 - dampening   v_mean

Departures from the paper: appendix B.1 prints λ_W = λ_L2; its numbers are λ_W = λ_L2 / η.
"""

from typing import Any

import torch

from etalambda._common import check_nonnegative, check_positive, unknown
from etalambda.optim._base import as_float, plain
from etalambda.optim._mean import layouts, shard_groups, total

KINDS = ("l2", "sgds", "adams", "sgdw", "adamw")


def equivalent_weight_decay(
    value: float,
    source: str,
    target: str,
    *,
    lr: float | None = None,
    momentum: float = 0.0,
    dampening: float = 0.0,
    v_mean: float | None = None,
) -> float:
    """The ``weight_decay`` of ``target`` that does what ``value`` does in ``source``.

    Args:
        value: λ in ``source``.
        source, target: "l2" (SGD's own), "sgds", "sgdw", "adamw" or "adams".
        lr: η. To or from "adamw" without ``v_mean``: the paper's recipe λ_W = λ / η.
        momentum, dampening: Of SGD; they matter to and from "sgdw".
        v_mean: v̄, the mean of v̂ over the model; makes "adamw" and "adams" exchange exactly.

    Raises:
        ValueError: For an unknown kind, a value that is negative, or AdamW without ``v_mean`` or
            ``lr``.

    Source: Xie et al. 2022, eqs. (11), (22), appendix B.1.

    Example:
        >>> equivalent_weight_decay(5e-4, "l2", "adamw", lr=1e-3)
        0.5
        >>> round(equivalent_weight_decay(5e-4, "sgds", "sgdw", momentum=0.9), 9)
        0.005
    """
    for kind in (source, target):
        if kind not in KINDS:
            raise unknown("kind of weight decay", kind, KINDS)
    check_nonnegative(value=value, momentum=momentum)
    if momentum >= 1:
        raise ValueError(f"momentum must lie in [0, 1), got {momentum}")
    if source == target:
        return value
    factors = [_factor(kind, lr, momentum, dampening, v_mean) for kind in (source, target)]
    return value / factors[0] * factors[1]


def _factor(
    kind: str, lr: float | None, momentum: float, dampening: float, v_mean: float | None
) -> float:
    """λ of ``kind`` over the λ of L2 that it stands for."""
    if kind == "sgdw":
        return 1.0 if momentum == 0 else (1 - dampening) / (1 - momentum)
    if kind != "adamw":
        return 1.0
    if v_mean is not None:
        check_positive(v_mean=v_mean)
        return v_mean**-0.5
    if lr is None:
        raise ValueError("to or from 'adamw' pass v_mean (exact), or lr for the recipe λ / lr")
    check_positive(lr=lr)
    return 1 / lr


@torch.no_grad()
def v_mean_of(optimizer: torch.optim.Optimizer, process_group: Any = None) -> float:
    """v̄ as the state of an Adam-like optimizer has it: the mean of v̂ over all elements.

    Raises:
        ValueError: If no parameter has second moments yet.
    """
    params = [p for group in optimizer.param_groups for p in group["params"]]
    parts: list[Any] = []
    for group in optimizer.param_groups:
        beta2 = as_float(group["betas"][1])
        name = "max_exp_avg_sq" if group.get("amsgrad") else "exp_avg_sq"
        for p in group["params"]:
            state = optimizer.state.get(p, {})
            if "exp_avg_sq" in state:
                v, where = plain(state[name]), shard_groups(p, process_group)
                v_hat = v.sum(dtype=torch.float64) / (1 - beta2 ** as_float(state["step"]))
                parts.append((where, (v_hat, float(v.numel()))))
    home = params[0].device
    v_sum, count = map(float, total(parts, layouts(params, process_group), 2, home))
    if not count:
        raise ValueError(
            f"{type(optimizer).__name__} has taken no step, so v̄ is unknown; take a step first, "
            "or build the new optimizer with a weight_decay in its own units"
        )
    return v_sum / count


def adams_from_adamw(
    cls: Any, optimizer: torch.optim.Optimizer, power: float, options: dict[str, Any]
) -> Any:
    """See `AdamS.from_adamw`."""
    decoupled = optimizer.defaults.get("decoupled_weight_decay", True)
    if not isinstance(optimizer, torch.optim.Adam | torch.optim.AdamW) or not decoupled:
        raise TypeError(
            f"optimizer must be a torch.optim.AdamW, got {type(optimizer).__name__}; Adam's L2 "
            "has no equivalent: build AdamS with the same weight_decay"
        )
    v_mean = v_mean_of(optimizer, options.get("process_group"))
    new = cls(_bare_groups(optimizer), power=power, **options)
    state = optimizer.state_dict()
    decays = [group["weight_decay"] for group in optimizer.param_groups]
    for group, decay in zip(new.param_groups, decays):
        group["weight_decay"] = decay * v_mean**power
    _load_moments(new, state)
    new._pending = [
        (group, (decay, group["weight_decay"])) for group, decay in zip(new.param_groups, decays)
    ]
    return new


def adamw_from_adams(optimizer: Any) -> torch.optim.AdamW:
    """See `AdamS.to_adamw`."""
    v_mean = v_mean_of(optimizer, getattr(optimizer, "_process_group", None))
    new = torch.optim.AdamW(_bare_groups(optimizer))
    decays = [g["weight_decay"] * v_mean ** -g["power"] for g in optimizer.param_groups]
    _load_moments(new, optimizer.state_dict())
    for group, decay in zip(new.param_groups, decays):
        group["weight_decay"] = decay
        for name in ("power", "max_norm"):
            group.pop(name, None)
        group.setdefault("decoupled_weight_decay", True)
    return new


def _bare_groups(optimizer: torch.optim.Optimizer) -> list[dict[str, Any]]:
    names = ("params", "param_names")
    return [{k: g[k] for k in names if k in g} for g in optimizer.param_groups]


def _load_moments(new: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Take over moments, counters and every group entry except λ."""
    groups = []
    for theirs, ours in zip(state["param_groups"], new.param_groups):
        own = {k: v for k, v in ours.items() if k != "params" and k not in theirs}
        groups.append({**own, **theirs, "weight_decay": ours["weight_decay"]})
    for group in groups:
        group.pop("decoupled_weight_decay", None)
    new.load_state_dict({**state, "param_groups": groups})
