"""A plan's decay budget: K, τ, dual coefficients and equilibrium, before anything is trained.

The formulas are those of `budget`; this module lays them along a plan (lr schedule x λ schedule x
optimizer x steps) and adds what the weights do once growth and decay balance.

Sources: Li, Lyu & Arora 2020, section 5 (equilibrium of scale-invariant weights); Kosson et al.
2024, tables 1 and 2 (the angle of a step in equilibrium); the Muon row is derived here, for torch's
Nesterov form: as Lion's, with the factor a = ⟨O(M), M⟩/(‖O‖ ‖M‖) of the orthogonalization O in
place of the sign's √(2/π). a is 8/(3π) for a square Gaussian M and up to 1 for a very flat one.

    SGD    √(2ηλ/(1 + μ))                 AdamW, AdamS   √(2r (1 - β1)/(1 + β1))
    Lion   √(π/2) √(2ηλ) s(β1, β2)        Muon           √(2ηλ) s(μ², μ)/a
    s(b, β)² = (1 - b)² + b² (1 - β)/(1 + β)

Departures from the paper: none in the rows that it has.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from etalambda._common import check_nonnegative, check_positive, unknown
from etalambda.theory import budget

Schedule = str | Sequence[float] | Tensor | Callable[[int], float]
SHAPES: dict[str, Callable[[Tensor], Tensor]] = {
    "constant": torch.ones_like,
    "linear": lambda share: 1 - share,
    "cosine": lambda share: (1 + torch.cos(math.pi * share)) / 2,
}
COUPLINGS: dict[str, Callable[[Tensor], Tensor]] = {
    "constant": torch.ones_like,
    "matched": lambda lr_factors: lr_factors,
    "constant_product": lambda lr_factors: 1 / lr_factors,
}


def factors(schedule: Schedule, steps: int) -> Tensor:
    """The factors of a schedule at steps 0 ... steps - 1, float64.

    Args:
        schedule: "constant", "linear" (to 0), "cosine" (to 0), at least ``steps`` numbers, or a
            callable ``step -> factor``, such as the rules of ``etalambda.schedule``.
        steps: Length of the run.

    Raises:
        ValueError: If ``steps`` is not a positive integer, the name is unknown, there are fewer
            than ``steps`` factors, or one is negative or not finite.

    Example:
        >>> factors("linear", 4)
        tensor([1.0000, 0.7500, 0.5000, 0.2500], dtype=torch.float64)
        >>> factors(lambda step: 1 / (1 + step), 2)
        tensor([1.0000, 0.5000], dtype=torch.float64)
    """
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
        raise ValueError(f"steps must be a positive whole number, got {steps!r}")
    if isinstance(schedule, str):
        if schedule not in SHAPES:
            raise unknown("schedule", schedule, SHAPES)
        return SHAPES[schedule](torch.arange(steps, dtype=torch.float64) / steps)
    numbers: Any = schedule
    if callable(schedule):
        numbers = [schedule(step) for step in range(steps)]
    found = torch.as_tensor(numbers, dtype=torch.float64).flatten()
    if len(found) < steps:
        raise ValueError(
            f"the schedule has {len(found)} factors for steps={steps}; "
            "give one a step, or a callable step -> factor"
        )
    found = found[:steps]
    bad = ~(torch.isfinite(found) & (found >= 0))
    if bad.any():
        step = int(bad.nonzero()[0])
        raise ValueError(f"the schedule's factor at step {step} is {found[step].item()}")
    return found


def weight_decay_factors(schedule: Schedule, lr_factors: Tensor) -> Tensor:
    """The factors of λ: a shape of `factors`, or a coupling to the lr ("matched", ...).

    "matched" is η/η_max, "constant_product" its inverse (0 where the lr is 0, where λ has no
    effect).

    Example:
        >>> weight_decay_factors("matched", torch.tensor([1.0, 0.5]))
        tensor([1.0000, 0.5000])
    """
    if isinstance(schedule, str) and schedule in COUPLINGS:
        found = COUPLINGS[schedule](lr_factors)
        return torch.where(lr_factors > 0, found, 0.0)
    if isinstance(schedule, str) and schedule not in SHAPES:
        raise unknown("weight decay schedule", schedule, {**SHAPES, **COUPLINGS})
    return factors(schedule, len(lr_factors))


def angular_step(
    optimizer: str,
    rate: budget.ArrayLike,
    *,
    momentum: float = 0.0,
    betas: Iterable[float] = (0.9, 0.999),
    alignment: float = 8 / (3 * math.pi),
) -> Tensor:
    """The angle in radians by which one step turns a weight matrix in rotational equilibrium.

    Args:
        optimizer: "sgd", "adamw", "adams", "lion", "muon" or another Adam with decoupled decay.
        rate: r, as `budget.decay_rates` gives it (with SGD's momentum gain).
        momentum: μ of SGD and Muon.
        betas: β1, β2 of the others.
        alignment: a of Muon; 8/(3π) for square matrices.

    Returns:
        float64, the shape of ``rate``; NaN for an optimizer without a formula.

    Example:
        >>> round(angular_step("sgd", 5e-4, momentum=0.9).item(), 5)  # √(2 · 5e-5/1.9)
        0.00725
    """
    r, (beta1, beta2) = torch.as_tensor(rate, dtype=torch.float64), betas
    name, form = optimizer.lower(), budget.form(optimizer, decoupled=True)

    def spread(b1: float, b2: float) -> float:
        return (1 - b1) ** 2 + b1**2 * (1 - b2) / (1 + b2)

    if name == "sgd":
        return (2 * r * (1 - momentum) / (1 + momentum)).sqrt()
    if name == "lion":
        return (math.pi * r * spread(beta1, beta2)).sqrt()
    if name == "muon":
        return (2 * r * spread(momentum**2, momentum)).sqrt() / alignment
    if form == "stable" or (form == "plain" and "ada" in name and name != "adafactor"):
        return (2 * r * (1 - beta1) / (1 + beta1)).sqrt()
    return torch.full_like(r, math.nan)


def steps_to_equilibrium(
    start: budget.ArrayLike,
    end: budget.ArrayLike,
    rate: budget.ArrayLike,
    *,
    tolerance: float = 0.05,
) -> Tensor:
    """Steps until ‖W‖² is within ``tolerance`` of its equilibrium, for updates of fixed size.

    That is every optimizer that normalizes its update (AdamW, Lion, Muon): one step takes ‖W‖² to
    (1 - r)² ‖W‖² + s, so the distance to the equilibrium shrinks by exactly (1 - r)². For SGD see
    ``norm_dynamics.time_to_equilibrium``, whose γ moves twice as fast.

    Args:
        start: ‖W‖² now.
        end: ‖W‖² in equilibrium, s/(2r - r²).
        rate: r in (0, 1).
        tolerance: δ, relative.

    Returns:
        float64; 0 where the start is inside already, infinite at r = 0.

    Example:
        >>> round(steps_to_equilibrium(4.0, 1.0, 1e-3).item())
        2046
    """
    check_positive(tolerance=tolerance)
    start, end, rate = (torch.as_tensor(x, dtype=torch.float64) for x in (start, end, rate))
    steps = torch.log((start - end).abs() / (tolerance * end)) / (-2 * torch.log1p(-rate))
    return torch.where(rate > 0, steps.clamp_min(0), math.inf)


@dataclass(frozen=True)
class DecayBudget:
    """The decay that a plan spends: numbers and arrays over its steps.

    Attributes:
        lrs: η_t, float64 of shape ``(steps,)``.
        weight_decays: λ_t, likewise.
        rates: r_t = η_t λ_t · gain, likewise.
        optimizer: Its name.
        momentum, betas: As the optimizer has them.

    Example:
        >>> plan = DecayBudget.of("adamw", lr=1e-3, weight_decay=0.1, steps=20_000,
        ...                       lr_schedule="cosine")
        >>> round(plan.total, 3), plan.peak, round(plan.tau), round(plan.shrink, 2)
        (1.0, 2.0, 10000, 0.63)
    """

    lrs: Tensor
    weight_decays: Tensor
    rates: Tensor
    optimizer: str = "adamw"
    momentum: float = 0.0
    betas: tuple[float, float] = (0.9, 0.999)

    @classmethod
    def of(
        cls,
        optimizer: str,
        *,
        lr: float,
        weight_decay: float,
        steps: int,
        lr_schedule: Schedule = "constant",
        weight_decay_schedule: Schedule = "constant",
        momentum: float = 0.0,
        dampening: float = 0.0,
        betas: tuple[float, float] = (0.9, 0.999),
        v_mean: float | None = None,
    ) -> DecayBudget:
        """The plan with peak values ``lr`` and ``weight_decay``; see `factors` for schedules."""
        check_nonnegative(lr=lr, weight_decay=weight_decay)
        lr_factors = factors(lr_schedule, steps)
        lrs = lr * lr_factors
        decays = weight_decay * weight_decay_factors(weight_decay_schedule, lr_factors)
        rates = budget.decay_rates(
            lrs, decays, optimizer, momentum=momentum, dampening=dampening, v_mean=v_mean
        )
        return cls(lrs, decays, rates, optimizer, momentum, betas)

    @property
    def steps(self) -> int:
        """T."""
        return len(self.rates)

    @property
    def total(self) -> float:
        """K = Σ r_t."""
        return self.rates.sum().item()

    @property
    def cumulative(self) -> Tensor:
        """K spent after each step, shape ``(steps,)``."""
        return self.rates.cumsum(0)

    def step_at(self, total: float) -> float:
        """The first step after which K reaches ``total``; infinite if the plan never spends it."""
        reached = torch.searchsorted(self.cumulative, total * (1 - 1e-12))
        return float(reached + 1) if reached < self.steps else math.inf

    @property
    def peak(self) -> float:
        """K had the rate stayed at its maximum: the number that most papers' rules speak of."""
        return self.rates.max().item() * self.steps

    @property
    def tau(self) -> float:
        """τ in steps, at the maximal rate."""
        rate = self.rates.max().item()
        return 1 / rate if rate else math.inf

    def tau_in(self, step: float) -> float:
        """τ in another unit: ``step`` is one step's worth of it, 1/steps_per_epoch or tokens."""
        return self.tau * step

    @property
    def tau_share(self) -> float:
        """τ/T: how much of the run the weights remember."""
        return self.tau / self.steps

    @property
    def shrink(self) -> float:
        """1 - Π (1 - r_t): the share of the starting weights that decay alone removes."""
        return budget.shrink(self.rates).item()

    @property
    def dual_coefficients(self) -> Tensor:
        """c_i: what the update of each step still counts at the end; shape ``(steps,)``."""
        gain = 1 / (1 - self.momentum) if budget.form(self.optimizer) == "momentum" else 1.0
        return budget.dual_coefficients(self.lrs * gain, self.rates)

    @property
    def angular_steps(self) -> Tensor:
        """The equilibrium angle of each step in radians, shape ``(steps,)``; see `angular_step`."""
        return angular_step(self.optimizer, self.rates, momentum=self.momentum, betas=self.betas)
