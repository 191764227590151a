"""Float64 transcriptions of the decays that answer to a norm: one tensor, no options.

Each is a generator over a list of gradients, on plain SGD without momentum, and yields every
iterate. Proved equal to the hooks in tests/optim/test_norm_hooks.py.
"""

import math


def weight_norm_control(theta, grads, lr, rate, ratio):
    """arXiv 2311.11446, eq. (3), on SGD: θ ← θ - η g - k (1 - r ‖θ_0‖ / ‖θ‖) θ."""
    target = ratio * theta.norm()
    for g in grads:
        theta = theta - lr * g - rate * (1 - target / theta.norm()) * theta
        yield theta


def constrained(theta, grads, lr, rate, warm_start):
    """arXiv 2311.09058, Algorithm 1, per element and with κ from a warm start, on SGD."""
    multiplier, bound = 0.0, math.inf
    for t, g in enumerate(grads):
        theta = theta - lr * g
        mean_square = (theta**2).mean().item()
        if t == warm_start:
            bound = mean_square
            yield theta
            continue
        if t > warm_start:
            multiplier = max(0.0, multiplier + rate * (mean_square - bound))
        theta = theta - 2 * multiplier * theta
        yield theta


def hyperball(theta, grads, lr):
    """arXiv 2606.16899 on SGD: W ← R Norm(W - η R Norm(u)), R = ‖W_0‖."""
    radius = theta.norm()
    for u in grads:
        moved = theta - lr * radius * u / u.norm()
        theta = radius * moved / moved.norm()
        yield theta


def noisy(theta, grads, lr, std, timescale, draws):
    """SGD, then θ ← θ (1 + σ_t ξ) with σ_t² = σ² exp(-t / t_0)."""
    for t, (g, xi) in enumerate(zip(grads, draws)):
        theta = theta - lr * g
        theta = theta * (1 + std * math.exp(-t / timescale) ** 0.5 * xi)
        yield theta
