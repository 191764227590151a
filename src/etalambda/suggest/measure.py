"""λ = c/T, measured: a short run at a large weight decay tells when a long one would peak.

Lewkowycz & Gur-Ari 2020, sections 2 and 3. The idea: the time t* at which the test accuracy is
reached goes as c/λ, so one run at a large λ predicts λ for any length T.

    t* = the first time at which accuracy >= max - 0.005          (caption of figure 1)
    λ_pred = c/T,  c = t* λ                                       (section 3)

    paper   t*            λ             T       c            0.5 %
    code    time_to_peak  weight_decay  budget  coefficient  tolerance

The paper counts c in epochs at one lr. Here it is kept in three units at once: decay done (K, which
carries over to other lrs, momenta and batch sizes), λ · epochs and λ · steps.

Departures from the paper: "within 0.5 %" is read as an absolute half percent, ``mode="rel"`` is the
other reading; c measured at a large λ is about half of c at a small one (figure S4), so a
`Coefficient` is a range from c to 2c and never one number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from etalambda._common import check_nonnegative, check_positive, unknown
from etalambda.theory.plan import DecayBudget

PASSED = 0.8  # the last fifth of the run has to bring neither the peak nor a better one


def time_to_peak(
    times: Sequence[float] | Tensor,
    accuracy: Sequence[float] | Tensor,
    tolerance: float = 0.005,
    mode: str = "abs",
) -> float:
    """t*: the first time at which the accuracy is within ``tolerance`` of its maximum.

    Args:
        times: Increasing, in any unit; shape (n,).
        accuracy: In [0, 1]; shape (n,).
        tolerance: 0.005 is the paper's half percent.
        mode: "abs" for max - tolerance, "rel" for (1 - tolerance) max.

    Raises:
        ValueError: If the lengths differ, are 0, an entry is not finite or the mode is unknown.

    Example:
        >>> time_to_peak([1, 2, 3, 4], [0.5, 0.896, 0.9, 0.7])
        2.0
    """
    if mode not in ("abs", "rel"):
        raise unknown("mode", mode, ("abs", "rel"))
    check_nonnegative(tolerance=tolerance)
    t, a = (torch.as_tensor(x, dtype=torch.float64).flatten() for x in (times, accuracy))
    if len(t) != len(a) or not len(t):
        raise ValueError(f"times and accuracy need the same length above 0, got {len(t)}, {len(a)}")
    if not (torch.isfinite(t).all() and torch.isfinite(a).all()):
        raise ValueError("times and accuracy must be finite; drop the evaluations that failed")
    if (t[1:] <= t[:-1]).any():
        raise ValueError("times must increase")
    best = a.max()
    bar = best - tolerance if mode == "abs" else best * (1 - tolerance)
    return t[torch.where(a >= bar)[0][0]].item()


def weight_decay_for(coefficient: float, budget: float, first_decay: float | None = None) -> float:
    """λ = c/T, or c/(first_decay · T) when the lr first drops at that share of the run.

    Args:
        coefficient: c in the unit of ``budget`` times λ, such as epochs.
        budget: T, the length of the run.
        first_decay: In (0, 1]: 0.3 in the paper's schedule.

    Example:
        >>> weight_decay_for(0.0065625, 200, first_decay=0.3)
        0.000109375
    """
    share = 1.0 if first_decay is None else first_decay
    check_positive(coefficient=coefficient, budget=budget, first_decay=share)
    if share > 1:
        raise ValueError(f"first_decay is a share of the run in (0, 1], got {share}")
    return coefficient / (share * budget)


@dataclass(frozen=True)
class Coefficient:
    """c in three units, measured at one large λ; the c of a small λ lies between c and 2c.

    Attributes:
        decay_done: K at t*: the unit for `etalambda.suggest`'s ``coefficient``.
        epochs: λ t* with t* in epochs, the paper's unit; NaN without ``steps_per_epoch``.
        steps: λ t* with t* in steps.
        time: t* in steps.
        weight_decay: The λ that it was measured at.

    Example:
        >>> c = Coefficient(decay_done=3.0, epochs=0.3, steps=3.0, time=30, weight_decay=0.1)
        >>> c.range("epochs")
        (0.3, 0.6)
    """

    decay_done: float
    epochs: float
    steps: float
    time: float
    weight_decay: float

    def range(self, unit: str = "decay_done") -> tuple[float, float]:
        """(c, 2c) in a unit: "decay_done", "epochs" or "steps"."""
        if unit not in ("decay_done", "epochs", "steps"):
            raise unknown("unit", unit, ("decay_done", "epochs", "steps"))
        return getattr(self, unit), 2 * getattr(self, unit)


def measure_coefficient(
    train: Callable[[float], Iterable[tuple[float, float]]],
    *,
    lr: float,
    weight_decay: float,
    optimizer: str = "sgd",
    momentum: float = 0.0,
    steps_per_epoch: float | None = None,
    tolerance: float = 0.005,
    mode: str = "abs",
) -> Coefficient:
    """Run ``train`` once at a large λ and return c with its units.

    Args:
        train: ``train(weight_decay)`` trains at a constant lr and yields (step, test accuracy).
        lr: Its lr.
        weight_decay: Large, so that the peak comes early: 0.01 in the paper (SGD, lr 0.2).
        optimizer: Its name, for the decay rate.
        momentum: Of SGD.
        steps_per_epoch: To give c in epochs too.
        tolerance, mode: See `time_to_peak`.

    Raises:
        ValueError: If the peak came in the last fifth of the run, or the accuracy still rose there
            by more than half the tolerance: then it may lie beyond the run.

    Example:
        >>> def train(weight_decay):  # accuracy peaks after 3/(lr λ) steps, then falls
        ...     for step in range(1, 101):
        ...         yield step, 1 - abs(step - 30) / 100
        >>> c = measure_coefficient(train, lr=1.0, weight_decay=0.1)
        >>> round(c.decay_done, 2), c.range("steps")
        (3.0, (3.0, 6.0))
    """
    check_positive(lr=lr, weight_decay=weight_decay, steps_per_epoch=steps_per_epoch or 1.0)
    seen = [(float(step), float(accuracy)) for step, accuracy in train(weight_decay)]
    steps, accuracies = [step for step, _ in seen], [accuracy for _, accuracy in seen]
    peak = time_to_peak(steps, accuracies, tolerance, mode)
    early = [accuracy for step, accuracy in seen if step <= PASSED * steps[-1]]
    rose = max(accuracies) - max(early, default=0.0)
    if peak > PASSED * steps[-1] or rose > tolerance / 2:
        raise ValueError(
            f"the accuracy was still rising at the end (t* = {peak:g} of {steps[-1]:g} steps, "
            f"+{rose:.2g} in the last fifth), so the peak may lie beyond: train longer, or take "
            "a larger weight_decay"
        )
    done = DecayBudget.of(
        optimizer, lr=lr, weight_decay=weight_decay, steps=max(round(peak), 1), momentum=momentum
    )
    epochs = weight_decay * peak / steps_per_epoch if steps_per_epoch else float("nan")
    return Coefficient(done.total, epochs, weight_decay * peak, peak, weight_decay)


class Scaled(NamedTuple):
    """Hyperparameters for another batch size."""

    lr: float
    weight_decay: float


def scale_with_batch(
    lr: float, weight_decay: float, batch_mult: float, *, rule: str = "weight_decay"
) -> Scaled:
    """lr and λ for a batch ``batch_mult`` times larger at the same number of epochs.

    Each rule keeps K = Σ ηλ of the run, because there are ``batch_mult`` times fewer steps. Apply
    one of them, never two. K alone does not carry a run over: on small digits "lr" did for SGD and
    "sqrt" for AdamW, from a quarter to four times the batch, within half a point of tuning; at 15
    times, the full batch, none did, and the lr wants tuning anew (Part II, E10).

    Args:
        lr: η at the present batch size.
        weight_decay: λ at the present batch size.
        batch_mult: New batch size over the present one.
        rule: "weight_decay": λ × k (Xie et al. 2022, Rule 2; Power Lines finds the same below the
            critical batch size). "lr": η × k (Rule 1, the linear scaling rule of SGD). "sqrt": both
            by √k (Adam; nanochat).

    Example:
        >>> scale_with_batch(1e-3, 1e-4, 128)
        Scaled(lr=0.001, weight_decay=0.0128)
        >>> scale_with_batch(0.1, 5e-4, 4, rule="lr")
        Scaled(lr=0.4, weight_decay=0.0005)
    """
    check_nonnegative(lr=lr, weight_decay=weight_decay)
    check_positive(batch_mult=batch_mult)
    powers = {"weight_decay": (0.0, 1.0), "lr": (1.0, 0.0), "sqrt": (0.5, 0.5)}
    if rule not in powers:
        raise unknown("rule", rule, powers)
    for_lr, for_decay = powers[rule]
    return Scaled(lr * batch_mult**for_lr, weight_decay * batch_mult**for_decay)
