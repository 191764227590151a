"""Has the norm reached its equilibrium? A verdict from a recorded series, with its error bar.

Li, Lyu & Arora 2020, section 5: under SGD with weight decay the norm of scale-invariant weights
relaxes to the value where growth by noise balances decay, at the rate 4ηλ for γ = (‖W‖²/η)². The
idea: look back over a stretch in which K = Σ ηλ has grown by `WINDOW` (two e-folds of γ), and ask
for two things at once,

    drift     the trend of ln ‖W‖² over that stretch is below the tolerance, error bar included;
    balance   ρ = ‖u‖² / (2 r ‖W‖²) is 1, where u = η g/(1 - μ) and r = ηλ/(1 - μ)   (LLA-X0m)

Balance tells the equilibrium of a normalised network from any other standstill: without scale
invariance the radial part of the gradient carries the norm, and ρ is not 1.

Departures from the paper: it has no detector. Noise in the norm is correlated over 1/(2ηλ) steps,
so the trend is fitted to the means of `BLOCKS` blocks, not to single samples.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from etalambda._common import check_positive

WINDOW = 0.5
BLOCKS = 8
# Student's t, 97.5 %, BLOCKS - 2 degrees of freedom: a two-sided 95 % interval of the slope.
T_QUANTILE = 2.447


@dataclass(frozen=True)
class Equilibrium:
    """The verdict at the end of a series.

    Attributes:
        reached: Drift and balance (if known) both hold.
        drift: Change of ln ‖W‖² over the window, by the fitted trend.
        drift_error: Half width of its 95 % interval.
        balance: Mean ρ over the window; NaN without ``updates``.
        samples: Length of the window; 0 if the run is too short for one.
        reason: What the verdict rests on, in words.

    Example:
        >>> found = equilibrium([2.0] * 4000, 1e-3)
        >>> found.reached, abs(round(found.drift, 6))
        (True, 0.0)
    """

    reached: bool
    drift: float
    drift_error: float
    balance: float
    samples: int
    reason: str


def equilibrium(
    norms: Sequence[float] | Tensor,
    rates: Sequence[float] | Tensor | float,
    updates: Sequence[float] | Tensor | None = None,
    *,
    every: int = 1,
    tolerance: float = 0.1,
    balance_tolerance: float = 0.3,
) -> Equilibrium:
    """Whether the weights of a group were in norm equilibrium at the end of a recorded series.

    Args:
        norms: ‖W‖ at equally spaced steps, such as ``norm/0`` of a `Monitor`.
        rates: r, the intrinsic lr of a step, at the same steps or one number.
        updates: ‖η g/(1 - μ)‖ at the same steps; None leaves the balance unchecked.
        every: Optimizer steps between two samples.
        tolerance: Largest drift of ln ‖W‖² over the window, error bar included.
        balance_tolerance: Largest distance of ln ρ from 0.

    Raises:
        ValueError: If lengths differ, or a norm is not finite and positive.

    Example:
        >>> equilibrium([2.0] * 4000, 1e-3).reached
        True
        >>> equilibrium([2.0] * 100, 1e-3).reason
        'too early: K grew by 0.1 in the series, a verdict needs 0.5'
    """
    check_positive(every=every, tolerance=tolerance, balance_tolerance=balance_tolerance)
    size = torch.as_tensor(norms, dtype=torch.float64)
    rate = torch.as_tensor(rates, dtype=torch.float64).expand(len(size))
    if not (torch.isfinite(size) & (size > 0)).all():
        raise ValueError("norms must be finite and positive; drop the steps where they are not")
    spent = (rate * every).flip(0).cumsum(0)
    window = int((spent < WINDOW).sum()) + 1
    if len(size) == 0 or window > len(size) or window < 2 * BLOCKS:
        return _too_early(spent, window, len(size))
    drift, error = _drift(2 * size[-window:].log())
    steady = abs(drift) + error < tolerance
    balance = math.nan
    if updates is not None:
        u = torch.as_tensor(updates, dtype=torch.float64)
        if len(u) != len(size):
            raise ValueError(f"updates must be as long as norms, got {len(u)} and {len(size)}")
        balance = float((u.square() / (2 * rate * size.square()))[-window:].mean())
    balanced = updates is None or (balance > 0 and abs(math.log(balance)) < balance_tolerance)
    reason = _reason(steady, balanced, drift, error, balance)
    return Equilibrium(steady and balanced, drift, error, balance, window, reason)


def _too_early(spent: Tensor, window: int, length: int) -> Equilibrium:
    grown = float(spent[-1]) if length else 0.0
    if window <= length:
        reason = f"too coarse: {window} samples in the window, a verdict needs {2 * BLOCKS}"
    else:
        reason = f"too early: K grew by {grown:.2g} in the series, a verdict needs {WINDOW}"
    return Equilibrium(False, math.nan, math.nan, math.nan, 0, reason)


def _drift(logs: Tensor) -> tuple[float, float]:
    """Trend of a series over its whole length, and the half width of its 95 % interval."""
    per_block = len(logs) // BLOCKS
    means = logs[-per_block * BLOCKS :].reshape(BLOCKS, per_block).mean(1)
    x = torch.arange(BLOCKS, dtype=torch.float64) - (BLOCKS - 1) / 2
    slope = (x * means).sum() / x.square().sum()
    residuals = means - means.mean() - slope * x
    error = (residuals.square().sum() / (BLOCKS - 2) / x.square().sum()).sqrt()
    return float(slope) * BLOCKS, float(error) * BLOCKS * T_QUANTILE


def _reason(steady: bool, balanced: bool, drift: float, error: float, balance: float) -> str:
    trend = f"ln ‖W‖² moved by {drift:+.3f} ± {error:.3f} while K grew by {WINDOW}"
    if not steady:
        return f"not steady: {trend}"
    if not balanced:
        return f"steady but not balanced: ρ = {balance:.2g}; the gradient's radial part moves ‖W‖"
    return f"steady: {trend}" + ("" if math.isnan(balance) else f", balanced: ρ = {balance:.2f}")
