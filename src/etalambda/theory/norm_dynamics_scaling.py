r"""Runs that are the same run: rescalings of weights, lr and decay that change no direction.

Li, Lyu & Arora 2020, Theorem C.2 and appendices B and C; Xie et al. 2022 for AdamS. The idea: a
scale-invariant loss sees the direction of the weights alone, so a run from c θ_0 with its
hyperparameters moved along gives c θ_t, step for step. With ∇L(cθ) = ∇L(θ)/c,

    SGD, any momentum   (θ, η, λ) -> (cθ, c²η, λ/c²);  c = η^(-1/2) leaves lr 1, decay λ_e    (C.1)
    AdamW, Lion         (θ, η, λ, ε) -> (cθ, cη, λ/c, ε/c)                                  (C.2)
    Adam with L2        (θ, η, λ, ε) -> (cθ, cη, λ/c², ε/c)
    AdamS               (θ, η, λ, ε) -> (cθ, cη, λ/c², ε/c)   at p = ½
    SDE                 constant η, λ ~ no decay and lr η e^(2 λ_e t), W_t = e^(λ_e t) U_t     (B.4)

    paper   θ  η   λ             ε    c       λ_e
    code    -  lr  weight_decay  eps  factor  intrinsic_lr

Departures from the paper: in the proof of Theorem C.2 it is m̂/√v̂, not α m̂/√v̂, that does not
change, and both of its last lines lack a λ. C.1 prints the momentum run's lr as ηλ/(1-γ); it is
η/(1-β). For SGD with decay and schedules step by step see ``schedule.to_exponential_lr``.
"""

from __future__ import annotations

from typing import TypedDict

import torch
from torch import Tensor

from etalambda._common import check_nonnegative, check_positive, unknown
from etalambda.theory._arrays import ArrayLike, nonnegative

# optimizer -> the powers of c on lr, weight_decay and eps
POWERS = {
    "sgd": (2, -2, 0),
    "adamw": (1, -1, -1),
    "lion": (1, -1, 0),
    "adam": (1, -2, -1),
    "adams": (1, -2, -1),
}


class Hyper(TypedDict):
    """What an equivalent run is built with."""

    lr: float
    weight_decay: float
    eps: float


def rescaled(
    optimizer: str, factor: float, *, lr: float, weight_decay: float, eps: float = 0.0
) -> Hyper:
    """The hyperparameters with which a run from ``factor`` · θ_0 gives ``factor`` · θ_t.

    For scale-invariant losses. All constant factors of a schedule come along; with decoupled
    decay (AdamW, Lion) η λ stays, with L2 in SGD it stays, too.

    Args:
        optimizer: "sgd", "adamw", "lion", "adam" (L2) or "adams" (power ½), in any case.
        factor: c > 0.
        lr: η.
        weight_decay: λ.
        eps: ε; where it is above 0 it has to move, too.

    Returns:
        lr, weight_decay and eps of the equivalent run.

    Raises:
        ValueError: If the optimizer is unknown or a number out of range.

    Example:
        >>> rescaled("AdamW", 4.0, lr=1e-3, weight_decay=0.1, eps=1e-8)
        {'lr': 0.004, 'weight_decay': 0.025, 'eps': 2.5e-09}
    """
    if optimizer.lower() not in POWERS:
        raise unknown("optimizer", optimizer, POWERS)
    check_positive(factor=factor)
    check_nonnegative(lr=lr, weight_decay=weight_decay, eps=eps)
    on_lr, on_decay, on_eps = POWERS[optimizer.lower()]
    return Hyper(
        lr=lr * factor**on_lr,
        weight_decay=weight_decay * factor**on_decay,
        eps=eps * factor**on_eps,
    )


def growing_lr(t: ArrayLike, lr: ArrayLike, intrinsic_lr: ArrayLike) -> Tensor:
    """η e^(2 λ_e t): the lr without decay of Lemma B.4's SDE. Steps have (1 - λ_e)^-(2t + 1).

    Args:
        t: Time in steps.
        lr: η of the run with decay.
        intrinsic_lr: λ_e = η λ of it.

    Returns:
        float64, the broadcast shape. The weights of this run are e^(λ_e t) times those with decay.

    Example:
        >>> growing_lr([0.0, 1000.0], 0.1, 1e-3)
        tensor([0.1000, 0.7389], dtype=torch.float64)
    """
    t, lr, rate = nonnegative(t=t, lr=lr, intrinsic_lr=intrinsic_lr)
    return lr * torch.exp(2 * rate * t)
