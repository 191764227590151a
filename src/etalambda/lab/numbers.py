"""A number as people read it, on the terminal, a page or a figure."""

from __future__ import annotations

import math


def number(value: float, digits: int = 3) -> str:
    """A number for people; ``–`` where there is none.

    >>> number(0.012345), number(1234.5), number(float("nan")), number(0.0)
    ('0.0123', '1234', '–', '0')
    """
    if not math.isfinite(value):
        return "–"
    if abs(value) >= 10 ** (digits - 1):
        return f"{value:.0f}"
    return f"{value:.{digits}g}"
