"""`suggest`: every predictor side by side, the one that is taken, and what to be careful about."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from etalambda._common import check_positive
from etalambda.suggest.findings import INERT, number
from etalambda.suggest.measure import Coefficient
from etalambda.suggest.predictors import (
    PREDICTORS,
    RANGED,
    source_of,
    target_budget,
)
from etalambda.suggest.run_plan import NotApplicable, Plan
from etalambda.suggest.suggestion import Prediction, Suggestion
from etalambda.theory import budget
from etalambda.theory.plan import DecayBudget
from etalambda.theory.shapes import Schedule, factors, weight_decay_factors


def suggest(
    *,
    optimizer: str,
    lr: float,
    steps: int,
    batch_size: float | None = None,
    dataset_size: float | None = None,
    parameters: float | None = None,
    lr_schedule: Schedule = "constant",
    weight_decay_schedule: Schedule = "constant",
    reference: Mapping[str, Any] | None = None,
    momentum: float = 0.0,
    dampening: float = 0.0,
    v_mean: float | None = None,
    coefficient: Coefficient | float | None = None,
) -> Suggestion:
    """Which weight decay? Every published rule side by side, and one of them taken.

    The rule taken is "anchored" with a ``reference``, otherwise "decay_budget". Rules disagree by
    factors of 3 to 10: read the spread, try the ends of it, and audit the run.

    Args:
        optimizer: "adamw", "sgd", "adams", "lion", "muon", ...; see ``theory.budget.FORMS``.
        lr: Its peak.
        steps: Optimizer steps of the whole run.
        batch_size: Samples, or tokens, a step. With ``dataset_size`` it gives the passes.
        dataset_size: In the same unit.
        parameters: Of the model; with tokens it gives tokens per parameter.
        lr_schedule: "constant", "linear", "cosine" (to 0), one factor a step, or a callable.
        weight_decay_schedule: The same, or "matched" (λ follows the lr), "constant_product".
        reference: A tuned run to start from: ``lr``, ``weight_decay``, ``steps`` and, if known,
            ``batch_size``, ``parameters``, ``lr_schedule``, ``optimizer``, ``momentum``.
        momentum: Of SGD: 0.9 makes the same λ decay ten times faster.
        dampening: Of SGD.
        v_mean: v̄ for AdamS, from ``etalambda.stats`` of a short run.
        coefficient: c for the rule "peak_time": what `measure_coefficient` returned, or the upper
            end of its range as decay done.

    Returns:
        A `Suggestion`. Print it, or take ``.weight_decay``.

    Raises:
        ValueError: If a number is not positive and finite, the optimizer or schedule unknown, a
            schedule shorter than the run, or no rule applies.

    Example:
        >>> found = suggest(optimizer="adamw", lr=1e-3, steps=78_200, batch_size=128,
        ...                 dataset_size=50_000, lr_schedule="cosine")
        >>> round(found.weight_decay, 2), round(found.plan.total, 1)
        (0.41, 16.0)
        >>> [round(p.weight_decay, 2) for p in found.predictions[1:3]]
        [0.41, 0.18]
    """
    if isinstance(coefficient, Coefficient):
        coefficient = coefficient.range()[1]
    for name, value in dict(
        lr=lr,
        batch_size=batch_size,
        dataset_size=dataset_size,
        parameters=parameters,
        v_mean=v_mean,
        coefficient=coefficient,
    ).items():
        if value is not None:
            check_positive(**{name: value})
    lr_factors = factors(lr_schedule, steps)
    check_positive(sum_of_the_lr_schedule=lr_factors.sum().item())
    plan = Plan(
        optimizer=optimizer,
        lr=lr,
        steps=steps,
        lr_factors=lr_factors,
        decay_factors=weight_decay_factors(weight_decay_schedule, lr_factors),
        gain=_gain(optimizer, momentum, dampening, v_mean),
        batch_size=batch_size,
        dataset_size=dataset_size,
        parameters=parameters,
        reference=None if reference is None else _read_reference(reference),
        coefficient=coefficient,
    )
    predictions = tuple(_ask(name, plan) for name in PREDICTORS)
    chosen, why = _choose(predictions, plan)
    spent = DecayBudget.of(
        optimizer,
        lr=lr,
        weight_decay=chosen.weight_decay,
        steps=steps,
        lr_schedule=lr_factors,
        weight_decay_schedule=plan.decay_factors,
        momentum=momentum,
        dampening=dampening,
        v_mean=v_mean,
    )
    return Suggestion(
        optimizer=optimizer.lower(),
        lr=lr,
        weight_decay=chosen.weight_decay,
        chosen=chosen.name,
        why=why,
        predictions=predictions,
        plan=spent,
        schedule=_named(weight_decay_schedule),
        lr_schedule=_named(lr_schedule),
        warnings=tuple(_warnings(plan, spent, predictions)),
    )


def _named(schedule: Schedule) -> str:
    return schedule if isinstance(schedule, str) else "as given"


def _gain(optimizer: str, momentum: float, dampening: float, v_mean: float | None) -> float:
    form = budget.form(optimizer)
    return budget.gain(form, momentum=momentum, dampening=dampening, v_mean=v_mean)


def _ask(name: str, plan: Plan) -> Prediction:
    rule = PREDICTORS[name]
    source = source_of(rule)
    try:
        found = rule(plan)
    except NotApplicable as reason:
        return Prediction(name, math.nan, math.nan, str(reason), source, math.nan)
    spent = found * plan.lr * plan.gain * (plan.lr_factors * plan.decay_factors).sum().item()
    return Prediction(name, found, spent, "", source, found * RANGED.get(name, 1.0))


def _choose(predictions: Sequence[Prediction], plan: Plan) -> tuple[Prediction, str]:
    """The anchored rule if it can speak, then the budget, then whatever applies."""
    by_name = {p.name: p for p in predictions}
    for name in ("anchored", "decay_budget", *by_name):
        if math.isfinite(by_name[name].weight_decay):
            break
    else:
        reasons = "; ".join(f"{p.name} {p.reason}" for p in predictions)
        raise ValueError(f"no rule applies to optimizer={plan.optimizer!r}: {reasons}")
    why = {
        "anchored": "the K of your reference run",
        "decay_budget": target_budget(plan.passes, plan.tokens_per_parameter)[1],
    }.get(name, "the only family of rules that applies")
    return by_name[name], why


def _read_reference(reference: Mapping[str, Any]) -> dict[str, Any]:
    """K and tokens per parameter of the reference run."""
    missing = {"lr", "weight_decay", "steps"} - set(reference)
    if missing:
        raise ValueError(f"reference lacks {sorted(missing)}; it needs lr, weight_decay and steps")
    run = DecayBudget.of(
        reference.get("optimizer", "adamw"),
        lr=reference["lr"],
        weight_decay=reference["weight_decay"],
        steps=reference["steps"],
        lr_schedule=reference.get("lr_schedule", "constant"),
        weight_decay_schedule=reference.get("weight_decay_schedule", "constant"),
        momentum=reference.get("momentum", 0.0),
        v_mean=reference.get("v_mean"),
    )
    check_positive(**{"K of the reference": run.total})
    seen = reference["steps"] * reference.get("batch_size", 0) / reference.get("parameters", 1)
    return dict(budget=run.total, tokens_per_parameter=seen if "parameters" in reference else None)


def _warnings(plan: Plan, spent: DecayBudget, predictions: Sequence[Prediction]) -> list[str]:
    """What to be careful about, most important first."""
    found = []
    rate = spent.rates.max().item()
    if spent.total < INERT:
        found.append(f"decay is inert: K = {number(spent.total)}, below {INERT}")
    if spent.tau > plan.steps:
        found.append(f"equilibrium never reached: τ = {number(spent.tau)} > T = {plan.steps} steps")
    if rate > 0.1:
        found.append(f"lr·λ/(1-μ) = {number(rate)} > 0.1: a step removes too much; shorten the lr")
    said = [p for p in predictions if math.isfinite(p.weight_decay)]
    low, high = min(p.low for p in said), max(p.weight_decay for p in said)
    if high > 3 * low:
        found.append(f"the rules disagree by a factor of {high / low:.0f}; try both ends")
    if len(said) == 1:
        found.append("one rule alone applies: give batch_size, dataset_size, parameters for more")
    if plan.passes is None:
        found.append("passes unknown: with many passes over the data, K of 0.03 to 0.2 a pass")
    if plan.optimizer.lower() == "sgd" and plan.gain == 1:
        found.append("momentum taken as 0: pass momentum=0.9 if that is what you use")
    return found
