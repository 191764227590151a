"""Lewkowycz & Gur-Ari 2020, transcribed: eq. (3) as printed in 50 digits, (1) and (2) as an ODE."""

import mpmath
import numpy as np
from scipy.integrate import solve_ivp

mpmath.mp.dps = 50


def mode_printed(t, degree, eigenvalue, weight_decay, target, initial):
    """Eq. (3) literally, for degree != 1 and weight_decay > 0, with its integral by quadrature."""
    t, k, g, w, y, f0 = (
        mpmath.mpf(x) for x in (t, degree, eigenvalue, weight_decay, target, initial)
    )
    rate = 2 * (k - 1) * w
    at = lambda s: g * mpmath.exp(-rate * s) / rate
    inside = lambda s: mpmath.exp(-at(s) - (k - 2) * w * s + at(t) - k * w * t)
    scale = 1 / (g + k * w)
    cuts = sorted({0, t, *(x for x in (scale, 10 * scale, t - scale, t - 10 * scale) if 0 < x < t)})
    area = mpmath.quad(inside, cuts) if t > 0 else mpmath.mpf(0)
    return mpmath.exp(at(t) - at(0) - k * w * t) * f0 + g * y * area


def flow(t, degree, kernel, weight_decay, targets, initial, loss_slope=lambda f, y: f - y):
    """(1) and (2) as an ODE on all points; the columns of ``kernel`` are the training points."""
    kernel, start = np.asarray(kernel), np.asarray(initial, dtype=float)
    n = kernel.shape[1]

    def slope(s, f):
        theta = np.exp(-2 * (degree - 1) * weight_decay * s) * kernel  # (2)
        return -theta @ loss_slope(f[:n], targets) - degree * weight_decay * f  # (1)

    found = solve_ivp(slope, (0, t), start, method="DOP853", rtol=1e-12, atol=1e-13)
    return found.y[:, -1]
