"""What the rules for λ are asked about: a planned run, and the reason when a rule is silent."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from etalambda.theory import budget


class NotApplicable(ValueError):
    """This rule has nothing to say about the plan; the message says why."""


@dataclass(frozen=True)
class Plan:
    """What is known about a run before it starts. Unknown numbers are None.

    ``batch_size``, ``dataset_size`` count the same thing: tokens for language models, samples
    otherwise. ``lr_factors`` and ``decay_factors`` have one entry a step. ``gain`` is that of
    `etalambda.theory.budget.gain`.
    """

    optimizer: str
    lr: float
    steps: int
    lr_factors: Tensor = field(repr=False)
    decay_factors: Tensor = field(repr=False)
    gain: float = 1.0
    batch_size: float | None = None
    dataset_size: float | None = None
    parameters: float | None = None
    reference: Mapping[str, Any] | None = None
    coefficient: float | None = None

    @classmethod
    def steady(cls, optimizer: str, lr: float, steps: int, **known: Any) -> Plan:
        """A plan at constant lr and λ.

        Example:
            >>> plan = Plan.steady("adamw", lr=1e-3, steps=1000, batch_size=5, dataset_size=100)
            >>> plan.passes, round(plan.at_budget(2.0), 9)
            (50.0, 2.0)
        """
        ones = torch.ones(steps, dtype=torch.float64)
        return cls(optimizer, lr, steps, ones, ones, **known)

    @property
    def passes(self) -> float | None:
        """How often the run sees its data."""
        if self.batch_size is None or self.dataset_size is None:
            return None
        return self.steps * self.batch_size / self.dataset_size

    @property
    def tokens_per_parameter(self) -> float | None:
        """Data seen per parameter, repeats included."""
        if self.batch_size is None or self.parameters is None:
            return None
        return self.steps * self.batch_size / self.parameters

    def at_budget(self, total: float) -> float:
        """λ₀ such that Σ m_t η_t λ₀ · gain = ``total`` over the whole run."""
        spent = (self.lr_factors * self.decay_factors).sum().item() * self.lr * self._gain()
        return total / spent

    def at_rate(self, rate: float) -> float:
        """λ₀ such that a step at the peak lr decays by ``rate``."""
        return rate / (self.lr * self.lr_factors.max().item() * self._gain())

    def at_peak_budget(self, total: float) -> float:
        """λ₀ such that the rate at the peak, kept for the whole run, would spend ``total``."""
        return self.at_rate(total / self.steps)

    def need(self, *names: str) -> None:
        """Raise `NotApplicable` for what this rule must know and does not."""
        missing = [name for name in names if getattr(self, name) is None]
        if missing:
            raise NotApplicable(f"needs {' and '.join(missing)}")

    def _gain(self) -> float:
        if math.isnan(self.gain):
            form = budget.form(self.optimizer)
            raise NotApplicable(
                "needs v_mean, the mean squared gradient of a short run"
                if form == "stable"
                else "L2 inside an adaptive optimizer has no decay rate; use its decoupled form"
            )
        return self.gain
