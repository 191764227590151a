"""Richemond & Guo 2019, Algorithms 1 to 3, transcribed in float64 with plain SGD. No options.

The paper's λ multiplies ‖θ‖², so the gradient of the penalty is 2λθ.
"""

import math
import statistics

import torch


def matched(losses, lam0, memory, smooth):
    """Algorithm 1: λ_i for i = 0 .. len(losses) - 1; λ₀ during the K warm-up steps."""
    ratios = [loss / losses[0] for loss in losses]
    lams = []
    for i in range(len(losses)):
        window = ratios[max(0, i - memory) : i + 1]
        lams.append(lam0 if i < memory else lam0 * smooth(window, ratios[: i + 1], memory))
    return lams


def sma(window, ratios, memory):
    return sum(window) / len(window)


def ema(window, ratios, memory):
    a = 2 / (memory + 2)
    s = ratios[0]
    for r in ratios[1:]:
        s = s + a * (r - s)
    return s


def median(window, ratios, memory):
    return statistics.median(window)


def minimum(window, ratios, memory):
    return min(window)


def cosine(i, lam0, period):
    """Algorithm 2."""
    return lam0 * (1 + math.cos(2 * math.pi * i / period))


def baseline(t, lam0):
    return lam0 * (1 + t) ** -0.5


def two_step(theta, gradient, lams, lr, size):
    """Algorithm 3: E step, then an M step of ``size(λ_i, λ_{i-1})`` with the gradient anew."""
    before = lams[0]
    for lam in lams:
        theta = theta - lr * (gradient(theta) + 2 * lam * theta)
        theta = theta - size(lam, before) * lr * (gradient(theta) + 2 * lam * theta)
        before = lam
    return theta


def two_step_predictor(theta, gradient, lams, lr):
    before = lams[0]
    for lam in lams:
        theta = theta - lr * (gradient(theta) + 2 * lam * theta)
        theta = theta - (lam - before) * lr * 2 * theta
        before = lam
    return theta


def on_sphere(theta):
    return theta * math.sqrt(theta.numel()) / torch.linalg.vector_norm(theta)
