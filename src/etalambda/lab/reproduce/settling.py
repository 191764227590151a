"""How long until a curve is where it will stay: crossings of a curve that rises after a drop."""

from __future__ import annotations

import numpy as np


def first_above(steps: np.ndarray, values: np.ndarray, level: float) -> float:
    """The step at which ``values`` first reach ``level``, between two looks by a straight line.

    NaN if they never do.

    >>> first_above(np.array([0, 10, 20]), np.array([0.0, 1.0, 3.0]), 2.0)
    15.0
    """
    there = np.flatnonzero(values >= level)
    if not there.size:
        return float("nan")
    i = int(there[0])
    if i == 0:
        return float(steps[0])
    share = (level - values[i - 1]) / (values[i] - values[i - 1])
    return float(steps[i - 1] + share * (steps[i] - steps[i - 1]))


def recovery(steps: np.ndarray, values: np.ndarray, settled: float, share: float) -> float:
    """Steps from the lowest value back to ``share`` of the way from there to ``settled``.

    >>> recovery(np.array([0, 10, 20]), np.array([1.0, 0.0, 1.0]), settled=2.0, share=0.25)
    15.0
    """
    low = int(np.nanargmin(values))
    level = values[low] + share * (settled - values[low])
    return first_above(steps[low:], values[low:], level)
