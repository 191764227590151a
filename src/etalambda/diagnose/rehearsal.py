"""Run a schedule ahead of time without touching the run: what will lr and λ be at every step?

Each optimizer gets a twin of its class that has copies of the param groups but the same
parameters, so nothing large is copied; the scheduler is deep-copied onto the twins and stepped.
Readings are taken where the optimizer would step.
"""

from __future__ import annotations

import copy
import math
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from etalambda.theory.plan import factors

Reading = list[tuple[float, float]]


def rehearse(
    optimizers: Sequence[Optimizer],
    steps: int,
    scheduler: Any,
    read: Callable[[Sequence[Optimizer]], Reading],
    *,
    scheduler_every: int = 1,
) -> Tensor:
    """``read(twins)`` at each of the coming ``steps`` steps, stacked: ``(steps, groups, 2)``.

    ``scheduler`` is a scheduler or a list of them, lr factors or a callable that gives them, or
    None. ``scheduler_every`` is the number of optimizer steps between two of its steps.

    Raises:
        ValueError: If ``steps`` or ``scheduler_every`` is not a positive integer, or the lr
            factors are fewer than ``steps``, negative or not finite.
        TypeError: If a scheduler cannot run ahead, because it waits for a metric.
    """
    for name, value in dict(steps=steps, scheduler_every=scheduler_every).items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"{name} must be a positive whole number, got {value!r}")
    twins = [_twin(unwrapped(optimizer)) for optimizer in optimizers]
    measure = read

    def read(twins: Sequence[Optimizer]) -> Reading:
        _run_ties(twins)
        return measure(twins)

    if scheduler is None:
        once = torch.tensor(read(twins), dtype=torch.float64)
        return once.expand(steps, *once.shape)
    movers = _schedulers(scheduler)
    if movers is None:
        return _with_factors(twins, factors(scheduler, steps), read)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns about the order of calls that we rehearse
        return _with_schedulers(optimizers, twins, movers, steps, read, scheduler_every)


def _run_ties(twins: Sequence[Optimizer]) -> None:
    """What ``etalambda.tie`` does right before a step; other people's hooks are left alone."""
    for twin in twins:
        for hook in twin.__dict__.get("_optimizer_step_pre_hooks", {}).values():
            if type(hook).__module__ == "etalambda.schedule.tie":
                hook(twin, (), {})


def unwrapped(optimizer: Optimizer) -> Optimizer:
    """The optimizer inside wrappers that keep it as ``.optimizer`` (Accelerate, Lightning)."""
    while isinstance(inner := getattr(optimizer, "optimizer", None), Optimizer):
        optimizer = inner
    return optimizer


def _schedulers(scheduler: Any) -> list[Any] | None:
    """The schedulers in what the user gave, or None for lr factors."""
    if hasattr(scheduler, "step"):
        listed = [scheduler]
    elif isinstance(scheduler, Iterable) and not isinstance(scheduler, Tensor):
        listed = list(scheduler)
    else:
        return None
    if not listed or not all(hasattr(entry, "step") for entry in listed):
        return None
    return [getattr(entry, "scheduler", entry) for entry in listed]  # Accelerate wraps them


def _twin(optimizer: Optimizer) -> Optimizer:
    """An optimizer of the same class with its own param groups and the same parameters."""
    twin = object.__new__(type(optimizer))
    twin.__dict__.update(optimizer.__dict__)
    twin.__dict__["param_groups"] = [
        {
            k: v.clone() if isinstance(v, Tensor) else (v if k == "params" else copy.copy(v))
            for k, v in group.items()
        }
        for group in optimizer.param_groups
    ]
    return twin


def _with_factors(twins: Sequence[Optimizer], factors: Tensor, read: Callable) -> Tensor:
    """The lr of every group scaled by a factor a step."""
    groups = [group for twin in twins for group in twin.param_groups]
    bases, rows = [float(group["lr"]) for group in groups], {}
    for factor in set(factors.tolist()):
        for group, base in zip(groups, bases):
            group["lr"] = base * factor
        rows[factor] = read(twins)
    return torch.tensor([rows[factor] for factor in factors.tolist()], dtype=torch.float64)


def _with_schedulers(
    optimizers: Sequence[Optimizer],
    twins: Sequence[Optimizer],
    movers: Sequence[Any],
    steps: int,
    read: Callable,
    scheduler_every: int,
) -> Tensor:
    memo: dict[int, Any] = {id(optimizer): twin for optimizer, twin in zip(optimizers, twins)}
    memo |= {id(unwrapped(optimizer)): twin for optimizer, twin in zip(optimizers, twins)}
    for optimizer in optimizers:  # parameters are shared, never copied
        memo |= {id(p): p for group in optimizer.param_groups for p in group["params"]}
    copies = [_copied(mover, memo) for mover in movers]
    rows, progress = [], Progress(steps, "rehearsing the schedule")
    for step in range(steps):
        rows.append(read(twins))
        if (step + 1) % scheduler_every == 0:
            for mover in copies:
                _step(mover)
        progress(step)
    return torch.tensor(rows, dtype=torch.float64)


def _copied(mover: Any, memo: dict[int, Any]) -> Any:
    try:
        return copy.deepcopy(mover, memo)
    except Exception as error:
        raise TypeError(
            f"{type(mover).__name__} cannot be copied for a rehearsal ({error}); "
            "pass scheduler=None, or its lr factors as a list"
        ) from error


def _step(mover: Any) -> None:
    try:
        mover.step()
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"{type(mover).__name__} cannot run ahead of the training: its step() needs a signal "
            f"({error}); pass scheduler=None for constant values, or lr factors as a list"
        ) from error


class Progress:
    """A line on the terminal once something has taken two seconds; silent when there is none."""

    def __init__(self, total: int, text: str) -> None:
        self._total, self._text = total, text
        self._next = time.monotonic() + 2 if sys.stderr.isatty() else math.inf

    def __call__(self, done: int) -> None:
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + 0.2
        print(f"\r{self._text}: {done * 100 // self._total} %", end="", file=sys.stderr)
        if done + 1 == self._total:
            print(file=sys.stderr)
