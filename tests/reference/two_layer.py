"""A two-layer ReLU network in the NTK parametrization, trained by plain full-batch descent.

f(x) = (2/n)^(1/2) Σ_i v_i relu(w_i · x / √d): 2-homogeneous, all weights standard normal. Its
gradient is written out; the loss is ½ Σ (f - y)² + (λ/2) ‖θ‖².
"""

import math

import torch


def relu_ntk(a, b):
    """Θ_0 at infinite width, from the arc-cosine kernels of Cho & Saul 2009."""
    d = a.shape[1]
    na, nb = a.norm(dim=1, keepdim=True), b.norm(dim=1, keepdim=True)
    cos = (a @ b.T / (na * nb.T)).clamp(-1, 1)
    angle = cos.acos()
    zero = (math.pi - angle) / math.pi
    one = (angle.sin() + (math.pi - angle) * cos) / math.pi
    return (na * nb.T) * (one + zero * cos) / d


def train(width, inputs, targets, at, weight_decay, lr, steps, every, seed):
    """f_0 at all points, and rows of f at ``at`` after every ``every`` steps."""
    generator = torch.Generator().manual_seed(seed)
    d = inputs.shape[1]
    w = torch.randn(width, d, dtype=inputs.dtype, generator=generator)
    v = torch.randn(width, dtype=inputs.dtype, generator=generator)
    scale = math.sqrt(2 / width)

    def forward(x):
        before = x @ w.T / math.sqrt(d)
        return scale * before.clamp_min(0) @ v, before

    start = forward(torch.cat([inputs, at]))[0]
    rows = []
    for step in range(1, steps + 1):
        f, before = forward(inputs)
        residual = f - targets
        grad_v = scale * residual @ before.clamp_min(0)
        pulled = residual[:, None] * (before > 0) * v
        grad_w = scale / math.sqrt(d) * pulled.T @ inputs
        v = v - lr * (grad_v + weight_decay * v)
        w = w - lr * (grad_w + weight_decay * w)
        if step % every == 0:
            rows.append(forward(at)[0])
    return start, torch.stack(rows)
