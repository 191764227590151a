"""``etalambda suggest``: every published rule for λ beside each other, and one of them taken."""

from __future__ import annotations

import json
from typing import Annotated, Any

from tyro.conf import arg

MaybeNumber = Annotated[float | None, arg(metavar="NUMBER", help_behavior_hint="")]


def suggest(
    optimizer: str,
    lr: float,
    steps: int,
    batch_size: MaybeNumber = None,
    dataset_size: MaybeNumber = None,
    parameters: MaybeNumber = None,
    lr_schedule: str = "constant",
    weight_decay_schedule: str = "constant",
    momentum: float = 0.0,
    v_mean: MaybeNumber = None,
    coefficient: MaybeNumber = None,
    reference: Annotated[str | None, arg(metavar="KEY=VALUE,..", help_behavior_hint="")] = None,
    as_: Annotated[str | None, arg(name="as", metavar="TOOL", help_behavior_hint="")] = None,
    json_: Annotated[bool, arg(name="json")] = False,
) -> None:
    """Which weight decay? Every published rule side by side, and one of them taken.

    Rules disagree by factors of 3 to 10; read the spread.

    As in: etalambda suggest --lr 1e-3 --steps 78200 --batch-size 128 --optimizer
    adamw --dataset-size 50000 --lr-schedule cosine

    Args:
        optimizer: adamw, sgd, adams, lion, muon, ...
        lr: Its peak learning rate.
        steps: Optimizer steps of the whole run.
        batch_size: Samples a step, or tokens for a language model.
        dataset_size: In the same unit; with the batch size it gives the passes over the data.
        parameters: Of the model; with tokens it gives tokens per parameter.
        lr_schedule: constant, linear or cosine (both to 0).
        weight_decay_schedule: constant, linear, cosine, matched (follows the lr).
        momentum: Of SGD; 0.9 makes the same weight decay act ten times faster.
        v_mean: The mean squared gradient, for adams (the key v_mean of etalambda.stats).
        coefficient: The upper end of c as decay done (etalambda.suggest.measure_coefficient).
        reference: A tuned run to start from, as lr=1e-3,weight_decay=0.1,steps=10000 and, if
            known, batch_size, parameters, optimizer, momentum, lr_schedule.
        as_: Print the flags or config of another tool instead: hf, torchtitan, megatron,
            deepspeed, optax.
        json_: Print JSON.
    """
    from etalambda.suggest import suggest as ask

    found = ask(
        optimizer=optimizer,
        lr=lr,
        steps=steps,
        batch_size=batch_size,
        dataset_size=dataset_size,
        parameters=parameters,
        lr_schedule=lr_schedule,
        weight_decay_schedule=weight_decay_schedule,
        reference=None if reference is None else parse_reference(reference),
        momentum=momentum,
        v_mean=v_mean,
        coefficient=coefficient,
    )
    if as_ is not None:
        print(found.export(as_))
    else:
        print(json.dumps(found.to_dict(), indent=2) if json_ else found)


def parse_reference(text: str) -> dict[str, Any]:
    """A run as ``key=value,key=value``.

    Raises:
        ValueError: If a part is no ``key=value``.

    >>> parse_reference("lr=1e-3,steps=100,optimizer=sgd")
    {'lr': 0.001, 'steps': 100, 'optimizer': 'sgd'}
    """
    found: dict[str, Any] = {}
    for part in text.split(","):
        key, equals, value = part.strip().partition("=")
        if not equals or not key or not value:
            raise ValueError(f"reference has {part!r}; write it as lr=1e-3,weight_decay=0.1,...")
        found[key] = _value(key, value)
    return found


def _value(key: str, value: str) -> Any:
    if key in ("optimizer", "lr_schedule", "weight_decay_schedule"):
        return value
    try:
        return int(float(value)) if key == "steps" else float(value)
    except ValueError:
        raise ValueError(f"reference has {key}={value!r}, which is no number") from None
