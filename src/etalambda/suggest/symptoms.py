"""The doctor's rules: what the course of a run says about its weight decay.

Each rule takes a `Trace` and returns findings. Thresholds are guesses unless a source stands
beside them; `tests/suggest/test_doctor.py` holds one failing and one healthy run of each, and
twenty healthy runs on which they must stay silent.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from etalambda.suggest import findings as rules
from etalambda.suggest.findings import Finding, number
from etalambda.suggest.trace import Trace

RISE = 1.25
SURE = 3.0  # standard errors
SETTLED = 2.0  # of K: ‖W‖² has then relaxed by exp(-2K) = 2 %
FAR = 10.0
MOVING = 0.5


def decay_done(trace: Trace) -> list[Finding]:
    """INERT and EXCESS on what the run spends: logged so far, and the rest at the last rate."""
    found: list[Finding | None] = []
    rates = trace.rates()
    for group, done in trace.budgets().items():
        rate = rates.get(group, torch.full_like(trace.steps, math.nan))
        left = max(trace.length - trace.steps[-1].item(), 0) * _value(rate, -1)
        total = done + (0.0 if math.isnan(left) else left)
        where, fix = f"group {group}", _ask(trace)
        found.append(rules.inert(where, total, fix))
        if not (trace.get("v_mean") and trace.form(group) == "stable"):  # that is V-MEAN
            found.append(rules.excess(where, total, _most(rate), fix))
    return [finding for finding in found if finding]


def scale(trace: Trace) -> list[Finding]:
    """SCALE: AdamW's λ given to AdamS or the reverse, a factor of about 1/lr."""
    spent, rates = trace.budgets(), trace.rates()
    found = [
        rules.scale(
            f"group {group}",
            trace.form(group),
            _most(decays),
            _most(trace.get("lr").get(group, torch.tensor([math.nan]))),
            spent.get(group, math.nan),
            'group["weight_decay"]',
            _most(rates[group]) if group in rates else math.nan,
        )
        for group, decays in trace.get("weight_decay").items()
    ]
    return [finding for finding in found if finding]


def l2_in_adam(trace: Trace) -> list[Finding]:
    """L2-IN-ADAM: λ goes through √v in an optimizer without decoupled decay."""
    found = []
    for group, decays in trace.get("weight_decay").items():
        if trace.form(group) == "adaptive":
            name = trace.optimizers.get(group, trace.optimizer)
            fix = "use AdamW, or decoupled_weight_decay=True where the optimizer has it"
            found.append(rules.l2_in_adam(f"group {group}", _most(decays), name, fix))
    return [finding for finding in found if finding]


def overwritten(trace: Trace) -> list[Finding]:
    """OVERWRITTEN: a group that started without decay, among others with some, has some now."""
    known = {g: values[~values.isnan()] for g, values in trace.get("weight_decay").items()}
    starts = {group: values[0].item() for group, values in known.items() if len(values)}
    if not any(starts.values()):  # λ rises from 0 everywhere: a schedule
        return []
    found = []
    for group, start in starts.items():
        most = _most(known[group])
        if start == 0 < most:
            why = f"λ was 0 at first and {number(most)} later: something overwrites it"
            fix = "el.Scheduler(optimizer, weight_decay=rule)  # multiplies, so 0 stays 0"
            source = "stable-pretraining, MMEngine: no-decay groups"
            found.append(Finding("OVERWRITTEN", f"group {group}", most, 0, why, fix, source))
    return found


def effective_lr(trace: Trace) -> list[Finding]:
    """COLLAPSE and EXPLODE: the effective lr η/‖W‖² moved by 100 through the norm alone."""
    found = []
    for group, norms in trace.get("norm").items():
        known = norms[norms > 0]
        if len(known) < 2:
            continue
        ratio = (known[-1] / known[0]).item()
        where, source = f"group {group}", "Li, Lyu & Arora 2020, section 5"
        if ratio >= FAR:
            why = (
                f"the norm grew {number(ratio)} times, so the effective lr fell {number(ratio**2)}"
            )
            found.append(Finding("COLLAPSE", where, ratio, FAR, why, _ask(trace), source))
        if ratio <= 1 / FAR:
            why = f"the norm shrank to {number(ratio)} of its start: the effective lr explodes"
            found.append(Finding("EXPLODE", where, ratio, 1 / FAR, why, _ask(trace), source))
    return found


def far_from_equilibrium(trace: Trace) -> list[Finding]:
    """FAR: decay is meant to matter, but the norm still moves fast and too little time is left.

    ‖W‖² of a normalized update relaxes as exp(-2K); with less than half an e-fold left the norm
    ends wherever the run stops.
    """
    found, rates = [], trace.rates()
    for group, norms in trace.get("norm").items():
        rate = _value(rates.get(group, torch.tensor([math.nan])), -1)
        known = norms[norms > 0]
        if len(known) < 8 or not rate > 0:
            continue
        moved = abs(math.log((known[-1] / known[3 * len(known) // 4]).item()))
        left = 2 * rate * max(trace.length - trace.steps[-1].item(), 0)
        if moved > MOVING and left < MOVING:
            why = (
                f"the norm moved by {math.expm1(moved):.0%} in the last quarter and the steps left "
                f"allow {number(left / 2)} of K"
            )
            fix = "el.suggest.two_phase_plan(lr=lr, steps=steps)  # the smallest ηλ that settles"
            source = "Li, Lyu & Arora 2020, (12)"
            found.append(Finding("FAR", f"group {group}", moved, MOVING, why, fix, source))
    return found


def rising_gradient(trace: Trace) -> list[Finding]:
    """GRAD-RISE: the gradient norm climbs while the lr falls, the mark of undecayed λ.

    In equilibrium ‖g‖/‖W‖ = √(2λ/η): constant λ under a falling η makes it rise; λ ∝ η does not.
    The edge lies between the rises of a small character GPT at equal K (n = 6 seeds each): constant
    λ 1.28 to 1.69, matched 1.01 to 1.19; and above it the rise has to stand out of the noise. A run
    that spends less than K = 2 has no such equilibrium, and another cause. Information, not a
    warning: small networks on noisy labels show such rises too, and no harm from them is known.
    """
    found: list[Finding] = []
    spent = [total for total in trace.budgets().values() if not math.isnan(total)]
    if spent and max(spent) < SETTLED:
        return found
    for group, norms in trace.get("grad_norm").items():
        lrs = trace.get("lr").get(group, next(iter(trace.get("lr").values()), None))
        if lrs is None or len(norms) < 20 or _value(lrs, -1) > 0.3 * _most(lrs):
            continue
        middle, noise = _median(norms[len(norms) * 4 // 10 : len(norms) * 6 // 10])
        end, _ = _median(norms[-max(len(norms) // 20, 3) :])
        doubt = SURE * noise / math.sqrt(max(len(norms) // 20, 3))
        if end > RISE * middle > 0 and end - middle > doubt:
            why = f"the gradient norm ends {number(end / middle)} times its middle as the lr falls"
            fix = 'el.tie(optimizer, "matched")  # λ follows the lr'
            source = "Defazio 2025; OLMo issue 596"
            found.append(Finding("GRAD-RISE", "run", end / middle, RISE, why, fix, source, "info"))
    return found


def vanishing_second_moment(trace: Trace) -> list[Finding]:
    """V-MEAN: stable decay divides by √v̄, and v̄ goes to 0 with the gradient."""
    if not trace.get("v_mean"):
        return []
    rates = [_most(rate) for g, rate in trace.rates().items() if trace.form(g) == "stable"]
    worst = max((rate for rate in rates if not math.isnan(rate)), default=0.0)
    if worst <= rules.FAST:
        return []
    least = min(values[~values.isnan()].min().item() for values in trace.get("v_mean").values())
    why = f"v̄ fell to {number(least)}, so one step of stable decay removes {worst:.0%} of a weight"
    fix = "optimizer.to_adamw()  # the decay rate stays what it is now"
    return [Finding("V-MEAN", "run", worst, rules.FAST, why, fix, "Xie et al. 2022, (11)")]


SYMPTOMS: tuple[Callable[[Trace], list[Finding]], ...] = (
    decay_done,
    l2_in_adam,
    scale,
    overwritten,
    effective_lr,
    far_from_equilibrium,
    rising_gradient,
    vanishing_second_moment,
)
"""Every rule, in the order in which the doctor speaks."""


def _ask(trace: Trace) -> str:
    lr = max((_most(values) for values in trace.get("lr").values()), default=math.nan)
    shown = "lr" if math.isnan(lr) else f"{lr:.6g}"
    steps = "steps" if len(trace.steps) < 2 else round(trace.length)
    return f'print(el.suggest(optimizer="{trace.optimizer}", lr={shown}, steps={steps}))'


def _value(values: Tensor, index: int) -> float:
    known = values[~values.isnan()]
    return known[index].item() if len(known) else math.nan


def _median(values: Tensor) -> tuple[float, float]:
    """Median, and the standard error that the median of one such value has (by the MAD)."""
    middle = values.nanmedian()
    spread = 1.4826 * (values - middle).abs().nanmedian()
    return middle.item(), 1.2533 * spread.item()  # √(π/2): a median's error over a mean's


def _most(values: Tensor) -> float:
    known = values[~values.isnan()]
    return known.max().item() if len(known) else math.nan
