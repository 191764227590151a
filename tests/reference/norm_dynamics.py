"""Li, Lyu & Arora 2020, transcribed: 50 digits where they print a formula, loops elsewhere."""

import mpmath
import torch

mpmath.mp.dps = 50


def gamma_printed(t, gamma0, intrinsic_lr, noise):
    """Eq. (12) with ε = 0, in 50 digits."""
    t, g, le, s2 = (mpmath.mpf(x) for x in (t, gamma0, intrinsic_lr, noise))
    e = mpmath.exp(-4 * le * t)
    return e * g + s2 / (2 * le) * (1 - e)


def gamma_integral(t, gamma0, intrinsic_lr, noise_at):
    """Eq. (11) by quadrature for a noise that changes over time."""
    le = mpmath.mpf(intrinsic_lr)
    area = mpmath.quad(lambda s: mpmath.exp(-4 * le * (t - s)) * noise_at(s), [0, t])
    return mpmath.exp(-4 * le * t) * gamma0 + 2 * area


def tangent_sgd(steps, lr, weight_decay, noise, momentum, dim, trials, seed=0):
    """torch's SGD on random gradients orthogonal to w with E‖g(w̄)‖² = noise. ‖w‖² a step."""
    generator = torch.Generator().manual_seed(seed)
    w = torch.zeros(trials, dim, dtype=torch.float64)
    w[:, 0] = 1.0
    v = torch.zeros_like(w)
    norms = [(w * w).sum(1)]
    for _ in range(steps):
        g = torch.randn(trials, dim, dtype=torch.float64, generator=generator)
        norm2 = (w * w).sum(1, keepdim=True)
        g = g - w * ((g * w).sum(1, keepdim=True) / norm2)
        g = g * (noise / (dim - 1)) ** 0.5 / norm2.sqrt()
        v = momentum * v + g + weight_decay * w
        w = w - lr * v
        norms.append((w * w).sum(1))
    return torch.stack(norms)
