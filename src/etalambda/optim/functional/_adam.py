"""Adam with L2, with decoupled and with stable decay (Xie et al. 2022, Algorithms 1, 2, 5, 6)."""

import torch
from torch import Tensor

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


def adam_moments(
    grads: Tensors, state: State, betas: tuple[Number, Number], amsgrad: bool = False
) -> tuple[State, Tensors]:
    """The new moments, and v̂ of every tensor (of the running maximum with ``amsgrad``).

    >>> from etalambda.optim.functional import init
    >>> g = [torch.tensor([1.0, 3.0])]
    >>> state, v_hats = adam_moments(g, init("adam", g), betas=(0.9, 0.999))
    >>> state["exp_avg"], v_hats  # m has no bias correction yet, v̂ has
    ([tensor([0.1000, 0.3000])], [tensor([1., 9.])])
    """
    beta1, beta2 = betas
    new = dict(state, step=advance(state["step"]))
    new["exp_avg"] = like(
        [m + (1 - beta1) * (g - m) for m, g in zip(state["exp_avg"], grads)], grads
    )
    squares = [beta2 * v + (1 - beta2) * (g * g) for v, g in zip(state["exp_avg_sq"], grads)]
    new["exp_avg_sq"] = squares = like(squares, grads)
    if amsgrad:
        peaks = [torch.maximum(a, b) for a, b in zip(state["max_exp_avg_sq"], squares)]
        new["max_exp_avg_sq"] = squares = peaks
    steps = spread(new["step"], len(grads))
    return new, [v / (1 - beta2**s) for v, s in zip(squares, steps)]


def mean_of_all(tensors: Tensors) -> Tensor:
    """The mean over all elements of all tensors, 0-d and at least in float32; 0 of nothing.

    >>> mean_of_all([torch.zeros(3), torch.ones(1)])  # of the elements, not of the tensors
    tensor(0.2500, dtype=torch.float64)
    """
    parts = [t.sum(dtype=torch.promote_types(t.dtype, torch.float32)) for t in tensors]
    count = sum(t.numel() for t in tensors)
    if not count:
        return torch.zeros(())
    home = parts[0].device
    return torch.stack([part.double().to(home) for part in parts]).sum() / count


def kept_fraction(v_mean: Tensor, lr: Number, weight_decay: Number, power: Number) -> Tensor:
    """max(0, 1 - η λ v̄^(-p)), the share of each weight that AdamS keeps (11); 1 where v̄ = 0.

    >>> v_mean = torch.tensor([0.0, 0.25, 4.0])
    >>> kept_fraction(v_mean, 0.1, 0.5, power=0.5)  # larger gradients, weaker decay
    tensor([1.0000, 0.9000, 0.9750])
    """
    safe = torch.where(v_mean > 0, v_mean, 1.0)
    rate = torch.where(v_mean > 0, lr * weight_decay * safe**-power, 0.0)
    return (1 - rate).clamp_min(0)


def adam_apply(
    params: Tensors,
    state: State,
    v_hats: Tensors,
    *,
    lr: Numbers,
    beta1: Number,
    eps: Number,
    kept: Numbers = 1.0,
) -> Tensors:
    """θ ← kept · θ - η m̂ / (√v̂ + ε), from moments that `adam_moments` has updated.

    >>> state = dict(step=1, exp_avg=[torch.tensor([0.1])])  # the first m of the gradient 1
    >>> adam_apply([torch.ones(1)], state, [torch.ones(1)], lr=0.1, beta1=0.9, eps=0.0, kept=0.5)
    [tensor([0.4000])]
    """
    count = len(params)
    lrs, shares, steps = spread(lr, count), spread(kept, count), spread(state["step"], count)
    moved = [
        k * p - (r / (1 - beta1**s)) * (m / (v.sqrt() + eps))
        for p, m, v, r, k, s in zip(params, state["exp_avg"], v_hats, lrs, shares, steps)
    ]
    return like(moved, params)


def adam(
    params: Tensors,
    grads: Tensors,
    state: State,
    *,
    lr: Numbers,
    betas: tuple[Number, Number] = (0.9, 0.999),
    eps: Number = 1e-8,
    weight_decay: Numbers = 0.0,
    amsgrad: bool = False,
) -> Updated:
    """Adam with L2 in the gradient (SWD-A1, SWD-A5). Equals ``torch.optim.Adam``.

    >>> from etalambda.optim.functional import init
    >>> w, g = [torch.ones(2)], [torch.tensor([0.0, 1.0])]
    >>> (moved,), _ = adam(w, g, init("adam", w), lr=0.1, weight_decay=1e-6)
    >>> moved  # L2 that is the whole gradient becomes a step of full size, however small it is
    tensor([0.9010, 0.9000])
    """
    decays = spread(weight_decay, len(params))
    grads = [g + w * p for g, w, p in zip(grads, decays, params)]
    state, v_hats = adam_moments(grads, state, betas, amsgrad)
    return adam_apply(params, state, v_hats, lr=lr, beta1=betas[0], eps=eps), state


def adamw(
    params: Tensors,
    grads: Tensors,
    state: State,
    *,
    lr: Numbers,
    betas: tuple[Number, Number] = (0.9, 0.999),
    eps: Number = 1e-8,
    weight_decay: Numbers = 1e-2,
    amsgrad: bool = False,
) -> Updated:
    """Adam with decoupled decay (SWD-A1, SWD-A5). Equals ``torch.optim.AdamW``.

    >>> from etalambda.optim.functional import init
    >>> w, g = [torch.ones(2)], [torch.tensor([0.0, 1.0])]
    >>> (moved,), _ = adamw(w, g, init("adamw", w), lr=0.1, weight_decay=0.5)
    >>> moved  # the decay 0.1 · 0.5 is the same for both, whatever their gradients
    tensor([0.9500, 0.8500])
    """
    count = len(params)
    kept = [1 - r * w for r, w in zip(spread(lr, count), spread(weight_decay, count))]
    state, v_hats = adam_moments(grads, state, betas, amsgrad)
    return adam_apply(params, state, v_hats, lr=lr, beta1=betas[0], eps=eps, kept=kept), state


def adams(
    params: Tensors,
    grads: Tensors,
    state: State,
    *,
    lr: Numbers,
    betas: tuple[Number, Number] = (0.9, 0.999),
    eps: Number = 1e-8,
    weight_decay: Numbers = 5e-4,
    amsgrad: bool = False,
    power: Number = 0.5,
) -> Updated:
    """Adam with stable decay (SWD-A2; with ``amsgrad`` SWD-A6): AdamW's decay over v̄^power.

    >>> from etalambda.optim.functional import init
    >>> w, g = [torch.ones(2)], [torch.tensor([2.0, 2.0])]
    >>> (moved,), _ = adams(w, g, init("adams", w), lr=0.1, weight_decay=0.5)
    >>> moved  # v̄ = 4 halves the decay: 1 - 0.1 · 0.5 / 2, then the step of 0.1
    tensor([0.8750, 0.8750])
    """
    count = len(params)
    state, v_hats = adam_moments(grads, state, betas, amsgrad)
    v_mean = mean_of_all(v_hats)
    pairs = zip(spread(lr, count), spread(weight_decay, count))
    kept = [kept_fraction(v_mean, r, w, power) for r, w in pairs]
    return adam_apply(params, state, v_hats, lr=lr, beta1=betas[0], eps=eps, kept=kept), state
