"""Closed forms of weight-decay dynamics and of loss landscapes, corrected, with simulations.

One module an idea; float64 throughout. This room writes λ as the papers do: the penalty λ‖θ‖²,
so torch's ``weight_decay`` is 2λ. Numbers, sequences, arrays and tensors go in, tensors come out.
"""

from etalambda.theory import (
    budget,
    complexity,
    gaussian_field,
    norm_dynamics,
    semicircle,
)

__all__ = [
    "budget",
    "complexity",
    "gaussian_field",
    "norm_dynamics",
    "semicircle",
]
EXPERIMENTAL: frozenset[str] = frozenset({"complexity", "semicircle"})
