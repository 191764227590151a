"""Every update rule as one pure function: ``rule(params, grads, state, **hyper)``.

The same function runs in the optimizer class, in the reference test and, under
``torch.func.vmap``, in the many-trials engine. Nothing is changed in place and no branch looks at
a tensor's value. ``params`` and ``grads`` are lists of tensors of any shape; ``state`` is what
`init` made: lists of tensors, and ``step``, the updates done so far (a 0-d tensor, a number, or
one of these a tensor). Hyperparameters are numbers or 0-d tensors; ``lr`` and ``weight_decay``
may also be lists, one entry a tensor.

    >>> params, grads = [torch.ones(3)], [torch.full((3,), 2.0)]
    >>> state = init("adams", params)
    >>> params, state = adams(params, grads, state, lr=0.1, weight_decay=0.01)
    >>> params[0], int(state["step"])
    (tensor([0.8995, 0.8995, 0.8995]), 1)

Sources: Kingma & Ba 2015 (adam); Loshchilov & Hutter 2019 (adamw, sgdw); Xie et al. 2022, *Under-
standing and Scheduling Weight Decay*, Algorithms 2 and 6 (adams), 4 (adai, adais), 8 (sgds);
spec names SWD-A1 ... SWD-A8. Departures from the paper are listed in the modules of the classes.
"""

from collections.abc import Callable

import torch

from etalambda._common import unknown
from etalambda.optim.functional._adai import adai, adai_apply, adai_moments, adais
from etalambda.optim.functional._adam import (
    adam,
    adam_apply,
    adam_moments,
    adams,
    adamw,
    kept_fraction,
    mean_of_all,
)
from etalambda.optim.functional._lists import State, Tensors, Updated
from etalambda.optim.functional._sgd import sgd, sgds, sgds_factor, sgdw

__all__ = [
    "RULES",
    "adai",
    "adai_apply",
    "adai_moments",
    "adais",
    "adam",
    "adam_apply",
    "adam_moments",
    "adams",
    "adamw",
    "init",
    "kept_fraction",
    "mean_of_all",
    "sgd",
    "sgds",
    "sgds_factor",
    "sgdw",
]

RULES: dict[str, Callable[..., Updated]] = {
    "sgd": sgd,
    "sgdw": sgdw,
    "sgds": sgds,
    "adam": adam,
    "adamw": adamw,
    "adams": adams,
    "adai": adai,
    "adais": adais,
}
"""Rule by name, for engines that take the optimizer's name from the command line."""

_BUFFERS = {
    "sgd": ("momentum_buffer",),
    "sgdw": ("momentum_buffer",),
    "sgds": ("momentum_buffer",),
    "adam": ("exp_avg", "exp_avg_sq"),
    "adamw": ("exp_avg", "exp_avg_sq"),
    "adams": ("exp_avg", "exp_avg_sq"),
    "adai": ("exp_avg", "exp_avg_sq", "beta1_prod"),
    "adais": ("exp_avg", "exp_avg_sq", "beta1_prod"),
}


def init(rule: str, params: Tensors, *, amsgrad: bool = False) -> State:
    """The state that ``rule`` starts from: zero buffers, and ``step`` as a 0-d float64 tensor.

    Args:
        rule: One of `RULES`.
        params: The tensors that the rule will move; buffers take their shapes, dtypes, devices.
        amsgrad: Add the running maximum that ``amsgrad=True`` needs.

    Raises:
        ValueError: If the rule is unknown; the message lists the known ones.

    Example:
        >>> sorted(init("adamw", [torch.ones(2)]))
        ['exp_avg', 'exp_avg_sq', 'step']
    """
    if rule not in RULES:
        raise unknown("rule", rule, RULES)
    names = _BUFFERS[rule] + (("max_exp_avg_sq",) if amsgrad else ())
    device = params[0].device if params else None
    state: State = {name: [torch.zeros_like(p) for p in params] for name in names}
    if "beta1_prod" in state:
        state["beta1_prod"] = [torch.ones_like(p) for p in params]
    # float64: in float32 1 - 0.999^1 is wrong in the fifth digit.
    return state | {"step": torch.zeros((), dtype=torch.float64, device=device)}
