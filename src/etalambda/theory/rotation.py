r"""Rotational equilibrium: the norm and the angle at which weights settle under any optimizer.

Kosson et al. 2024, *Rotational Equilibrium*, after Li, Lyu & Arora 2020. The idea: at equilibrium
decay takes as much from ‖w‖² a step as uncorrelated gradients add, and then each step turns w by a
fixed angle that lr and λ set together. A gradient g moves w by its whole share η c g over time, so
with C weights and updates of length ‖u‖ a step

    2 r ‖w‖² = η² c² E‖g‖²,      angle = ‖u‖/‖w‖,      r the decay rate

    optimizer   ‖w‖                   angle
    SGD, μ      (ησ²/(2λ(1-μ)))^¼     √(2ηλ/(1+μ))
    AdamW       √(ηC/(2λ))            √(2ηλ (1-β1)/(1+β1))
    Adam, L2    (ησ√C/(2λ))^⅓         (2λη²√C/σ)^⅓ √((1-β1)/(1+β1))
    Lion        √(ηC/(2λA))           √(2ηλA)

    paper   η   λ             μ, β1, β2        C     σ
    code    lr  weight_decay  momentum, betas  size  noise^½, at unit norm, scale-invariant losses

1/A = 1 + 2 Σ_k (2/π) arcsin ρ_k counts the correlation of Lion's signs, ρ_k that of its input.

Departures from the paper: it approximates the signs by their linear part, A = (π/2) ((1-β1)² + β1²
(1-β2)/(1+β2)), which is ``etalambda.theory.plan.angular_step``; the arcsine law here is exact for
Gaussian gradients. The row of Adam with L2 is for scale-invariant losses, whose gradient is σ/‖w‖.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from etalambda._common import check_positive, unknown

OPTIMIZERS = ("sgd", "adamw", "adam", "lion")


class Equilibrium(NamedTuple):
    """Where a weight vector settles: its norm, and the angle in radians of one step.

    Example:
        >>> round(equilibrium("AdamW", lr=1e-3, weight_decay=0.1, size=10_000).norm, 3)
        7.071
    """

    norm: float
    angle: float


def equilibrium(
    optimizer: str,
    lr: float,
    weight_decay: float,
    size: int,
    *,
    noise: float = 1.0,
    momentum: float = 0.0,
    betas: tuple[float, float] = (0.9, 0.999),
) -> Equilibrium:
    """Norm and angle at equilibrium, for ηλ far below 1 - β and gradients that are mostly noise.

    Args:
        optimizer: "sgd", "adamw", "adam" (L2) or "lion", in any case.
        lr: η.
        weight_decay: λ.
        size: C, how many weights the vector has. SGD's does not depend on it.
        noise: σ² = E‖g‖² at unit norm, for SGD and Adam; the others are blind to it.
        momentum: μ of SGD.
        betas: β1, β2 of the others.

    Returns:
        An ``Equilibrium``.

    Raises:
        ValueError: If the optimizer is unknown or a number out of range; without decay there is
            no equilibrium.

    Example:
        >>> found = equilibrium("AdamW", lr=1e-3, weight_decay=0.1, size=10_000)
        >>> round(found.norm, 3), round(found.angle, 6)
        (7.071, 0.003244)
    """
    name = optimizer.lower()
    if name not in OPTIMIZERS:
        raise unknown("optimizer", optimizer, OPTIMIZERS)
    check_positive(lr=lr, weight_decay=weight_decay, size=size, noise=noise)
    if not (0 <= momentum < 1 and all(0 <= beta < 1 for beta in betas)):
        raise ValueError(f"momentum and betas must lie in [0, 1), got {momentum} and {betas}")
    averaged = math.sqrt((1 - betas[0]) / (1 + betas[0]))  # length of Adam's step, of 1
    if name == "sgd":
        norm = (lr * noise / (2 * weight_decay * (1 - momentum))) ** 0.25
        return Equilibrium(norm, math.sqrt(2 * lr * weight_decay / (1 + momentum)))
    if name == "adamw":
        norm = math.sqrt(lr * size / (2 * weight_decay))
        return Equilibrium(norm, lr * math.sqrt(size) * averaged / norm)
    if name == "adam":  # λ is divided by √v = σ/(‖w‖√C): the decay rate is ηλ‖w‖√C/σ
        norm = (lr * math.sqrt(size * noise) / (2 * weight_decay)) ** (1 / 3)
        return Equilibrium(norm, lr * math.sqrt(size) * averaged / norm)
    norm = math.sqrt(lr * size / (2 * weight_decay * sign_freshness(betas)))
    return Equilibrium(norm, lr * math.sqrt(size) / norm)


def sign_freshness(betas: tuple[float, float]) -> float:
    """A: the share of Lion's squared steps that is new, 1/(1 + 2 Σ_k (2/π) arcsin ρ_k).

    1 for β1 = 0, where each sign is that of a fresh gradient.

    Example:
        >>> sign_freshness((0.0, 0.99)), round(sign_freshness((0.9, 0.99)), 5)
        (1.0, 0.02177)
    """
    b1, b2 = betas
    # The input c_t = (1-β1) g_t + β1 (1-β2) Σ_j β2^j g_{t-1-j}; its covariance at lag k >= 1 is
    # geometric in k.
    tail = b1 * (1 - b2)
    own = (1 - b1) ** 2 + tail**2 / (1 - b2**2)
    first = (1 - b1) * tail + tail**2 * b2 / (1 - b2**2)
    total, rho = 1.0, first / own
    while rho > 1e-17:
        total += 2 * (2 / math.pi) * math.asin(min(rho, 1.0))
        rho *= b2
    return 1 / total
