"""What `suggest` answers: one weight decay, every rule beside it, and how far they lie apart."""

import math
from dataclasses import dataclass
from typing import Any

from etalambda.suggest.findings import number, plain
from etalambda.theory.plan import DecayBudget


@dataclass(frozen=True)
class Prediction:
    """What one rule says: λ, the K it would spend, or why it has nothing to say.

    ``low`` is the lower end of a rule that is a range, such as c/T, and ``weight_decay`` otherwise.

    Example:
        >>> from etalambda.suggest import suggest
        >>> plan = dict(lr=1e-3, steps=10_000, batch_size=128, dataset_size=50_000)
        >>> found = suggest(optimizer="adamw", **plan)
        >>> [p.name for p in found.predictions][1:3]
        ['decay_budget', 'ema_timescale']
    """

    name: str
    weight_decay: float
    budget: float
    reason: str
    source: str
    low: float


_CAVEAT = "a choice, not a law: no rule has passed the test of docs/suggest.md yet"


@dataclass(frozen=True)
class Suggestion:
    """A weight decay for a plan, with all that the rules disagree about.

    Attributes:
        weight_decay: λ₀ of the rule in ``chosen``, for torch's ``weight_decay``. It is good to
            the ``spread`` and no better.
        chosen: The rule's name and why this one.
        predictions: Every rule, also those that do not apply (NaN, with the reason).
        schedule, lr_schedule: Their names, "as given" for numbers and callables.
        plan: The `DecayBudget` that λ₀ gives: K, τ, dual coefficients, angles.
        warnings: What to be careful about.

    Example:
        >>> from etalambda.suggest import suggest
        >>> plan = dict(lr=1e-3, steps=10_000, batch_size=128, dataset_size=50_000)
        >>> found = suggest(optimizer="adamw", **plan)
        >>> found.spread[0] <= found.weight_decay <= found.spread[1]
        True
    """

    optimizer: str
    lr: float
    weight_decay: float
    chosen: str
    why: str
    predictions: tuple[Prediction, ...]
    plan: DecayBudget
    schedule: str
    lr_schedule: str
    warnings: tuple[str, ...]

    @property
    def spread(self) -> tuple[float, float]:
        """The smallest and the largest λ of the rules that apply."""
        found = [p for p in self.predictions if math.isfinite(p.weight_decay)]
        return min(p.low for p in found), max(p.weight_decay for p in found)

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain values for JSON; NaN and infinity are None."""
        rules = [{k: plain(v) for k, v in vars(p).items()} for p in self.predictions]
        return dict(
            optimizer=self.optimizer,
            lr=self.lr,
            steps=self.plan.steps,
            weight_decay=self.weight_decay,
            lr_schedule=self.lr_schedule,
            weight_decay_schedule=self.schedule,
            chosen=self.chosen,
            why=self.why,
            spread=list(self.spread),
            budget=plain(self.plan.total),
            tau=plain(self.plan.tau),
            tau_share=plain(self.plan.tau_share),
            angular_step=plain(self.plan.angular_steps.max().item()),
            predictions=rules,
            warnings=list(self.warnings),
        )

    def export(self, tool: str) -> str:
        """The flags or config for another tool; see `etalambda.suggest.export`."""
        from etalambda.suggest.export import export

        return export(self, tool)

    def __str__(self) -> str:
        low, high = self.spread
        among = f", rules say {low:.1g} to {high:.1g}" if high > low else ""
        head = f"weight_decay ≈ {self.weight_decay:.1g}{among} ({self.optimizer}, lr {self.lr:g})"
        facts = (
            f"K = {number(self.plan.total)}, τ = {number(self.plan.tau)} steps "
            f"= {number(self.plan.tau_share)} of the run, schedule {self.schedule}"
        )
        lines = [head, facts, f"taken: {self.chosen}: {self.why}", _CAVEAT, ""]
        lines += [f"  {'rule':<18} {'weight decay':>16} {'K':>8}  source"]
        for p in self.predictions:
            if math.isnan(p.weight_decay):
                lines.append(f"  {p.name:<18} {'-':>16} {'-':>8}  {p.reason}")
            else:
                value = f"{p.weight_decay:.2g}"
                if p.low < p.weight_decay:
                    value = f"{p.low:.2g} to {value}"
                lines.append(f"  {p.name:<18} {value:>16} {number(p.budget):>8}  {p.source}")
        return "\n".join([*lines, *(f"! {warning}" for warning in self.warnings)])
