"""What may be wrong with a run's weight decay, as rules on plain numbers.

The audit applies them before training, the doctor on a live run or a log. Each rule returns a
`Finding` or None; a threshold is either the edge of what published recipes do (``recipes``) or
stands beside its source. Rules say nothing about numbers they do not have (NaN).
"""

import math
from dataclasses import asdict, dataclass
from typing import Any

INERT = 0.2
EXCESS = 150.0
FAST, QUICK = 0.1, 0.05
SMALL_LR, LARGE, SMALL = 0.02, 0.05, 2e-3  # λ of AdamW is seldom below 2e-3, of AdamS above 0.05


@dataclass(frozen=True)
class Finding:
    """One thing to know about a run: what, where, against which threshold, and the way out.

    ``level`` is "warning" (change something) or "info" (know it). ``fix`` is one line to paste.

    Example:
        >>> print(Finding("INERT", "group 0", 0.05, 0.2, "K = 0.05 < 0.2", "raise λ", "K ruler"))
        INERT       group 0: K = 0.05 < 0.2
                    > raise λ  [K ruler]
    """

    code: str
    where: str
    value: float
    threshold: float
    why: str
    fix: str
    source: str
    level: str = "warning"

    def __str__(self) -> str:
        return f"{self.code:<11} {self.where}: {self.why}\n{'':11} > {self.fix}  [{self.source}]"

    def to_dict(self) -> dict[str, Any]:
        """The finding as plain values; NaN and infinity become None, as JSON wants."""
        return {key: plain(value) for key, value in asdict(self).items()}


def plain(value: Any) -> Any:
    """A value as JSON knows it: no NaN, no infinity."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def number(value: float) -> str:
    """Three significant digits, thousands grouped: for tables and sentences.

    Example:
        >>> number(0.0123456), number(123456.0), number(float("nan")), number(float("inf"))
        ('0.0123', '123,456', '?', '∞')
    """
    if math.isnan(value):
        return "?"
    if math.isinf(value):
        return "∞"
    return f"{value:,.0f}" if abs(value) >= 999.5 else f"{value:.3g}"


def inert(where: str, budget: float, fix: str) -> Finding | None:
    """INERT: the run decays less than any recipe on the ruler (GPT-3 spends 0.3).

    Example:
        >>> inert("group 0", 0.02, fix="").value, inert("group 0", 2.0, fix="")
        (0.02, None)
    """
    if not 0 < budget < INERT:
        return None
    why = (
        f"K = {number(budget)} < {INERT}: decay shrinks these weights by "
        f"{number(-100 * math.expm1(-budget))} % in the whole run"
    )
    return Finding("INERT", where, budget, INERT, why, fix, "K ruler: GPT-3 spends 0.3")


def excess(where: str, budget: float, rate: float, fix: str) -> Finding | None:
    """EXCESS: more than any recipe on the ruler, or more than a tenth of a weight in one step.

    Example:
        >>> excess("group 0", 9.0, rate=0.2, fix="").why
        'one step removes 20 % of each weight, more than 10%'
    """
    if rate > FAST:
        why = f"one step removes {number(100 * rate)} % of each weight, more than {FAST:.0%}"
        return Finding("EXCESS", where, rate, FAST, why, fix, "Lewkowycz & Gur-Ari, AutoL2 start")
    if budget > EXCESS:
        why = f"K = {number(budget)} > {number(EXCESS)}: the weights forget a step within 1/K of it"
        return Finding(
            "EXCESS", where, budget, EXCESS, why, fix, "K ruler: slowrun 109 at its peak"
        )
    return None


def groups(where: str, tensors: list[str], fix: str) -> Finding | None:
    """GROUPS: norm gains and biases that decay pulls to 0.

    Example:
        >>> groups("group 0", ["0.bias", "1.weight"], fix="").why
        '2 norm gains and biases decay: 0.bias, 1.weight'
    """
    if not tensors:
        return None
    named = ", ".join(tensors[:2]) + (", ..." if len(tensors) > 2 else "")
    why = f"{len(tensors)} norm gains and biases decay: {named}"
    return Finding("GROUPS", where, len(tensors), 0, why, fix, "practice: GPT-2, timm")


def l2_in_adam(where: str, weight_decay: float, optimizer: str, fix: str) -> Finding | None:
    """L2-IN-ADAM: λ is added to the gradient and then divided by √v.

    Example:
        >>> l2_in_adam("group 0", 0.01, "Adam", fix="").code
        'L2-IN-ADAM'
    """
    if not weight_decay > 0:
        return None
    why = (
        f"{optimizer} divides weight_decay = {number(weight_decay)} by √v: "
        "no decay rate, and least where gradients are large"
    )
    return Finding("L2-IN-ADAM", where, weight_decay, 0, why, fix, "Loshchilov & Hutter 2019")


def scale(
    where: str,
    form: str,
    weight_decay: float,
    lr: float,
    budget: float,
    fix: str,
    rate: float = math.nan,
) -> Finding | None:
    """SCALE: AdamW's λ given to AdamS or the reverse, a factor of about 1/lr.

    A large λ of AdamS is no mistake where its ``rate`` is known and below 5 % a step.

    Example:
        >>> scale("group 0", "stable", 0.5, lr=1e-3, budget=9.0, fix="weight_decay").fix
        'weight_decay = 0.0005'
    """
    if not (weight_decay > 0 and 0 < lr < SMALL_LR):
        return None
    if form == "stable" and weight_decay >= LARGE and not rate < QUICK:
        edge, ratio = LARGE, lr
        why = f"λ = {number(weight_decay)} has AdamW's scale; stable decay wants λ · lr"
    elif form == "plain" and weight_decay <= SMALL and budget < INERT:
        edge, ratio = SMALL, 1 / lr
        why = f"λ = {number(weight_decay)} has the scale of L2 or AdamS; AdamW wants λ/lr"
    else:
        return None
    fix = f"{fix} = {weight_decay * ratio:.2g}"
    return Finding("SCALE", where, weight_decay, edge, why, fix, "Xie et al. 2022, B.1")
