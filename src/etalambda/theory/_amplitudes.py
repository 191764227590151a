"""The amplitudes a_p of a mixed p-spin model, checked once for the field and for its samples."""

from __future__ import annotations

import math
from collections.abc import Mapping


def check_amplitudes(amplitudes: Mapping[int, float]) -> None:
    """Raise a ValueError that names the first degree or amplitude that no p-spin model has."""
    if not amplitudes:
        raise ValueError("amplitudes is empty; pass a dict such as {2: 0.5, 3: 1.0}")
    for p, amplitude in amplitudes.items():
        if p != int(p) or p < 1:
            raise ValueError(f"p must be a whole number of at least 1, got {p}")
        if not math.isfinite(amplitude):
            raise ValueError(f"the amplitude of p={p} must be finite, got {amplitude}")
    if all(a == 0 for p, a in amplitudes.items() if p > 1):
        raise ValueError(f"amplitudes {dict(amplitudes)} hold no degree p >= 2: f''(0) would be 0")
