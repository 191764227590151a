"""What a run is doing: how fast its weights decay, how large they are, how far a step turns them.

Quantities are plain functions; a `Monitor` decides when they are taken.
"""

from etalambda.diagnose.decay import decay_budget, intrinsic_lr, stats
from etalambda.diagnose.monitor import Monitor, every
from etalambda.diagnose.norms import effective_lr, weight_norms

__all__ = [
    "Monitor",
    "decay_budget",
    "effective_lr",
    "every",
    "intrinsic_lr",
    "stats",
    "weight_norms",
]
EXPERIMENTAL: frozenset[str] = frozenset()
