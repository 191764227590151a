"""Float64 transcriptions of the optimizers that the papers print: no options, nothing in place.

Each is a generator over a list of flat gradients; it yields every iterate. What is proved equal
to which class stands in tests/optim/test_reference.py.
"""

import torch


def adam(theta, grads, lr, beta1, beta2, eps, wd):
    """SWD-A1 as printed without the AdamW term: L2 in the gradient, which depends on θ."""
    m = v = torch.zeros_like(theta)
    for t, gradient in enumerate(grads, start=1):
        g = gradient(theta) + wd * theta
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        theta = theta - lr * (m / (1 - beta1**t)) / ((v / (1 - beta2**t)).sqrt() + eps)
        yield theta


def adamw(theta, grads, lr, beta1, beta2, eps, wd):
    """SWD-A1 with the AdamW term: θ ← θ - η m̂ / (√v̂ + ε) - η λ θ."""
    m = v = torch.zeros_like(theta)
    for t, gradient in enumerate(grads, start=1):
        g = gradient(theta)
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        m_hat, v_hat = m / (1 - beta1**t), v / (1 - beta2**t)
        theta = theta - lr * m_hat / (v_hat.sqrt() + eps) - lr * wd * theta
        yield theta


def adamw_independent(theta, grads, multipliers, alpha, beta1, beta2, eps, wd):
    """Loshchilov & Hutter's Algorithm 2: θ ← θ - η_t (α m̂ / (√v̂ + ε) + λ θ), η_t a multiplier."""
    m = v = torch.zeros_like(theta)
    for t, (gradient, eta) in enumerate(zip(grads, multipliers), start=1):
        g = gradient(theta)
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        m_hat, v_hat = m / (1 - beta1**t), v / (1 - beta2**t)
        theta = theta - eta * (alpha * m_hat / (v_hat.sqrt() + eps) + wd * theta)
        yield theta


def amsgrad(theta, grads, lr, beta1, beta2, eps, wd):
    """SWD-A5 without the AMSGradW term: L2 in the gradient, v̂ from the running maximum of v."""
    m = v = v_max = torch.zeros_like(theta)
    for t, gradient in enumerate(grads, start=1):
        g = gradient(theta) + wd * theta
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        v_max = torch.maximum(v, v_max)
        m_hat, v_hat = m / (1 - beta1**t), v_max / (1 - beta2**t)
        theta = theta - lr * m_hat / (v_hat.sqrt() + eps)
        yield theta


def adams(theta, grads, lr, beta1, beta2, eps, wd, p):
    """SWD-A2 with the power of eq. (11)."""
    m = v = torch.zeros_like(theta)
    for t, gradient in enumerate(grads, start=1):
        g = gradient(theta)
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        m_hat, v_hat = m / (1 - beta1**t), v / (1 - beta2**t)
        v_bar = v_hat.mean()
        theta = theta - lr * m_hat / (v_hat.sqrt() + eps) - lr * v_bar**-p * wd * theta
        yield theta


def amsgrads(theta, grads, lr, beta1, beta2, eps, wd, p):
    """SWD-A6: v̂ from the running maximum of v, v̄ its mean; p = 0 is SWD-A5 with AdamW's decay."""
    m = v = v_max = torch.zeros_like(theta)
    for t, gradient in enumerate(grads, start=1):
        g = gradient(theta)
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        v_max = torch.maximum(v, v_max)
        m_hat, v_hat = m / (1 - beta1**t), v_max / (1 - beta2**t)
        v_bar = v_hat.mean()
        theta = theta - lr * m_hat / (v_hat.sqrt() + eps) - lr * v_bar**-p * wd * theta
        yield theta


def sgd(theta, grads, lr, beta1, beta3, wd):
    """SWD-A7 without the SGDW term: momentum SGD with L2, m_1 = β3 g_1 as printed."""
    m = torch.zeros_like(theta)
    for gradient in grads:
        m = beta1 * m + beta3 * (gradient(theta) + wd * theta)
        theta = theta - lr * m
        yield theta


def sgdw(theta, grads, lr, beta1, beta3, wd):
    """SWD-A7 with the SGDW term: θ ← θ - η m - η λ θ."""
    m = torch.zeros_like(theta)
    for gradient in grads:
        m = beta1 * m + beta3 * gradient(theta)
        theta = theta - lr * m - lr * wd * theta
        yield theta


def sgds(theta, grads, lr, beta1, beta3, wd):
    """SWD-A8: θ ← θ - η m - β3 / (1 - β1) η λ θ."""
    m = torch.zeros_like(theta)
    for gradient in grads:
        m = beta1 * m + beta3 * gradient(theta)
        theta = theta - lr * m - beta3 / (1 - beta1) * lr * wd * theta
        yield theta


def sgds_exact(theta, grads, lr, beta1, beta3, wd):
    """SWD-E22 before it is simplified: the factor is β3 (1 - β1^t) / (1 - β1)."""
    m = torch.zeros_like(theta)
    for t, gradient in enumerate(grads, start=1):
        m = beta1 * m + beta3 * gradient(theta)
        theta = theta - lr * m - beta3 * (1 - beta1**t) / (1 - beta1) * lr * wd * theta
        yield theta


def sgd_tensorflow(theta, grads, lrs, beta1, wd):
    """SWD-A3: the learning rate is inside the buffer, m ← β1 m - η g, θ ← θ + m."""
    m = torch.zeros_like(theta)
    for gradient, lr in zip(grads, lrs):
        m = beta1 * m - lr * (gradient(theta) + wd * theta)
        theta = theta + m
        yield theta


def heavy_ball(theta, grads, lr, momentum, lam):
    """CGD-S5's heavy ball: v ← μ v + g + 2 λ θ, θ ← θ - η v."""
    v = torch.zeros_like(theta)
    for gradient in grads:
        v = momentum * v + gradient(theta) + 2 * lam * theta
        theta = theta - lr * v
        yield theta


def hanson_pratt(theta, grads, lrs, rate):
    """SWD-E1, Hanson & Pratt's decay: θ ← (1 - λ') θ - η g, the rate free of η."""
    for gradient, lr in zip(grads, lrs):
        theta = (1 - rate) * theta - lr * gradient(theta)
        yield theta


def decoupled_sgd(theta, grads, lrs, wd):
    """SWD-E2: θ ← (1 - η λ) θ - η g."""
    for gradient, lr in zip(grads, lrs):
        theta = (1 - lr * wd) * theta - lr * gradient(theta)
        yield theta


def adamw_without_momentum(theta, grads, lr, beta2, wd):
    """SWD-E8: θ ← (1 - η λ) θ - η v^(-1/2) g."""
    v = torch.zeros_like(theta)
    for t, gradient in enumerate(grads, start=1):
        g = gradient(theta)
        v = beta2 * v + (1 - beta2) * g**2
        theta = (1 - lr * wd) * theta - lr * (v / (1 - beta2**t)) ** -0.5 * g
        yield theta


def stable_elementwise(theta, grads, lr, beta2, wd):
    """SWD-E10: θ ← (1 - η v^(-1/2) λ) θ - η v^(-1/2) g."""
    v = torch.zeros_like(theta)
    for t, gradient in enumerate(grads, start=1):
        g = gradient(theta)
        v = beta2 * v + (1 - beta2) * g**2
        rate = lr * (v / (1 - beta2**t)) ** -0.5
        theta = (1 - rate * wd) * theta - rate * g
        yield theta


def stable_scalar(theta, grads, lr, beta2, wd, p):
    """SWD-E11: θ ← (1 - η v̄^(-p) λ) θ - η v^(-1/2) g."""
    v = torch.zeros_like(theta)
    for t, gradient in enumerate(grads, start=1):
        g = gradient(theta)
        v = beta2 * v + (1 - beta2) * g**2
        v_hat = v / (1 - beta2**t)
        theta = (1 - lr * v_hat.mean() ** -p * wd) * theta - lr * v_hat**-0.5 * g
        yield theta


def adai(theta, grads, lr, beta0, beta2, eps, wd):
    """SWD-A4 with L2: β1 of each weight from its share of the mean second moment."""
    m = v = torch.zeros_like(theta)
    product = torch.ones_like(theta)
    for t, gradient in enumerate(grads, start=1):
        g = gradient(theta) + wd * theta
        v = beta2 * v + (1 - beta2) * g**2
        v_hat = v / (1 - beta2**t)
        beta1 = (1 - beta0 / v_hat.mean() * v_hat).clip(0, 1 - eps)
        product = product * beta1
        m = beta1 * m + (1 - beta1) * g
        theta = theta - lr * m / (1 - product)
        yield theta


def adais(theta, grads, lr, beta0, beta2, eps, wd):
    """SWD-A4 with decoupled decay, which is stable for Adai: θ ← θ - η m̂ - η λ θ."""
    m = v = torch.zeros_like(theta)
    product = torch.ones_like(theta)
    for t, gradient in enumerate(grads, start=1):
        g = gradient(theta)
        v = beta2 * v + (1 - beta2) * g**2
        v_hat = v / (1 - beta2**t)
        beta1 = (1 - beta0 / v_hat.mean() * v_hat).clip(0, 1 - eps)
        product = product * beta1
        m = beta1 * m + (1 - beta1) * g
        theta = theta - lr * m / (1 - product) - lr * wd * theta
        yield theta
