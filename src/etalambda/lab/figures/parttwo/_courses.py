"""Courses of weight decay over one run: down, up, in windows, by feedback; at one budget K.

What the field does: constant; down with the lr (PaLM, AdamC) or to zero (nanochat); up, as DINO's
cosine from a tenth, or as the lr falls (slowrun); in a window; by the loss (Richemond & Guo,
Algorithm 1), by its turning points (Lewkowycz & Gur-Ari, AutoL2), by the second moment (AdamS).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from etalambda.schedule import AutoL2, MatchedAnnealing, constant, cosine, inverse, linear, window
from etalambda.schedule import u_shape as u
from etalambda.schedule.rule import Rule


@dataclass(frozen=True)
class Course:
    """A course, and what is known of it before training.

    Attributes:
        rule: Steps of the run -> the rule.
        direction: ``up``, ``down`` or empty.
        planned: Whether K follows from the rule alone; otherwise pilots measure it.
        scaled: Whether λ₀ is scaled by the pilots' K; AutoL2 looks for a level of its own instead.
        optimizer: Whose step it is, if not the task's own.
        sphere: Whether every matrix is kept at its initial norm.
        ahead: λ₀ of the pilots, as a multiple of the constant λ.
    """

    rule: Callable[[int], Any]
    direction: str = ""
    planned: bool = True
    scaled: bool = True
    optimizer: str = ""
    sphere: bool = False
    ahead: float = 1.0


def _inverse(steps: int) -> Rule:
    lr, coupling = cosine(steps), inverse()
    return lambda step: coupling(lr(step), 1.0)


def _rising(steps: int) -> Rule:
    return lambda step: 0.1 + 0.9 * (1 - cosine(steps)(step))


COURSES: dict[str, Course] = {
    "constant": Course(lambda steps: constant()),
    "matched": Course(cosine, "down"),
    "linear to 0": Course(linear, "down"),
    "inverse": Course(_inverse, "up"),
    "DINO": Course(_rising, "up"),
    "U": Course(lambda steps: u(steps, low=0.1)),
    "early window": Course(lambda steps: window(steps, 0.0, 0.25)),
    "middle window": Course(lambda steps: window(steps, 0.375, 0.625)),
    "late window": Course(lambda steps: window(steps, 0.75, steps)),
    "by the loss (A1)": Course(lambda steps: MatchedAnnealing(max(1, steps // 40)), planned=False),
    "A1 on spheres": Course(
        lambda steps: MatchedAnnealing(max(1, steps // 40)), planned=False, sphere=True
    ),
    "AutoL2": Course(
        lambda steps: AutoL2(every=max(1, steps // 40)), planned=False, scaled=False, ahead=8.0
    ),
    "AdamS": Course(lambda steps: constant(), planned=False, optimizer="adams", ahead=1e-3),
}
"""lr falls on a cosine. AdamS takes part where the task's own optimizer is AdamW."""
