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
