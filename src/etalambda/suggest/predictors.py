"""Every published rule for λ as one small pure function on a `Plan`, so that they can be compared.

A predictor returns λ for torch's ``weight_decay`` at the peak of the schedule, or raises
`NotApplicable` with the reason. Rules speak different units; here all become a decay budget first,

    λ = K / (gain Σ m_t η_t)        K over the run, m_t the schedule of λ, gain of the optimizer
    λ = K_peak / (gain η_max T)     for rules that speak of the peak

The constants come from where each docstring says. Those that nobody has verified here are called
"unverified". Rules disagree by factors of 3 to 10; the spread is part of the answer.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable

import torch

from etalambda.suggest.fitted import fitted_budget
from etalambda.suggest.recipes import power_lines_timescale
from etalambda.suggest.run_plan import NotApplicable, Plan
from etalambda.theory import budget

ONE_PASS = 2.0
BUDGET_A_PASS = 0.08
MOST = 17.0
CHINCHILLA = 20.0


def target_budget(passes: float | None, tokens_per_parameter: float | None) -> tuple[float, str]:
    """K* of the regime, over the schedule, and the words that say why.

    Up to two passes: half of Power Lines' K at the peak (their lr falls linearly to 0),
    1/(2 · 1.084) TPP^0.527, at 20 tokens per parameter if TPP is unknown. More passes: 0.08 for
    every pass, the geometric mean of three vision recipes (0.19 ResNet-50 on ImageNet, 0.086
    ResNet on CIFAR, 0.031 DeiT-S), and no more than 17, which they reach. Unknown: taken as one
    pass. The edge at two passes is a guess.

    Example:
        >>> target_budget(1, 20)[0], target_budget(40, None)[0], target_budget(300, None)[0]
        (2.23..., 3.2, 17.0)
    """
    if passes is not None and passes > ONE_PASS:
        total = min(BUDGET_A_PASS * passes, MOST)
        return (
            total,
            f"{passes:.3g} passes, {BUDGET_A_PASS} each as in vision recipes, {MOST} at most",
        )
    tpp = CHINCHILLA if tokens_per_parameter is None else tokens_per_parameter
    known = "" if tokens_per_parameter is not None else ", assumed"
    regime = "one pass" if passes is not None else "passes unknown, taken as one"
    return 0.5 / power_lines_timescale(
        tpp
    ), f"{regime}: Power Lines (unverified) at TPP {tpp:.3g}{known}"


def decay_budget(plan: Plan) -> float:
    """λ₀ with Σ m_t η_t λ₀ = K*(regime); see `target_budget`.

    Source: the K ruler; `recipes` for many passes, Bergsma et al. 2025 for one.
    Domain: every optimizer with a decay rate. Fails: K* is known to a factor of about 3; tasks
    with little noise, and short runs, need none of it.

    Example:
        >>> plan = Plan.steady("adamw", lr=1e-3, steps=78_125, batch_size=128, dataset_size=50_000)
        >>> round(decay_budget(plan), 3)  # 200 passes: K = 0.08 · 200
        0.205
    """
    return plan.at_budget(target_budget(plan.passes, plan.tokens_per_parameter)[0])


def ema_timescale(plan: Plan) -> float:
    """τ of √passes epochs: the geometric middle of Wang & Aitchison's admissible 1 ... passes.

    Source: Wang & Aitchison 2024 (2405.13698): the optimal timescale in epochs hardly moves with
    model or dataset size and lies between one epoch and the whole run. The middle is our choice.
    Domain: several passes. Fails: says nothing about one pass.

    Example:
        >>> plan = Plan.steady("adamw", lr=1e-3, steps=78_125, batch_size=128, dataset_size=50_000)
        >>> round(ema_timescale(plan), 3)  # τ = √200 epochs
        0.181
    """
    plan.need("batch_size", "dataset_size")
    passes = plan.passes or 0.0
    if passes <= 1:
        raise NotApplicable("needs more than one pass over the data")
    return plan.at_peak_budget(math.sqrt(passes))


def power_lines(plan: Plan) -> float:
    """τ/T = 1.084 TPP^(-0.527) at the peak lr; the constant is unverified here.

    Source: Bergsma et al. 2025 (2505.13738), AdamW language models of 111M to 3.3B.
    Domain: one pass over the data. Fails: for several passes, where published optima are up to 30
    times larger (2509.14786).

    Example:
        >>> plan = Plan.steady("adamw", lr=1e-3, steps=10_000, batch_size=2e4, parameters=1e7)
        >>> round(power_lines(plan), 3)  # 20 tokens per parameter
        0.447
    """
    if plan.passes is not None and plan.passes > ONE_PASS:
        raise NotApplicable("fitted on one pass over the data")
    plan.need("batch_size", "parameters")
    return plan.at_peak_budget(1 / power_lines_timescale(plan.tokens_per_parameter or CHINCHILLA))


def loshchilov_hutter(plan: Plan) -> float:
    """r = λ_norm √(B/(D T)) a step, T in epochs, λ_norm = 0.05 (unverified).

    Source: Loshchilov & Hutter 2019, section 3 and appendix B.1: their λ is multiplied by the
    schedule but not by the lr, so torch's λ is theirs over the lr.
    Domain: image classification, many passes. Fails: the exponent 1/2 in T is not what later
    work finds (0 or -1).

    Example:
        >>> plan = Plan.steady("adamw", lr=1e-3, steps=78_125, batch_size=128, dataset_size=50_000)
        >>> round(loshchilov_hutter(plan), 3)
        0.179
    """
    plan.need("batch_size", "dataset_size")
    passes = plan.passes or 0.0
    rate = 0.05 * math.sqrt(float(plan.batch_size or 0) / (float(plan.dataset_size or 1) * passes))
    return plan.at_rate(rate)


def peak_time(plan: Plan) -> float:
    """λ = c/T: the run reaches its best accuracy as it ends, or as its lr first drops.

    Source: Lewkowycz & Gur-Ari 2020, section 3. ``coefficient`` is c as decay done, K; without it
    2 · 0.64, from their c = 0.0065625 epochs (lr 0.2, momentum 0.9, 48.8 steps an epoch). c is a
    range: measured at a large λ it is about half of what it is at a small one (their figure S4).
    This is its upper end, for a λ that is small; `RANGED` has the lower.
    Domain: overparameterized networks at a constant lr, SGD. Fails: after an lr drop it decays too
    little (their figure S10); underparameterized networks (S7, S8).

    Example:
        >>> plan = Plan.steady("sgd", lr=0.2, steps=9766, gain=10.0)
        >>> round(peak_time(plan) / 2, 7)  # their c/T for 200 epochs
        3.28e-05
    """
    spent = 1.28 if plan.coefficient is None else plan.coefficient
    high = plan.lr_factors >= plan.lr_factors.max() / 2
    first_drop = int(torch.where(high)[0].max()) + 1
    active = (plan.lr_factors * plan.decay_factors)[:first_drop].sum().item()
    return spent / (active * plan.lr * plan._gain())


def tenth_over_epochs(plan: Plan) -> float:
    """λ = 0.1/epochs for SGD and stable decay, 0.1/(epochs · lr) for decoupled decay.

    Source: Xie et al. 2022, table 3 (three candidates a decade apart) and B.1 (λ_W = λ_L2/η).
    Domain: ResNets on CIFAR with SGD at lr 0.1, momentum 0.9, batch 128, 50 to 2000 epochs (asked
    for 10 at least here). Fails: it knows neither lr nor batch size.

    Example:
        >>> plan = Plan.steady("sgd", lr=0.1, steps=78_125, batch_size=128, dataset_size=50_000)
        >>> round(tenth_over_epochs(plan), 6)
        0.0005
    """
    plan.need("batch_size", "dataset_size")
    if (plan.passes or 0.0) < 10:
        raise NotApplicable("tabulated for 50 to 2000 passes over the data")
    base = 0.1 / (plan.passes or 1.0)
    form = budget.form(plan.optimizer, decoupled=True)
    return base / plan.lr if form == "plain" and "sgd" not in plan.optimizer.lower() else base


def fitted(plan: Plan) -> float:
    """K at the peak by passes: 0.44 at 20, 2.5 at 40, 6.7 at 80, 15 at 160, 32 at 320.

    Source: experiment E1 of Part II, `etalambda.suggest.fitted`.
    Domain: 10 to 320 passes over small images, 20 % wrong labels, SGD with momentum and AdamW at
    the lrs of E1. On 77 settings that it was not made from its regret is 4.9 points of test error
    (95 % over 9 tasks: 3.1 to 6.9), and not told apart from that of `decay_budget` (-3.0, -7.0 to
    +0.6; E4). Fails: at other lrs, batches and data, by up to 20 points.

    Example:
        >>> plan = Plan.steady("sgd", lr=0.05, steps=480, gain=10, batch_size=50, dataset_size=600)
        >>> round(fitted(plan), 4)  # 40 passes: gain · lr · λ · steps = 2.5
        0.0104
    """
    plan.need("batch_size", "dataset_size")
    return plan.at_peak_budget(fitted_budget(plan.passes or 0.0).budget)


def anchored(plan: Plan) -> float:
    """The reference run's K, scaled for data: the same K for several passes, TPP^0.527 for one.

    At one pass and lr ∝ √B this is nanochat's λ ∝ √B/D. Lr, batch size and width enter through K.
    Source: your run; the exponent is that of `power_lines`.
    Domain: the same task and recipe at another scale. Fails: if the reference was not tuned.

    Example:
        >>> plan = Plan.steady("adamw", lr=2e-3, steps=5000, reference={"budget": 3.0})
        >>> round(anchored(plan), 3)
        0.3
    """
    plan.need("reference")
    known = dict(plan.reference or {})
    total = float(known["budget"])
    tpp, before = plan.tokens_per_parameter, known.get("tokens_per_parameter")
    one_pass = plan.passes is None or plan.passes <= ONE_PASS
    if one_pass and tpp is not None and before:
        total *= (tpp / before) ** 0.527
    return plan.at_budget(total)


PREDICTORS: dict[str, Callable[[Plan], float]] = {
    "anchored": anchored,
    "decay_budget": decay_budget,
    "ema_timescale": ema_timescale,
    "power_lines": power_lines,
    "loshchilov_hutter": loshchilov_hutter,
    "peak_time": peak_time,
    "tenth_over_epochs": tenth_over_epochs,
    "fitted": fitted,
}
"""Name -> predictor, in the order in which `suggest` prints them."""

RANGED: dict[str, float] = {"peak_time": 0.5}
"""Predictor that is a range -> its lower end as a share of what it returns, the upper."""


def source_of(predictor: Callable[[Plan], float]) -> str:
    """Where a predictor comes from: the head of the "Source:" in its docstring.

    A constant that its docstring calls unverified is labelled so.

    Example:
        >>> source_of(power_lines)
        'Bergsma et al. 2025 (2505.13738), constant unverified'
    """
    text = " ".join((predictor.__doc__ or "").split())
    found = re.search(r"Source: (.*?)(?:[,;:]|\. [A-Z]|$)", text)
    label = ", constant unverified" if "unverified" in text else ""
    return (found.group(1) if found else "") + label
