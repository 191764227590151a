"""K*(passes) as experiment E1 of Part II measured it (docs/part-two.md): numbers, not a law.

λ* of constant decay on 600 digits with a fifth of the labels wrong, an MLP of 10 000 weights, 8
seeds a λ, for SGD with momentum and AdamW, each at a constant lr and on a cosine. As a decay
budget it is told at the peak, gain · η_max λ* T: there the two shapes of the lr agree within a
fifth from 40 passes on. The middle is the geometric mean of the four curves, the range their
ends. Up to 20 passes decay helped little or nothing, and the numbers say hardly more than that.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import NamedTuple

from etalambda.suggest.run_plan import NotApplicable


class Fitted(NamedTuple):
    """K at the peak that was best at this number of passes, and its range over four curves."""

    passes: float
    budget: float
    least: float
    most: float


TABLE = (
    Fitted(10, 0.0139, 0.00600, 0.0528),
    Fitted(20, 0.439, 0.108, 1.08),
    Fitted(40, 2.50, 1.43, 4.14),
    Fitted(80, 6.72, 3.98, 10.9),
    Fitted(160, 15.0, 9.36, 24.7),
    Fitted(320, 32.0, 20.5, 51.9),
)
"""What was measured, by passes."""


def fitted_budget(passes: float) -> Fitted:
    """The table at any number of passes within it, straight lines in log-log between its rows.

    Raises:
        NotApplicable: Outside of the passes that were trained.

    Example:
        >>> fitted_budget(40), round(fitted_budget(100).budget, 1)
        (Fitted(passes=40, budget=2.5, least=1.43, most=4.14), 8.7)
    """
    first, last = TABLE[0].passes, TABLE[-1].passes
    if not first <= passes <= last:
        raise NotApplicable(f"measured for {first:g} to {last:g} passes over the data")
    below, above = next(pair for pair in pairwise(TABLE) if passes <= pair[1].passes)
    share = math.log(passes / below.passes) / math.log(above.passes / below.passes)
    ends = ((a, b) for a, b in zip(below[1:], above[1:]))
    return Fitted(passes, *(a * (b / a) ** share for a, b in ends))
