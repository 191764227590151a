"""What a run is doing: how fast its weights decay, how large they are, how far a step turns them.

Quantities are plain functions; a `Monitor` decides when they are taken.
"""

from etalambda.diagnose.curvature import (
    Curvature,
    curvature,
    hessian_index,
    hessian_vector_product,
)
from etalambda.diagnose.decay import decay_budget, intrinsic_lr, stats
from etalambda.diagnose.function_space import agreement, split_half_floor, total_variation
from etalambda.diagnose.lanczos import Spectrum, lanczos
from etalambda.diagnose.monitor import Monitor, every
from etalambda.diagnose.norms import effective_lr, weight_norms

__all__ = [
    "Curvature",
    "Monitor",
    "Spectrum",
    "agreement",
    "curvature",
    "decay_budget",
    "effective_lr",
    "every",
    "hessian_index",
    "hessian_vector_product",
    "intrinsic_lr",
    "lanczos",
    "split_half_floor",
    "stats",
    "total_variation",
    "weight_norms",
]
EXPERIMENTAL: frozenset[str] = frozenset({"Curvature", "Spectrum", "hessian_vector_product"})
