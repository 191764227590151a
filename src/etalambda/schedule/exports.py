"""Param groups in the form that other tools read: names and patterns instead of tensors."""

import re
from collections.abc import Callable
from typing import Any

from etalambda._common import unknown


def export(groups: Any, target: str) -> Any:
    """See ``ParamGroups.export``."""
    if target not in _TARGETS:
        raise unknown("target", target, _TARGETS)
    return _TARGETS[target](groups)


def _torchtitan(groups: Any) -> list[dict[str, Any]]:
    """One pattern a group, in group order; every trainable name matches exactly one.

    The keys are those of torchtitan's ``ParamGroupConfig``. Block numbers become ``\\d+`` when that
    keeps the patterns apart, so that a pattern holds for any depth; what activation checkpointing
    and compile put into names is allowed between the parts.
    """
    names = [_names(groups, group) for group in groups]
    general = [{_pattern(name, any_number=True) for name in part} for part in names]
    apart = sum(map(len, general)) == len(set().union(*general))
    exact = [{_pattern(name, any_number=False) for name in part} for part in names]
    patterns = ["|".join(sorted(part)) for part in (general if apart else exact)]
    return [
        {"pattern": rf"^(?:_\w+\.)*(?:{pattern})$", "optimizer_kwargs": _settings(group)}
        for group, pattern in zip(groups, patterns)
    ]


def _pattern(name: str, *, any_number: bool) -> str:
    parts = [
        r"\d+" if any_number and part.isdigit() else re.escape(part) for part in name.split(".")
    ]
    return r"\.(?:_\w+\.)*".join(parts)


def _hf(groups: Any) -> list[str]:
    """The names that decay; the Trainer knows two groups, so one λ and no lr of its own."""
    if len({float(g["weight_decay"]) for g in groups} - {0.0}) > 1 or any(
        "lr" in g for g in groups
    ):
        raise ValueError(
            "the groups differ in lr or have more than one weight_decay, which a list of names "
            "cannot say; build the optimizer from the groups and pass optimizers=(optimizer, None)"
        )
    return groups.names(decayed=True)


def _deepspeed(groups: Any) -> list[dict[str, Any]]:
    return [dict(group) for group in groups]


def _names(groups: Any, group: dict[str, Any]) -> list[str]:
    name = {entry.param: entry.name for entry in groups.entries}
    return [name[p] for p in group["params"]]


def _settings(group: dict[str, Any]) -> dict[str, Any]:
    return {key: float(group[key]) for key in ("weight_decay", "lr") if key in group}


_TARGETS: dict[str, Callable[[Any], Any]] = {
    "torchtitan": _torchtitan,
    "hf": _hf,
    "deepspeed": _deepspeed,
}
