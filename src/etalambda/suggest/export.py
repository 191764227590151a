"""A suggestion as the flags of another tool, or why that tool cannot express it.

Every tool here multiplies its weight decay by the lr, as torch's AdamW does. Few can change it
along the run; where one cannot, the error names the way that can. λ is given to two digits: it is
not known better. ``tests/suggest/test_export_tools.py`` feeds each tool with what is printed here
and sums lr · λ over the steps that the tool takes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from etalambda._common import unknown
from etalambda.suggest.suggestion import Suggestion

_OURS = "use etalambda.tie or etalambda.Scheduler in a callback (etalambda.integrations)"
_SET_LR = "set the lr schedule in the tool by hand"
_SHAPES = {"constant": "constant", "linear": "linear", "cosine": "cosine"}


class CannotExpress(ValueError):
    """The tool has no way to say this; the message names the part and a way that can.

    Example:
        >>> from etalambda.suggest import suggest
        >>> found = suggest(optimizer="muon", lr=0.02, steps=20_000)
        >>> try:
        ...     export(found, "hf")
        ... except CannotExpress as error:
        ...     print("muon" in str(error))
        True
    """


def export(suggestion: Suggestion, tool: str) -> str:
    """The suggestion as flags, a config or a line of code for ``tool``.

    Args:
        suggestion: From `etalambda.suggest`.
        tool: "hf" (Trainer flags), "torchtitan" (fields of its config function, torchtitan 0.3),
            "megatron" (flags), "deepspeed" (JSON) or "optax" (Python).

    Raises:
        CannotExpress: If the tool lacks the optimizer or the schedule; it says what can.
        ValueError: For an unknown tool.

    Example:
        >>> from etalambda.suggest import suggest
        >>> found = suggest(optimizer="adamw", lr=3e-4, steps=20_000, lr_schedule="cosine")
        >>> print(export(found, "hf"))
        --optim adamw_torch --learning_rate 0.0003 --lr_scheduler_type cosine --max_steps 20000
        --weight_decay 0.75
    """
    if tool not in TOOLS:
        raise unknown("tool", tool, TOOLS)
    return TOOLS[tool](suggestion)


def _decay(suggestion: Suggestion) -> str:
    return f"{suggestion.weight_decay:.2g}"


def _pick(kind: str, tool: str, name: str, known: Mapping[str, Any], remedy: str) -> Any:
    if name not in known:
        raise CannotExpress(f"{tool} cannot express the {kind} {name!r}; {remedy}")
    return known[name]


def _constant_decay(suggestion: Suggestion, tool: str, why: str = "keeps λ constant") -> None:
    if suggestion.schedule != "constant":
        raise CannotExpress(f"{tool} {why} and cannot express {suggestion.schedule!r}; {_OURS}")


def _hf(suggestion: Suggestion) -> str:
    _constant_decay(suggestion, "hf")
    optimizers = {"adamw": "adamw_torch", "lion": "lion_32bit", "sgd": "sgd"}
    name = _pick("optimizer", "hf", suggestion.optimizer, optimizers, "pass optimizers= to Trainer")
    shape = _pick("lr schedule", "hf", suggestion.lr_schedule, _SHAPES, _SET_LR)
    momentum = suggestion.plan.momentum
    if suggestion.optimizer == "sgd" and momentum:
        name += f" --optim_args momentum={momentum:g}"
    return (
        f"--optim {name} --learning_rate {suggestion.lr:g} --lr_scheduler_type {shape} "
        f"--max_steps {suggestion.plan.steps} --weight_decay {_decay(suggestion)}"
    )


def _torchtitan(suggestion: Suggestion) -> str:
    """Its own default warms up for 200 steps, so that is set too."""
    _constant_decay(suggestion, "torchtitan")
    name = _pick("optimizer", "torchtitan", suggestion.optimizer, {"adamw": "AdamW"}, _OURS)
    shapes = {"constant": "decay_ratio=0.0", "linear": "decay_type='linear'"}
    shapes["cosine"] = "decay_type='cosine'"
    shape = _pick("lr schedule", "torchtitan", suggestion.lr_schedule, shapes, _SET_LR)
    options = f"{{'lr': {suggestion.lr:g}, 'weight_decay': {_decay(suggestion)}}}"
    return (
        "optimizer=OptimizersContainer.Config(param_groups=[ParamGroupConfig(pattern='.*', "
        f"optimizer_name='{name}', optimizer_kwargs={options})]),\n"
        f"lr_scheduler=LRSchedulersContainer.Config(warmup_steps=0, {shape}),\n"
        f"training=TrainingConfig(steps={suggestion.plan.steps}),"
    )


def _megatron(suggestion: Suggestion) -> str:
    """Megatron moves λ between a start and an end value too, but asserts that it grows."""
    _constant_decay(suggestion, "megatron", "only lets λ grow (--end-weight-decay >= --start-...)")
    names = {"adamw": "adam", "sgd": "sgd"}
    name = _pick("optimizer", "megatron", suggestion.optimizer, names, _OURS)
    shape = _pick("lr schedule", "megatron", suggestion.lr_schedule, _SHAPES, _SET_LR)
    if name == "sgd":
        name += f" --sgd-momentum {suggestion.plan.momentum:g}"
    steps = suggestion.plan.steps
    return (
        f"--optimizer {name} --lr {suggestion.lr:g} --min-lr 0 --lr-decay-style {shape} "
        f"--lr-decay-iters {steps} --train-iters {steps} --weight-decay {_decay(suggestion)}"
    )


def _deepspeed(suggestion: Suggestion) -> str:
    """Its scheduler may be any of torch's; those of its own warm up for two steps at least."""
    _constant_decay(suggestion, "deepspeed")
    names = {"adamw": "AdamW", "lion": "Lion", "sgd": "SGD"}
    remedy = "pass your own to initialize"
    name = _pick("optimizer", "deepspeed", suggestion.optimizer, names, remedy)
    params: dict[str, Any] = {"lr": suggestion.lr, "weight_decay": float(_decay(suggestion))}
    if suggestion.optimizer == "sgd":
        params["momentum"] = suggestion.plan.momentum
    steps = suggestion.plan.steps
    falls = {"start_factor": 1.0, "end_factor": 0.0, "total_iters": steps}
    schedulers = {
        "constant": {},
        "linear": {"scheduler": {"type": "LinearLR", "params": falls}},
        "cosine": {"scheduler": {"type": "CosineAnnealingLR", "params": {"T_max": steps}}},
    }
    shape = _pick("lr schedule", "deepspeed", suggestion.lr_schedule, schedulers, _SET_LR)
    return json.dumps({"optimizer": {"type": name, "params": params}} | shape)


def _optax(suggestion: Suggestion) -> str:
    lr = _optax_schedule(suggestion, suggestion.lr_schedule, f"{suggestion.lr:g}")
    style = suggestion.lr_schedule if suggestion.schedule == "matched" else suggestion.schedule
    decay = _optax_schedule(suggestion, style, _decay(suggestion))
    momentum = suggestion.plan.momentum
    forms = {
        "adamw": f"optax.adamw(learning_rate={lr}, weight_decay={decay})",
        "lion": f"optax.lion(learning_rate={lr}, weight_decay={decay})",
        "sgd": f"optax.chain(optax.add_decayed_weights({decay}), "
        f"optax.sgd(learning_rate={lr}, momentum={momentum:g}))",
    }
    if style == "constant":  # its Muon takes no schedule of λ
        forms["muon"] = (
            f"optax.contrib.muon(learning_rate={lr}, weight_decay={decay}, "
            f"adam_weight_decay={decay})"
        )
    return _pick("optimizer", "optax", suggestion.optimizer, forms, "chain add_decayed_weights")


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
