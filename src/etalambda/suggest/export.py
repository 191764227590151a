"""A suggestion as the flags of another tool, or why that tool cannot express it.

Every tool here multiplies its weight decay by the lr, as torch's AdamW does. Few can change it
along the run; where one cannot, the error names the way that can.
"""

from __future__ import annotations

import json
from collections.abc import Callable

from etalambda._common import unknown
from etalambda.suggest.suggestion import Suggestion

_OURS = "use etalambda.tie or etalambda.Scheduler in a callback (etalambda.integrations)"


class CannotExpress(ValueError):
    """The tool has no way to say this; the message names the part and a way that can."""


def export(suggestion: Suggestion, tool: str) -> str:
    """The suggestion as flags, a config or a line of code for ``tool``.

    Args:
        suggestion: From `etalambda.suggest`.
        tool: "hf" (Trainer flags), "torchtitan", "megatron", "deepspeed" (JSON) or "optax".

    Raises:
        CannotExpress: If the tool lacks the optimizer or the schedule; it says what can.
        ValueError: For an unknown tool.

    Example:
        >>> from etalambda.suggest import suggest
        >>> found = suggest(optimizer="adamw", lr=3e-4, steps=20_000, lr_schedule="cosine")
        >>> print(export(found, "hf"))
        --optim adamw_torch --learning_rate 0.0003 --lr_scheduler_type cosine --weight_decay 0.745
    """
    if tool not in TOOLS:
        raise unknown("tool", tool, TOOLS)
    return TOOLS[tool](suggestion)


def _decay(suggestion: Suggestion) -> str:
    return f"{suggestion.weight_decay:.3g}"


def _pick(kind: str, tool: str, name: str, known: dict[str, str], remedy: str) -> str:
    if name not in known:
        raise CannotExpress(f"{tool} cannot express the {kind} {name!r}; {remedy}")
    return known[name]


def _constant_decay(suggestion: Suggestion, tool: str) -> None:
    if suggestion.schedule != "constant":
        raise CannotExpress(
            f"{tool} keeps weight decay constant and cannot express "
            f"{suggestion.schedule!r}; {_OURS}"
        )


_SET_LR = "set the lr schedule in the tool by hand"


def _hf(suggestion: Suggestion) -> str:
    _constant_decay(suggestion, "hf")
    optimizers = {"adamw": "adamw_torch", "lion": "lion_32bit", "sgd": "sgd"}
    name = _pick("optimizer", "hf", suggestion.optimizer, optimizers, "pass optimizers= to Trainer")
    shape = _pick("lr schedule", "hf", suggestion.lr_schedule, _SHAPES, _SET_LR)
    momentum = suggestion.plan.momentum
    if suggestion.optimizer == "sgd" and momentum:
        name += f" --optim_args momentum={momentum:g}"
    return (
        f"--optim {name} --learning_rate {suggestion.lr:g} "
        f"--lr_scheduler_type {shape} --weight_decay {_decay(suggestion)}"
    )


_SHAPES = {"constant": "constant", "linear": "linear", "cosine": "cosine"}


def _torchtitan(suggestion: Suggestion) -> str:
    _constant_decay(suggestion, "torchtitan")
    name = _pick("optimizer", "torchtitan", suggestion.optimizer, {"adamw": "AdamW"}, _OURS)
    ratios = {"constant": "0.0", "linear": "1.0", "cosine": "1.0"}
    ratio = _pick("lr schedule", "torchtitan", suggestion.lr_schedule, ratios, _SET_LR)
    shape = suggestion.lr_schedule if ratio == "1.0" else "linear"
    return (
        f"--optimizer.name {name} --optimizer.lr {suggestion.lr:g} "
        f"--optimizer.weight_decay {_decay(suggestion)} --lr_scheduler.decay_ratio {ratio} "
        f"--lr_scheduler.decay_type {shape}"
    )


def _megatron(suggestion: Suggestion) -> str:
    """Megatron can raise or lower λ from a start to an end value, linearly or as a cosine."""
    name = _pick(
        "optimizer", "megatron", suggestion.optimizer, {"adamw": "adam", "sgd": "sgd"}, _OURS
    )
    shape = _pick("lr schedule", "megatron", suggestion.lr_schedule, _SHAPES, _SET_LR)
    flags = f"--optimizer {name} --lr {suggestion.lr:g} --lr-decay-style {shape} "
    if name == "sgd":
        flags += f"--sgd-momentum {suggestion.plan.momentum:g} "
    style = suggestion.schedule
    if style == "matched":  # λ follows the lr's own shape
        style = shape
    if style == "constant":
        return flags + f"--weight-decay {_decay(suggestion)}"
    style = _pick("weight decay schedule", "megatron", style, _SHAPES, _OURS)
    return flags + (
        f"--start-weight-decay {_decay(suggestion)} --end-weight-decay 0.0 "
        f"--weight-decay-incr-style {style}"
    )


def _deepspeed(suggestion: Suggestion) -> str:
    _constant_decay(suggestion, "deepspeed")
    names = {"adamw": "AdamW", "lion": "Lion"}
    name = _pick(
        "optimizer", "deepspeed", suggestion.optimizer, names, "pass your own to initialize"
    )
    params = {"lr": suggestion.lr, "weight_decay": float(_decay(suggestion))}
    return json.dumps({"optimizer": {"type": name, "params": params}})


def _optax(suggestion: Suggestion) -> str:
    names = {"adamw": "adamw", "lion": "lion"}
    name = _pick("optimizer", "optax", suggestion.optimizer, names, "chain add_decayed_weights")
    lr = _optax_schedule(suggestion, suggestion.lr_schedule, f"{suggestion.lr:g}")
    style = suggestion.lr_schedule if suggestion.schedule == "matched" else suggestion.schedule
    decay = _optax_schedule(suggestion, style, _decay(suggestion))
    return f"optax.{name}(learning_rate={lr}, weight_decay={decay})"


def _optax_schedule(suggestion: Suggestion, name: str, value: str) -> str:
    steps = suggestion.plan.steps
    forms = {
        "constant": value,
        "linear": f"optax.linear_schedule({value}, 0.0, {steps})",
        "cosine": f"optax.cosine_decay_schedule({value}, {steps})",
    }
    return _pick("schedule", "optax", name, forms, "pass any step -> value function")


TOOLS: dict[str, Callable[[Suggestion], str]] = {
    "hf": _hf,
    "torchtitan": _torchtitan,
    "megatron": _megatron,
    "deepspeed": _deepspeed,
    "optax": _optax,
}
