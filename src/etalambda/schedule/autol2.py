"""AutoL2: start with too much weight decay and divide it by ten whenever training turns worse.

Lewkowycz & Gur-Ari 2020, *On the training dynamics of deep networks with L2 regularization*,
Algorithm 1. Every ``every`` steps the training loss (without the L2 term) and error are measured;
if one of them was above its minimum twice in a row, and the refractory time has passed,

    λ ← λ / 10,   then nothing for 0.1 / λ steps, with the new λ                       (LG-A1)

    paper   λ              every   10      0.1
    code    weight_decay   every   ratio   refractory

The paper's waiting time assumes a constant learning rate. ``unit="decay"`` answers its open
problem of combining AutoL2 with a schedule: time is counted in decay done, Σ (η/η_max) λ, which is
the same number of steps at a constant lr and stretches as the lr falls.

Departures from the paper: ``ERROR`` in the last line of its listing reads ``MINERROR``; the first
of the measurements is at step 0, so the third is the first that can lower λ; minima are never
reset; the factor is ``ratio**-j`` with an integer j, so that λ does not drift. Whether the loss
is of the minibatch or of the training set is not said: it is what you pass.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from etalambda._common import check_nonnegative, check_positive, unknown
from etalambda.schedule.rule import Readable

# The smallest and the previous loss and error; and: time, next measurement, drops, end of the
# refractory time, those four.
Memory = tuple[float, float, float, float]
State = tuple[float, float, int, float, Memory]


@dataclass(frozen=True, repr=False)
class AutoL2(Readable):
    """λ/10 when the loss or the error has turned: Lewkowycz & Gur-Ari 2020, Algorithm 1.

    Reads ``loss`` and ``error`` (the share of wrong training predictions) at every ``every``-th
    tick; between, they may be left out, or be functions that are then not called.

    Args:
        every: Ticks between measurements.
        ratio: What λ is divided by.
        refractory: The wait after a division is ``refractory / λ`` ticks at the new λ.
        unit: ``steps``, or ``decay``: measure and wait by Σ (η/η_max) λ.

    Raises:
        ValueError: If ``every`` is not positive, ``ratio`` not above 1, ``refractory`` negative;
            at the first tick, if the loss or the error is not finite.

    Example:
        >>> from etalambda.schedule import fold
        >>> losses = [3.0, 2.0, 2.5, 2.4, 2.3]
        >>> seen = [{"loss": loss, "error": 0.5} for loss in losses]
        >>> fold(AutoL2(every=1, refractory=0), seen)
        [1.0, 1.0, 1.0, 0.1, 0.01]
    """

    every: float = 10
    ratio: float = 10.0
    refractory: float = 0.1
    unit: Literal["steps", "decay"] = "steps"

    def __post_init__(self) -> None:
        check_positive(every=self.every, ratio=self.ratio)
        check_nonnegative(refractory=self.refractory)
        if self.ratio <= 1:
            raise ValueError(f"ratio must be above 1, got {self.ratio}; λ is divided by it")
        if self.unit not in ("steps", "decay"):
            raise unknown("unit", self.unit, ["steps", "decay"])

    @property
    def reads(self) -> tuple[str, ...]:
        lr = ("lr", "peak_lr") if self.unit == "decay" else ()
        return ("loss", "error", *lr)

    def init(self) -> State:
        return (0.0, 0.0, 0, 0.0, (math.inf, math.inf, math.inf, math.inf))

    def update(self, state: State, seen: Mapping[str, float]) -> tuple[float, State]:
        """One tick. A loss or error that is not finite counts as not measured."""
        time, due, drops, until, memory = state
        if time >= due - 1e-9 * due:
            due += self.every if self.unit == "steps" else self.every * seen["initial"]
            measured = seen["loss"], seen["error"]
            if time == 0 and not all(map(math.isfinite, measured)):
                raise ValueError(
                    f"the first loss and error are {measured[0]} and {measured[1]}; there is "
                    "nothing to compare with: look for the cause before training on"
                )
            if all(map(math.isfinite, measured)):
                drops, until, memory = self._measured(measured, time, drops, until, memory, seen)
        decay = seen["initial"] * self.ratio**-drops
        time += 1 if self.unit == "steps" else decay * seen["lr"] / seen["peak_lr"]
        return self.ratio**-drops, (time, due, drops, until, memory)

    def _measured(
        self,
        measured: tuple[float, float],
        time: float,
        drops: int,
        until: float,
        memory: Memory,
        seen: Mapping[str, float],
    ) -> tuple[int, float, Memory]:
        (loss, error), (low_loss, low_error, last_loss, last_error) = measured, memory
        worse = min(loss, last_loss) > low_loss or min(error, last_error) > low_error
        if worse and time - until > 1e-6:
            decay = seen["initial"] * self.ratio ** -(drops + 1)
            wait = self.refractory / decay if self.unit == "steps" else self.refractory
            return drops + 1, time + wait, (low_loss, low_error, loss, error)
        lowest = min(last_loss, low_loss), min(last_error, low_error)
        return drops, until, (*lowest, loss, error)
