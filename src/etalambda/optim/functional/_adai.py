"""Adaptive inertia with L2 and with decoupled decay (Xie et al. 2022, Algorithm 4)."""

import torch
from torch import Tensor

from etalambda.optim.functional._adam import mean_of_all
from etalambda.optim.functional._lists import (
    Number,
    Numbers,
    State,
    Tensors,
    Updated,
    advance,
    like,
    spread,
)


def adai_moments(grads: Tensors, state: State, beta2: Number) -> tuple[State, Tensors]:
    """The new second moment, and v̂ of every tensor.

    >>> state = dict(step=0, exp_avg_sq=[torch.zeros(2)])
    >>> state, v_hats = adai_moments([torch.tensor([1.0, 2.0])], state, 0.99)
    >>> v_hats  # the first v̂ is the first gradient, squared
    [tensor([1., 4.])]
    """
    squares = [beta2 * v + (1 - beta2) * (g * g) for v, g in zip(state["exp_avg_sq"], grads)]
    squares = like(squares, grads)
    new = dict(state, step=advance(state["step"]), exp_avg_sq=squares)
    steps = spread(new["step"], len(grads))
    return new, [v / (1 - beta2**s) for v, s in zip(squares, steps)]


def adai_apply(
    params: Tensors,
    grads: Tensors,
    state: State,
    v_hats: Tensors,
    v_mean: Tensor,
    *,
    lr: Numbers,
    beta0: Number,
    eps: float,
    kept: Numbers = 1.0,
) -> Updated:
    """β1 = clip(1 - β0 v̂ / v̄, 0, 1 - ε), m ← β1 m + (1 - β1) g, θ ← kept θ - η m / (1 - Πβ1).

    Where v̄ = 0 every v̂ is its mean: v̂ / v̄ counts as 1.

    >>> ones = [torch.ones(2)]
    >>> state = dict(exp_avg=[torch.zeros(2)], beta1_prod=ones)
    >>> v_hats = [torch.tensor([0.5, 1.5])]  # the second element is the noisier: less inertia
    >>> options = dict(lr=0.1, beta0=0.1, eps=1e-3)
    >>> _, state = adai_apply(ones, ones, state, v_hats, torch.tensor(1.0), **options)
    >>> state["beta1_prod"]
    [tensor([0.9500, 0.8500])]
    """
    safe = torch.where(v_mean > 0, v_mean, 1.0)
    shares = [torch.where(v_mean.to(v.device) > 0, v / safe.to(v.device), 1.0) for v in v_hats]
    inertia = [(1 - beta0 * share).clamp(0, 1 - eps) for share in shares]
    inertia = like(inertia, params)
    averages = [b * m + (1 - b) * g for b, m, g in zip(inertia, state["exp_avg"], grads)]
    averages = like(averages, params)
    products = [b * q for b, q in zip(inertia, state["beta1_prod"])]
    lrs, keep = spread(lr, len(params)), spread(kept, len(params))
    moved = [
        k * p - r * (m / (1 - q)) for p, m, q, r, k in zip(params, averages, products, lrs, keep)
    ]
    return like(moved, params), dict(state, exp_avg=averages, beta1_prod=products)


def adai(
    params: Tensors,
    grads: Tensors,
    state: State,
    *,
    lr: Numbers,
    betas: tuple[Number, Number] = (0.1, 0.99),
    eps: float = 1e-3,
    weight_decay: Numbers = 0.0,
) -> Updated:
    """Adai with L2 in the gradient (SWD-A4). ``betas`` are β0 and β2; ε bounds the inertia.

    >>> from etalambda.optim.functional import init
    >>> w, g = [torch.ones(2)], [torch.tensor([1.0, 2.0])]
    >>> (moved,), _ = adai(w, g, init("adai", w), lr=0.1)
    >>> moved  # the first step is SGD's: Adai adapts the inertia, not the lr
    tensor([0.9000, 0.8000])
    """
    decays = spread(weight_decay, len(params))
    grads = like([g + w * p for g, w, p in zip(grads, decays, params)], params)
    return adais(params, grads, state, lr=lr, betas=betas, eps=eps, weight_decay=0.0)


def adais(
    params: Tensors,
    grads: Tensors,
    state: State,
    *,
    lr: Numbers,
    betas: tuple[Number, Number] = (0.1, 0.99),
    eps: float = 1e-3,
    weight_decay: Numbers = 5e-4,
) -> Updated:
    """Adai with decoupled decay (SWD-A4), which is stable: Adai's effective lr is constant.

    >>> from etalambda.optim.functional import init
    >>> w, g = [torch.ones(2)], [torch.zeros(2)]
    >>> (moved,), _ = adais(w, g, init("adais", w), lr=0.1, weight_decay=0.5)
    >>> moved  # no gradient: decay alone, 1 - 0.1 · 0.5
    tensor([0.9500, 0.9500])
    """
    count = len(params)
    kept = [1 - r * w for r, w in zip(spread(lr, count), spread(weight_decay, count))]
    state, v_hats = adai_moments(grads, state, betas[1])
    v_mean = mean_of_all(v_hats)
    options = dict(lr=lr, beta0=betas[0], eps=eps, kept=kept)
    return adai_apply(params, grads, state, v_hats, v_mean, **options)
