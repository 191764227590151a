"""The two-phase plan: equilibrium at the smallest intrinsic lr that the run allows, then cool.

Li, Lyu & Arora 2020, sections 5 and 6.2 and appendix E. The idea: a smaller ηλ generalizes better
but takes O(1/ηλ) steps to reach its equilibrium; so take the smallest that fits and end with lr/10
and no decay until the loss is gone. From weights far too large, a K times larger lr at first gets
there sooner; from small weights it is a detour, and the plan's two times say which it is.

    t = ln(|γ_0 - γ_∞|/(δ γ_∞))/(4 λ_e)            time to equilibrium               (12)
    K η until equilibrium, then η                                                    (15)

    paper   λ_e = ηλ      K          γ       σ²     δ
    code    intrinsic_lr  lr_factor  gamma0  noise  tolerance

Departures from the paper: it gives orders of magnitude, the times here are the closed forms of
``theory.norm_dynamics``; momentum enters as lr η/(1 - μ).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from etalambda._common import check_positive
from etalambda.theory import norm_dynamics


@dataclass(frozen=True)
class TwoPhasePlan:
    """What to run: phase one with ``weight_decay`` for ``switch`` of the run, then lr/10 and λ = 0.

    Attributes:
        intrinsic_lr: The smallest λ_e whose equilibrium is reached before the switch.
        weight_decay: λ for SGD at the given lr and momentum.
        time: Steps to equilibrium at a constant lr.
        time_with_large_start: The same with an lr ``lr_factor`` times larger at first.
        switch: Share of the run at which the second phase begins.
        steps: Of the whole run.

    Example:
        >>> plan = two_phase_plan(lr=0.1, steps=10_000, gamma0=1e10)
        >>> round(plan.weight_decay, 3), plan.switch
        (0.005, 0.9)
    """

    intrinsic_lr: float
    weight_decay: float
    time: float
    time_with_large_start: float
    lr_factor: float
    switch: float
    steps: int

    def __str__(self) -> str:
        first = round(self.switch * self.steps)
        return (
            f"weight_decay ≈ {self.weight_decay:.1g} (ηλ = {self.intrinsic_lr:.1g}) for {first} "
            f"steps: in equilibrium after {self.time:.0f} ({self.time_with_large_start:.0f} with "
            f"an lr {self.lr_factor:g} times larger at first); then lr/10 and no decay for "
            f"{self.steps - first} steps"
        )


def two_phase_plan(
    *,
    lr: float,
    steps: int,
    momentum: float = 0.0,
    gamma0: float = 0.0,
    noise: float = 1.0,
    switch: float = 0.9,
    lr_factor: float = 10.0,
    tolerance: float = 0.05,
) -> TwoPhasePlan:
    """The smallest ηλ whose equilibrium a run can reach, and how to run it.

    Args:
        lr: η of phase one.
        steps: Of the whole run.
        momentum: Of SGD.
        gamma0: (‖W_0‖²/η)² of the scale-invariant weights now, with η/(1 - momentum) as lr. The
            default, 0, is a start far below equilibrium.
        noise: σ² at unit norm; matters only with ``gamma0``.
        switch: Share of the run for phase one.
        lr_factor: K of eq. (15).
        tolerance: δ, how near counts as equilibrium.

    Raises:
        ValueError: If a number is out of range.

    Example:
        >>> print(two_phase_plan(lr=0.1, steps=10_000, gamma0=1e10))
        weight_decay ≈ 0.005 (ηλ = 0.0005) for 9000 steps: in equilibrium after 9000 (3254 ...
    """
    check_positive(lr=lr, steps=steps, noise=noise, lr_factor=lr_factor, tolerance=tolerance)
    if not 0 < switch <= 1:
        raise ValueError(f"switch is a share of the run in (0, 1], got {switch}")
    if not 0 <= momentum < 1:
        raise ValueError(f"momentum must lie in [0, 1), got {momentum}")
    rate = _smallest_rate(switch * steps, gamma0, noise, tolerance)
    plain, large = norm_dynamics.time_with_large_start(
        gamma0, rate, noise, [1.0, lr_factor], tolerance
    ).tolist()
    return TwoPhasePlan(rate, rate * (1 - momentum) / lr, plain, large, lr_factor, switch, steps)


def _smallest_rate(allowed: float, gamma0: float, noise: float, tolerance: float) -> float:
    """Walk down from ηλ = 0.1 until the equilibrium no longer fits; then bisect."""
    rates = torch.logspace(-1, -12, 1101, dtype=torch.float64)
    late = norm_dynamics.time_to_equilibrium(gamma0, rates, noise, tolerance) > allowed
    if late[0]:
        raise ValueError(f"no equilibrium within {allowed:g} steps even at ηλ = 0.1; run longer")
    if not late.any():
        return rates[-1].item()
    first = int(torch.where(late)[0][0])
    fits, fails = math.log(rates[first - 1].item()), math.log(rates[first].item())
    for _ in range(60):
        middle = (fits + fails) / 2
        time = norm_dynamics.time_to_equilibrium(gamma0, math.exp(middle), noise, tolerance)
        fits, fails = (middle, fails) if time.item() <= allowed else (fits, middle)
    return math.exp(fits)
