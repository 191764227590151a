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
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from etalambda._common import check_nonnegative, check_positive
from etalambda.theory import budget
from etalambda.theory.shapes import Schedule, factors, weight_decay_factors


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
    def relaxation(self) -> Tensor:
        """What is left after each step of a distance from the equilibrium norm; ``(steps,)``.

        Of ‖W‖² for updates of fixed size, Π (1 - r)²; of ‖W‖⁴ for SGD, whose updates shrink as the
        weights grow, Π (1 - r)⁴. Exact while r and the equilibrium stay; the equilibrium moves with
        η/λ.
        """
        return (1 - self.rates).clamp_min(0).cumprod(0) ** self._power

    @property
    def _power(self) -> int:
        return 4 if budget.form(self.optimizer) == "momentum" else 2

    def steps_to_equilibrium(
        self, norm: float, equilibrium: float, *, tolerance: float = 0.05
    ) -> float:
        """Steps of this plan from ‖W‖ now to within ``tolerance`` of equilibrium; else infinity.

        Args:
            norm: ‖W‖ now, as ``etalambda.stats`` reports it.
            equilibrium: ‖W‖ there: ``theory.rotation.equilibrium``.
            tolerance: Of ‖W‖² (of ‖W‖⁴ for SGD), relative.

        Example:
            >>> plan = DecayBudget.of("adamw", lr=1e-2, weight_decay=0.1, steps=5000)
            >>> plan.steps_to_equilibrium(norm=2.0, equilibrium=1.0)
            2047.0
        """
        check_positive(norm=norm, equilibrium=equilibrium, tolerance=tolerance)
        far = abs((norm / equilibrium) ** self._power - 1) / tolerance
        if far <= 1:
            return 0.0
        reached = (self.relaxation * far <= 1).nonzero()
        return float(reached[0] + 1) if len(reached) else math.inf

    @property
    def dual_coefficients(self) -> Tensor:
        """c_i: what the update of each step still counts at the end; shape ``(steps,)``."""
        gain = 1 / (1 - self.momentum) if budget.form(self.optimizer) == "momentum" else 1.0
        return budget.dual_coefficients(self.lrs * gain, self.rates)

    @property
    def angular_steps(self) -> Tensor:
        """The equilibrium angle of each step in radians, shape ``(steps,)``; see `angular_step`."""
        return angular_step(self.optimizer, self.rates, momentum=self.momentum, betas=self.betas)
