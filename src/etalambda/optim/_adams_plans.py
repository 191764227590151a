"""Which models take the single pass of `_adams_single_pass`, and their buffers from step to step.

It takes what torch's fused kernel takes, on one CUDA device and on one rank, where Triton is there.
Everything else, and everyone else, takes stock operations with the same results.
"""

import warnings
from functools import lru_cache
from importlib.util import find_spec
from itertools import chain
from operator import attrgetter, is_
from typing import Any

import torch
from torch import Tensor

from etalambda.optim._adams_single_pass import SinglePass, aligned, capturing, counts_on_device
from etalambda.optim._base import Lists

DEVICES = ("cuda",)
DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
CAPACITY = 8  # sets of tensors with buffers of their own: gradients may come and go
_broken: list[Exception] = []
GRAD = attrgetter("grad")
SETTINGS = ("maximize", "capturable", "fused", "foreach", "differentiable", "amsgrad", "max_norm")


@lru_cache
def _has_triton() -> bool:
    return find_spec("triton") is not None


def find(optimizer: Any, active: list[Lists]) -> SinglePass | None:
    """The buffers for exactly these tensors, or None where stock operations must do."""
    if torch.compiler.is_compiling():
        return None
    plan = optimizer.__dict__.get("_plan")
    if plan is not None and plan.last is not None and plan.last.active is active:
        return plan  # `standing` has looked
    plan = _find(optimizer, active)
    if plan is None:
        optimizer.__dict__.pop("_plan", None)  # what it knows of v grows old
    return plan


def _find(optimizer: Any, active: list[Lists]) -> SinglePass | None:
    groups = [lists for lists in active if lists.params]
    if not groups or not all(map(_asked_for, groups)) or _broken or not _has_triton():
        return None
    own = optimizer.__dict__
    kinds = {(g.group["amsgrad"], g.group["max_norm"]) for g in groups}
    both = any(amsgrad and max_norm is not None for amsgrad, max_norm in kinds)
    if len(kinds) > 1 or both or "_pending" in own or optimizer._layouts():
        return None
    plans, key = own.setdefault("_plans", {}), _key(groups)
    plan = own.get("_plan")
    if plan is None or plan.key != key:
        plan = plans.get(key)
        if plan is None:
            if capturing(groups[0].weights[0].device):
                return None  # buffers are made by the steps that warm up
            plan = _made(groups, key) if _suits(groups) else None
            if plan is None:
                return None
            plans[key] = plan
            for old in list(plans)[: max(0, len(plans) - CAPACITY)]:
                if not plans[old].captured:
                    del plans[old]
        plan.stale = True
    if not plan.fits(groups):
        return None
    own["_plan"] = plan
    return plan


def _made(groups: list[Lists], key: tuple[Any, ...]) -> SinglePass | None:
    """New buffers. Where Triton cannot compile (no C compiler, old GPU) it is not tried again."""
    try:
        plan = SinglePass(groups, key)
        plan.reseed()
        return plan
    except torch.OutOfMemoryError:
        raise
    except Exception as error:
        warnings.warn(
            f"AdamS takes torch's own operations, with the same results but slower: Triton failed "
            f"with {type(error).__name__}: {error}",
            stacklevel=6,
        )
        _broken.append(error)
        return None


def _asked_for(lists: Lists) -> bool:
    group = lists.group
    return (
        lists.weights[0].device.type in DEVICES
        and not group["differentiable"]
        and (group["fused"] or (group["fused"] is None and group["foreach"] is None))
        and not any(isinstance(b, Tensor) and b.device.type != "cpu" for b in group["betas"])
    )


def _key(groups: list[Lists]) -> tuple[Any, ...]:
    """Where everything lies that a step reads and writes, gradients and host counters aside."""
    parts: list[Any] = []
    for lists in groups:
        on_device = counts_on_device(lists)
        columns = [lists.weights, *lists.buffers.values(), *([lists.steps] if on_device else [])]
        parts += [id(lists.group), lists.group["maximize"], on_device]
        parts += [tuple(map(Tensor.data_ptr, column)) for column in columns]
    return tuple(parts)


def _suits(groups: list[Lists]) -> bool:
    home = groups[0].weights[0].device
    for lists in groups:
        steps = {(s.device, s.dtype) for s in lists.steps}
        here = steps == {(home, torch.float32)} and len(set(map(id, lists.steps))) == len(
            lists.steps
        )
        if {t.device for t in lists.weights} != {home} or (counts_on_device(lists) and not here):
            return False
        if any(t.dtype not in DTYPES for t in lists.weights):
            return False
    return aligned(groups)


# --- the lists of the last step once more --------------------------------------------------------


class Known:
    """The lists of a step, and all that must be as it was for the next step to take them again.

    To gather them anew takes longer than the step itself takes the device, so it is asked whether
    anything has changed, once for the whole model. Gradients are not kept: others free them.
    """

    def __init__(self, optimizer: Any, active: list[Lists]) -> None:
        self.active = active
        self.groups = list(optimizer.param_groups)
        self.settings = list(map(_settings, self.groups))
        self.params = [p for lists in active for p in lists.params]
        self.states = list(optimizer.state.values())

    def holds(self, optimizer: Any) -> bool:
        """Whether groups, parameters and state are the same objects, and no flag has changed."""
        groups, state = optimizer.param_groups, optimizer.state
        return (
            len(groups) == len(self.groups)
            and all(map(is_, groups, self.groups))
            and list(map(_settings, groups)) == self.settings
            and sum(len(group["params"]) for group in groups) == len(self.params)
            and all(map(is_, chain.from_iterable(g["params"] for g in groups), self.params))
            and len(state) == len(self.states)
            and all(map(is_, state.values(), self.states))
            and all(map(_same_state, self.active))
        )


def _settings(group: dict[str, Any]) -> tuple[Any, ...]:
    return (*[group[name] for name in SETTINGS], *map(type, group["betas"]))


def _same_state(lists: Lists) -> bool:
    columns = [("step", lists.steps), *lists.buffers.items()]
    return all(
        all(map(is_, [state.get(name) for state in lists.states], column))
        for name, column in columns
    )


def remember(optimizer: Any, plan: SinglePass, active: list[Lists]) -> None:
    """Keep the lists of this step where the next one may take them again."""
    if plan.last is None or plan.last.active is not active:
        whole = all(
            lists.weights is lists.params
            and len(lists.params) == len(lists.group["params"])
            and not any(isinstance(beta, Tensor) for beta in lists.group["betas"])
            for lists in active
        )
        plan.last = Known(optimizer, active) if whole and plan.contiguous else None
    for lists in active:
        lists.grads = []


def standing(optimizer: Any) -> list[Lists] | None:
    """The lists of the last step with the gradients of this one, if nothing else has changed."""
    plan = optimizer.__dict__.get("_plan")
    if plan is None or plan.last is None:
        return None
    if not (plan.last.holds(optimizer) and _with_gradients(plan, plan.last.active)):
        plan.last = None  # and with it gradients that were looked at
        return None
    return plan.last.active


def _with_gradients(plan: SinglePass, active: list[Lists]) -> bool:
    """Give the lists their gradients, if all have one and everything lies where it did."""
    if plan.key != _key([lists for lists in active if lists.params]):
        return False
    for lists in active:
        lists.grads = list(map(GRAD, lists.params))
    grads = list(chain.from_iterable(lists.grads for lists in active))
    dense = set(map(type, grads)) == {Tensor} and all(map(Tensor.is_contiguous, grads))
    return dense and plan.fits(active)
