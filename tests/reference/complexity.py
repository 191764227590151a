"""Richemond & Guo 2019, eq. (9)-(18) with the errata, term by term; κ = 1 on the sphere.

Derivatives f0, f1, f2 of the covariance at 0, N = ∞, and the volume of the ball of radius √N.
"""

import math

import torch


def constants(f0, f1, f2, kappa):
    """(P, Q); flat as printed, the sphere's with its curvature terms (E10s)."""
    p = f0 / f2 + f1**2 / f2**2 - kappa * f0 * abs(f1) / f2**2
    q = f0 / f2 - f1**2 / f2**2 + kappa * f0 * abs(f1) / f2**2
    return torch.tensor([p, q], dtype=torch.float64)


def index(shift, f0, f1, f2):
    """(9): (2/π) ∫ₓ¹ √(1 - t²) dt in elementary terms."""
    x = shift / (2 * math.sqrt(f2))
    return (torch.arccos(x) - x * torch.sqrt(1 - x**2)) / math.pi


def index_at_energy(energy, f0, f1, f2, kappa):
    """(11) with (10): λ̄ = 2 f' ε/(f'' P)."""
    p, _ = constants(f0, f1, f2, kappa)
    return index(2 * f1 * energy / (f2 * p), f0, f1, f2)


def form(f0, f1, f2, kappa):
    """(16) with -f'/f'' off the diagonal."""
    p, _ = constants(f0, f1, f2, kappa)
    first = 1 + kappa * abs(f1) / f2
    return torch.tensor([[first, -f1 / f2], [-f1 / f2, p / 2]], dtype=torch.float64)


def sigma(energy, shift, f0, f1, f2, kappa):
    """(14), (15): C₁ - (C₂/2)(M₁₁ε² - 2(f'/f'')ελ̄ + (P/2)λ̄²)."""
    p, q = constants(f0, f1, f2, kappa)
    psi = (1 + kappa * abs(f1) / f2) * energy**2
    psi = psi - 2 * (f1 / f2) * energy * shift + (p / 2) * shift**2
    return math.log(f2 / abs(f1)) / 2 - psi / (2 * f2 * q)


def gradient(energy, shift, f0, f1, f2, kappa):
    """(18) with its factor C₂ = 1/(f''Q)."""
    _, q = constants(f0, f1, f2, kappa)
    m = form(f0, f1, f2, kappa)
    first = m[0, 0] * energy + m[0, 1] * shift
    second = m[1, 0] * energy + m[1, 1] * shift
    return -torch.stack([first, second], -1) / (f2 * q)
