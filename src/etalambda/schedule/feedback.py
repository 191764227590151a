"""Matched annealing: weight decay in proportion to the loss that is left.

Richemond & Guo 2019, *Combining learning rate decay and weight decay with complexity gradient
descent, Part I*: Algorithm 1, from dε/ε = dλ/λ (17).

    λ_i = λ₀ S_K(r)_i,   r_i = (L(i) - L_ref) / (L(0) - L_ref)

    paper   λ₀             K        S_K         L_ref (not in the paper)
    code    weight_decay   memory   smoothing   reference

Called after each optimizer step with that step's loss, the first loss is L(0) and λ_0 = λ_1 = λ₀.

The paper hopes that smoothing removes an additive constant in the loss; linear smoothing cannot,
(L₀ S + c)/(L₀ + c). What can: ``reference`` (the loss at the bottom, or L_c: the loss where the
last negative curvature goes, `theory` computes it), ``variant="increment"`` (r = |ΔL_i|/|ΔL_1|)
and ``variant="aitken"`` (the reference is the limit that Aitken's Δ² extrapolates from the last
three losses, at most the smallest loss so far).

A loss that has gone to zero takes its decay with it: on a task that is fitted long before it is
learned, the literal rule switches decay off too early.

Departures from the paper: r below 0 counts as 0; the span of the exponential mean is K + 1,
a = 2/(K + 2), so that K = 0 smooths nothing; the reference increment is the first that is not 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Any, Literal

from etalambda._common import check_nonnegative, check_positive, unknown
from etalambda.schedule.rule import Readable

_WINDOWED: dict[str, Callable[[Sequence[float]], float]] = {
    "sma": fmean,
    "median": median,
    "min": min,
}
_VARIANTS = ("ratio", "increment", "aitken")

# tick, losses of the last ticks (L(0) first), smallest loss, scale, window of r, mean, factor
State = tuple[int, tuple[float, ...], float, float, tuple[float, ...], float, float]


@dataclass(frozen=True, repr=False)
class MatchedAnnealing(Readable):
    """λ falls (or rises) with the training loss: Algorithm 1 of Richemond & Guo 2019.

    Reads ``loss``: the data loss without the L2 term.

    Args:
        memory: K, the number of past ratios that S_K looks at; 0 smooths nothing.
        smoothing: S_K: ``sma`` mean, ``ema`` exponential mean of span K + 1, ``median``, ``min``.
        floor: The factor never falls below it.
        warmup: Keep factor 1 during the first ``memory`` ticks, as the paper does; the losses are
            recorded.
        reference: L_ref, subtracted from every loss.
        variant: ``ratio``, or a shift-invariant one: ``increment``, ``aitken``.
        clip: If given, λ is held at ``lr * weight_decay <= clip``, below the pole at 1 where
            decay and a projection onto the sphere flip every weight. Reads ``lr`` as well.

    Raises:
        ValueError: For a negative ``memory``, ``floor`` or ``clip``, an unknown ``smoothing`` or
            ``variant``; at the first tick, if the loss is not finite or not above ``reference``.

    Example:
        >>> from etalambda.schedule import fold
        >>> losses = [{"loss": loss} for loss in (4.0, 2.0, 1.0, 1.0)]
        >>> fold(MatchedAnnealing(memory=1), losses)
        [1.0, 0.75, 0.375, 0.25]
    """

    memory: int = 0
    smoothing: Literal["sma", "ema", "median", "min"] = "sma"
    floor: float = 0.0
    warmup: bool = True
    reference: float = 0.0
    variant: Literal["ratio", "increment", "aitken"] = "ratio"
    clip: float | None = None

    def __post_init__(self) -> None:
        check_nonnegative(memory=self.memory, floor=self.floor)
        if self.memory != int(self.memory):
            raise ValueError(f"memory must be a whole number of ticks, got {self.memory}")
        if self.smoothing not in (*_WINDOWED, "ema"):
            raise unknown("smoothing", self.smoothing, [*_WINDOWED, "ema"])
        if self.variant not in _VARIANTS:
            raise unknown("variant", self.variant, _VARIANTS)
        if not math.isfinite(self.reference):
            raise ValueError(f"reference must be a finite loss, got {self.reference}")
        if self.clip is not None:
            check_positive(clip=self.clip)

    @property
    def reads(self) -> tuple[str, ...]:
        return ("loss",) if self.clip is None else ("loss", "lr")

    def init(self) -> State:
        return (0, (), math.inf, 0.0, (), 0.0, 1.0)

    def update(self, state: State, seen: Mapping[str, float]) -> tuple[float, State]:
        """One tick: the factor for λ_{i} from L(i). A loss that is not finite changes nothing."""
        tick, losses, lowest, scale, window, mean, factor = state
        loss = seen["loss"]
        if tick == 0:
            self._check_first(loss)
        if not math.isfinite(loss):
            return factor, state
        losses, lowest = (*losses[:1], *losses[1:][-2:], loss), min(lowest, loss)
        ratio, scale = self._ratio(losses, lowest, scale)
        if ratio is not None:
            mean = ratio if not window else mean + 2 / (self.memory + 2) * (ratio - mean)
            window = (*window, ratio)[-int(self.memory) - 1 :]
        if window and not (self.warmup and tick < self.memory):
            smooth = mean if self.smoothing == "ema" else _WINDOWED[self.smoothing](window)
            factor = max(smooth, self.floor)
        return self._clipped(factor, seen), (tick + 1, losses, lowest, scale, window, mean, factor)

    def _check_first(self, loss: float) -> None:
        if not math.isfinite(loss):
            raise ValueError(f"the first loss is {loss}; it is the scale of all others: start late")
        if self.variant == "ratio" and loss <= self.reference:
            raise ValueError(
                f"the first loss {loss} is not above reference={self.reference}; "
                "the rule divides by their difference: lower the reference"
            )

    def _ratio(
        self, losses: tuple[float, ...], lowest: float, scale: float
    ) -> tuple[float | None, float]:
        """r_i, or None while it cannot be known; ``scale`` is |ΔL_1| for the increments."""
        loss = losses[-1]
        if self.variant == "ratio":
            return max(loss - self.reference, 0.0) / (losses[0] - self.reference), scale
        if len(losses) < (2 if self.variant == "increment" else 3):
            return None, scale
        change = abs(loss - losses[-2])
        if self.variant == "increment":
            scale = scale or change
            return (change / scale if scale else None), scale
        limit = min(_aitken(losses[-3:]), lowest)
        if limit == -math.inf:
            return 1.0, scale
        return ((loss - limit) / (losses[0] - limit) if losses[0] > limit else None), scale

    def _clipped(self, factor: float, seen: Mapping[str, Any]) -> float:
        if self.clip is None:
            return factor
        rate = seen["lr"] * seen["initial"]
        return min(factor, self.clip / rate) if rate > 0 else factor


def _aitken(losses: Sequence[float]) -> float:
    """The limit of a geometric sequence from three of its terms; -inf if they fall in a line."""
    first, second = losses[1] - losses[0], losses[2] - losses[1]
    if second == 0:
        return losses[2]
    return losses[2] - second**2 / (second - first) if second != first else -math.inf
