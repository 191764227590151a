"""Closed forms of weight-decay dynamics and of loss landscapes, corrected, with simulations.

One module an idea; float64 throughout; numbers, sequences, arrays and tensors go in, tensors come
out. λ is each paper's: λ‖θ‖² on landscapes, where torch's ``weight_decay`` is 2λ, and (λ/2)‖θ‖²,
which is torch's, in all about SGD and wide networks.
"""

from etalambda.theory import (
    budget,
    complexity,
    complexity_descent,
    continuation,
    critical_points,
    deep_linear,
    figure_1,
    forgetting,
    gaussian_field,
    gibbs,
    kac_rice,
    norm_dynamics,
    norm_dynamics_scaling,
    norm_dynamics_sde,
    quadratic,
    quadratic_adaptive,
    quenched,
    random_field,
    rotation,
    semicircle,
    sphere,
    spin_glass,
    toy,
    wide,
    wide_kernels,
)

__all__ = [
    "budget",
    "complexity",
    "complexity_descent",
    "continuation",
    "critical_points",
    "deep_linear",
    "figure_1",
    "forgetting",
    "gaussian_field",
    "gibbs",
    "kac_rice",
    "norm_dynamics",
    "norm_dynamics_scaling",
    "norm_dynamics_sde",
    "quadratic",
    "quadratic_adaptive",
    "quenched",
    "random_field",
    "rotation",
    "semicircle",
    "sphere",
    "spin_glass",
    "toy",
    "wide",
    "wide_kernels",
]
EXPERIMENTAL: frozenset[str] = frozenset(
    {
        "complexity",
        "complexity_descent",
        "continuation",
        "critical_points",
        "figure_1",
        "forgetting",
        "gibbs",
        "kac_rice",
        "quenched",
        "random_field",
        "semicircle",
        "sphere",
        "spin_glass",
    }
)
