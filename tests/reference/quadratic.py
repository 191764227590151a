"""Xie et al. 2022 on a quadratic: steps as loops of matrices, fixed points by iteration."""

import torch


def sgd(hessian, minimum, start, decays, lrs):
    """Eq. (2) without noise: θ = (1 - ηλ) θ - η H (θ - θ*). θ_t - θ* for all t."""
    theta, found = start.clone(), [start - minimum]
    for lr, decay in zip(lrs, decays, strict=True):
        theta = (1 - lr * decay) * theta - lr * hessian @ (theta - minimum)
        found.append(theta - minimum)
    return torch.stack(found)


def theorem_2(hessian, minimum, start, decay, lrs):
    """Eq. (4) as printed, with matrices and with its parentheses."""
    eye = torch.eye(len(minimum), dtype=torch.float64)
    inverse = torch.linalg.inv(hessian + decay * eye)
    product = eye
    for lr in lrs:
        product = (eye - lr * (hessian + decay * eye)) @ product
    return product @ (start - hessian @ inverse @ minimum) - decay * inverse @ minimum


def adaptive_end(hessian, minimum, decay, v, scale, lr=0.05, steps=20_000):
    """θ - θ* after many steps θ = (1 - η scale λ) θ - η v^(-1/2) H (θ - θ*)."""
    theta = torch.zeros_like(minimum)
    for _ in range(steps):
        theta = (1 - lr * scale * decay) * theta - lr * v**-0.5 * (hessian @ (theta - minimum))
    return theta - minimum
