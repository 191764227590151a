"""SGD with L2, with decoupled and with stable decay (Xie et al. 2022, Algorithms 7 and 8)."""

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


def _is_zero(step: Number) -> Number:
    """1 at step 0, else 0; a tensor stays one, in float64 so that no digit of a factor is lost."""
    return (step == 0).double() if isinstance(step, Tensor) else float(step == 0)


def _momentum(
    grads: Tensors, state: State, momentum: Number, dampening: float, nesterov: bool
) -> tuple[Tensors, State]:
    """The directions of heavy-ball SGD, and the new state. The first buffer is undampened."""
    if not isinstance(momentum, Tensor) and momentum == 0:
        return grads, dict(state, step=advance(state["step"]))  # torch does not dampen then
    steps = spread(state["step"], len(grads))
    added = grads
    if dampening:
        fresh = [1 - dampening * (1 - _is_zero(s)) for s in steps]
        added = [f * g for f, g in zip(fresh, grads)]
    buffers = [momentum * b + g for b, g in zip(state["momentum_buffer"], added)]
    buffers = like(buffers, grads)
    state = dict(state, step=advance(state["step"]), momentum_buffer=buffers)
    if nesterov:
        return [g + momentum * b for g, b in zip(grads, buffers)], state
    return buffers, state


def sgd(
    params: Tensors,
    grads: Tensors,
    state: State,
    *,
    lr: Numbers,
    momentum: Number = 0.0,
    dampening: float = 0.0,
    weight_decay: Numbers = 0.0,
    nesterov: bool = False,
) -> Updated:
    """SGD with L2: the decay is part of the gradient (SWD-A7). Equals ``torch.optim.SGD``.

    >>> import torch
    >>> from etalambda.optim.functional import init
    >>> w, g = [torch.ones(1)], [torch.zeros(1)]
    >>> state = init("sgd", w)
    >>> for _ in range(2):  # momentum carries L2 too: the second step decays almost twice as much
    ...     w, state = sgd(w, g, state, lr=0.1, momentum=0.9, weight_decay=0.1)
    ...     print(round(w[0].item(), 4))
    0.99
    0.9711
    """
    decays = spread(weight_decay, len(params))
    grads = [g + w * p for g, w, p in zip(grads, decays, params)]
    return sgdw(
        params, grads, state, lr=lr, momentum=momentum, dampening=dampening, nesterov=nesterov
    )


def sgdw(
    params: Tensors,
    grads: Tensors,
    state: State,
    *,
    lr: Numbers,
    momentum: Number = 0.0,
    dampening: float = 0.0,
    weight_decay: Numbers = 0.0,
    nesterov: bool = False,
    decay_factor: Numbers = 1.0,
) -> Updated:
    """SGD with decoupled decay (SWD-A7): θ keeps the share 1 - lr · weight_decay a step.

    ``decay_factor`` multiplies the decay; `sgds` is this rule with its own factor.

    >>> import torch
    >>> from etalambda.optim.functional import init
    >>> w, g = [torch.ones(1)], [torch.zeros(1)]
    >>> state = init("sgdw", w)
    >>> for _ in range(2):  # decoupled: momentum leaves the decay alone
    ...     w, state = sgdw(w, g, state, lr=0.1, momentum=0.9, weight_decay=0.1)
    ...     print(round(w[0].item(), 4))
    0.99
    0.9801
    """
    count = len(params)
    lrs, decays = spread(lr, count), spread(weight_decay, count)
    factors = spread(decay_factor, count)
    directions, state = _momentum(grads, state, momentum, dampening, nesterov)
    moved = [
        _decayed(p, r, w, f) - r * d
        for p, d, r, w, f in zip(params, directions, lrs, decays, factors)
    ]
    return like(moved, params), state


def _decayed(param: Tensor, lr: Number, weight_decay: Number, factor: Number) -> Tensor:
    """(1 - η λ f) θ; θ itself where λ is the number 0, which spares L2 a pass over the weights."""
    if not isinstance(weight_decay, Tensor) and weight_decay == 0:
        return param
    return (1 - lr * weight_decay * factor) * param


def sgds_factor(
    step: Number, momentum: Number, dampening: float, bias_corrected: bool = False
) -> Number:
    """β3 / (1 - β1), the decay of SGDS in units of lr · weight_decay (E22); 1 without momentum.

    With ``bias_corrected`` it is E22's exact β3 (1 - β1^t) / (1 - β1), t the number of this step.

    >>> round(sgds_factor(1, momentum=0.9, dampening=0.0), 9)  # as far as SGD moves
    10.0
    >>> round(sgds_factor(1, momentum=0.9, dampening=0.0, bias_corrected=True), 9)  # at first
    1.0
    """
    if not isinstance(momentum, Tensor) and momentum == 0:
        return 1.0  # then torch's SGD does not dampen the gradient either
    factor = (1 - dampening) / (1 - momentum)
    return factor * (1 - momentum**step) if bias_corrected else factor


def sgds(
    params: Tensors,
    grads: Tensors,
    state: State,
    *,
    lr: Numbers,
    momentum: Number = 0.0,
    dampening: float = 0.0,
    weight_decay: Numbers = 0.0,
    nesterov: bool = False,
    bias_corrected: bool = False,
) -> Updated:
    """SGD with stable decay (SWD-A8): decoupled, in proportion to the step that momentum makes.

    >>> import torch
    >>> from etalambda.optim.functional import init
    >>> w, g = [torch.ones(1)], [torch.zeros(1)]
    >>> options = dict(lr=0.1, momentum=0.9, weight_decay=0.1)
    >>> (moved,), _ = sgds(w, g, init("sgds", w), **options)
    >>> moved  # ten times the decay of `sgdw`, at once
    tensor([0.9000])
    """
    steps = spread(advance(state["step"]), len(params))
    factors = [sgds_factor(s, momentum, dampening, bias_corrected) for s in steps]
    options = dict(lr=lr, momentum=momentum, dampening=dampening, nesterov=nesterov)
    return sgdw(params, grads, state, weight_decay=weight_decay, decay_factor=factors, **options)
