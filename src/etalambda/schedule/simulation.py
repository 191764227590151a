"""What schedules do over a run, without an optimizer: as numbers, and as a picture.

K = Σ ηλ is the decay budget: without gradients a weight would end at exp(-K) of its size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from etalambda._common import need
from etalambda.schedule.rule import Memory, Rule, check_rule, fold


def simulate(
    steps: int,
    *,
    bases: Mapping[str, float] | None = None,
    signals: Sequence[Mapping[str, Any]] | None = None,
    **rules: Rule,
) -> dict[str, Tensor]:
    """The value of every entry at each of ``steps`` steps, with ηλ and the budget spent.

    Args:
        steps: How many steps.
        bases: Entry -> base value; 1 where it is not given.
        signals: For rules with memory, one dict a step. They see ``lr`` and ``peak_lr`` by
            themselves.
        rules: Entry -> rule, as for a `Scheduler`. ``lr`` and ``weight_decay`` without a rule are
            constant.

    Returns:
        Entry -> float64 tensor of shape ``(steps,)``; also ``decay``, ηλ of the step, and ``K``,
        its sum so far.

    Raises:
        ValueError: If ``steps`` is not positive, or there are fewer signals than steps.

    Example:
        >>> from etalambda.schedule import linear
        >>> run = simulate(4, bases={"lr": 0.1, "weight_decay": 0.5}, weight_decay=linear(4))
        >>> run["K"]
        tensor([0.0500, 0.0875, 0.1125, 0.1250], dtype=torch.float64)
    """
    if not (isinstance(steps, int) and steps > 0):
        raise ValueError(f"steps must be a positive whole number, got {steps!r}")
    if signals is not None and len(signals) < steps:
        raise ValueError(f"signals has {len(signals)} entries for steps={steps}; give one a step")
    base = {"lr": 1.0, "weight_decay": 1.0} | dict.fromkeys(rules, 1.0) | dict(bases or {})
    given = [dict(seen) for seen in (signals or [{}] * steps)[:steps]]
    found: dict[str, Tensor] = {}
    for entry in sorted(base, key=lambda name: name != "lr"):
        rule = rules.get(entry)
        factors = [1.0] * steps if rule is None else _factors(entry, rule, given, base[entry])
        found[entry] = base[entry] * torch.tensor(factors, dtype=torch.float64)
        if entry == "lr":
            lrs = found["lr"].tolist()
            given = [{"lr": lr, "peak_lr": base["lr"], **seen} for lr, seen in zip(lrs, given)]
    found["decay"] = found["lr"] * found["weight_decay"]
    found["K"] = found["decay"].cumsum(0)
    return found


def _factors(
    entry: str, rule: Rule, signals: Sequence[Mapping[str, Any]], base: float
) -> list[float]:
    check_rule(entry, rule)
    if isinstance(rule, Memory):
        return fold(rule, signals, initial=base)
    return [rule(step) for step in range(len(signals))]


def plot(
    steps: int,
    *,
    bases: Mapping[str, float] | None = None,
    signals: Sequence[Mapping[str, Any]] | None = None,
    axes: Any = None,
    **rules: Rule,
) -> Any:
    """Draw λ, η, their product and the budget K over a run. Needs matplotlib.

    Args:
        steps, bases, signals, rules: As for `simulate`.
        axes: Four matplotlib axes to draw on; a new figure by default.

    Returns:
        The matplotlib figure.

    Example:
        >>> from etalambda.schedule import cosine
        >>> figure = plot(100, bases={"lr": 0.1, "weight_decay": 0.5}, weight_decay=cosine(100))
        >>> len(figure.axes)
        4
    """
    run = simulate(steps, bases=bases, signals=signals, **rules)
    if axes is None:
        axes = need("matplotlib.pyplot", "lab").subplots(1, 4, figsize=(12, 2.6))[1]
    titles = dict(weight_decay="weight decay λ", lr="learning rate η", decay="ηλ", K="K = Σ ηλ")
    for axis, (entry, title) in zip(axes, titles.items()):
        axis.plot(run[entry].numpy())
        axis.set(title=title, xlabel="step", ylim=(0, None))
    figure = axes[0].figure
    figure.tight_layout()
    return figure
