"""The hall between the rooms: what every room needs and none owns. Imports torch only, when used.

Errors here follow one form: the argument, its value, the remedy; raised before any state changes.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable
from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from torch.optim import Optimizer


def as_optimizers(optimizers: Optimizer | Iterable[Optimizer]) -> list[Optimizer]:
    """One optimizer or an iterable of them, as a list: the normal case is Muon + AdamW.

    Raises:
        TypeError: If an entry has no ``param_groups``.
        ValueError: If there is none, or the same one twice.
    """
    one = hasattr(optimizers, "param_groups") or not hasattr(optimizers, "__iter__")
    found = cast("list[Optimizer]", [optimizers] if one else list(cast("Iterable", optimizers)))
    if not found:
        raise ValueError("optimizers is empty; pass an optimizer or a list of them")
    for optimizer in found:
        if not hasattr(optimizer, "param_groups"):
            raise TypeError(
                f"optimizers must be torch optimizers, got {type(optimizer).__name__}; "
                "pass the optimizer itself, not the model or its parameters"
            )
    if len({id(optimizer) for optimizer in found}) < len(found):
        raise ValueError("optimizers holds the same optimizer twice; pass each one once")
    return found


def unknown(kind: str, name: object, known: Iterable[str]) -> ValueError:
    """The error for a name that is not known: it lists the known ones and the nearest.

    >>> raise unknown("coupling", "mached", ["matched", "palm"])
    Traceback (most recent call last):
    ValueError: unknown coupling 'mached'; did you mean 'matched'? Known: matched, palm
    """
    names = list(known)
    near = difflib.get_close_matches(str(name), names, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return ValueError(f"unknown {kind} {name!r}; {hint}Known: {', '.join(names)}")


def check_nonnegative(**values: float) -> None:
    """Raise a ValueError that names the first value which is negative, NaN or infinite."""
    for name, value in values.items():
        if not (math.isfinite(value) and value >= 0):
            raise ValueError(f"{name} must be a finite number of at least 0, got {value}")


def check_positive(**values: float) -> None:
    """Raise a ValueError that names the first value which is not a finite number above 0."""
    for name, value in values.items():
        if not (math.isfinite(value) and value > 0):
            raise ValueError(f"{name} must be a finite number above 0, got {value}")


def need(module: str, extra: str) -> Any:
    """Import a dependency of an extra where it is used, or name the extra that brings it."""
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != module.split(".")[0]:
            raise
        raise ModuleNotFoundError(
            f"{module} is not installed; it comes with the {extra!r} extra: "
            f"pip install 'etalambda[{extra}]'",
            name=error.name,
        ) from error
