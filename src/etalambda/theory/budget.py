r"""The decay budget: how much decay a step, and a run, applies. One coordinate for every optimizer.

Sources: Li, Lyu & Arora 2020 (intrinsic lr λ_e = ηλ, eq. 2; appendix C for momentum); Loshchilov &
Hutter 2019 (decoupled decay); Xie et al. 2022 (eq. 11, 22); Wang & Aitchison 2024 and Bergsma et
al. 2025 (the timescale τ = 1/(ηλ) of AdamW as a moving average). The idea: whatever the schedule,
pure decay multiplies the weights by Π (1 - r_t) ≈ exp(-K), so two runs have decayed equally when

    K = Σ_t r_t,      r_t = η_t λ_t · gain(optimizer),      τ = 1 / r

and step i still counts, at the end, with the dual coefficient c_i = η_i Π_{j>i} (1 - r_j).

    paper  η   λ             β, μ      β₃             v̄       p      r            K       τ
    code   lr  weight_decay  momentum  1 - dampening  v_mean  power  decay_rates  budget  timescale

How an optimizer applies its ``weight_decay`` is its *form*; ``FORMS`` has one an optimizer:

    plain     w -= η λ w                       gain 1                   AdamW, Lion, Muon, SGDW
    momentum  λ w through the momentum buffer  (1 - dampening)/(1 - μ)  SGD, SGDS
    stable    w -= η λ v̄^(-p) w                v̄^(-p)                   AdamS
    adaptive  λ w divided by √v                not a decay rate: NaN    Adam with L2, RMSprop

Departures from the paper: momentum is counted by its long-run gain, so K runs ahead of the true
shrinkage by the start-up of the buffer, 1/(1 - μ) steps (the exact law is LLA-X2).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from etalambda._common import unknown

ArrayLike = float | Sequence[float] | Tensor

FORMS: dict[str, str] = {
    "sgd": "momentum",
    "sgds": "momentum",
    "sgdw": "plain",
    "adamw": "plain",
    "adai": "plain",  # its momentum is an average, so L2 enters with the gain 1
    "adais": "plain",
    "lion": "plain",
    "muon": "plain",
    "adafactor": "plain",
    "adan": "plain",
    "sgdschedulefree": "plain",
    "adamwschedulefree": "plain",
    "radamschedulefree": "plain",
    "adams": "stable",
    "adam": "adaptive",
    "adamax": "adaptive",
    "adagrad": "adaptive",
    "adadelta": "adaptive",
    "rmsprop": "adaptive",
    "rprop": "adaptive",
    "nadam": "adaptive",
    "radam": "adaptive",
}
"""Optimizer (lower case) -> how it applies ``weight_decay``. NAdam, RAdam and Adam become "plain"
with ``decoupled_weight_decay=True``."""


def form(optimizer: str, *, decoupled: bool = False) -> str:
    """How an optimizer applies decay: "plain", "momentum", "stable" or "adaptive".

    Args:
        optimizer: Its name, as its class is called; case, ``8bit`` and ``fused`` do not matter.
        decoupled: Torch's ``decoupled_weight_decay``: it turns an adaptive form into a plain one.

    Raises:
        ValueError: If the optimizer is not known; the message names the nearest known one.

    Example:
        >>> form("AdamW8bit"), form("RAdam"), form("RAdam", decoupled=True)
        ('plain', 'adaptive', 'plain')
    """
    name = re.sub(r"[^a-z]", "", re.sub(r"8bit|32bit|4bit|fp8|fused|paged", "", optimizer.lower()))
    if name not in FORMS:
        raise unknown("optimizer", optimizer, FORMS)
    return "plain" if decoupled and FORMS[name] == "adaptive" else FORMS[name]


def gain(
    form: str,
    *,
    momentum: float = 0.0,
    dampening: float = 0.0,
    v_mean: float | None = None,
    power: float = 0.5,
) -> float:
    """What multiplies η λ to give the decay rate of one step. NaN where there is no such rate.

    Args:
        form: One of the four forms of ``FORMS``.
        momentum: μ of SGD. torch ignores ``dampening`` where it is 0, and so does this.
        dampening: Of SGD; LLA appendix C and Xie et al. eq. (22).
        v_mean: v̄ of AdamS, the mean of v̂. Unknown (NaN) before the first step.
        power: p of AdamS, eq. (11).

    Raises:
        ValueError: If ``momentum`` or ``dampening`` lies outside [0, 1) or [0, 1].

    Example:
        >>> round(gain("momentum", momentum=0.9), 9), round(gain("stable", v_mean=1e-4), 9)
        (10.0, 100.0)
    """
    if not 0 <= momentum < 1:
        raise ValueError(f"momentum must lie in [0, 1), got {momentum}; 0.9 is usual")
    if not 0 <= dampening <= 1:
        raise ValueError(f"dampening must lie in [0, 1], got {dampening}; 0 is torch's default")
    if form == "momentum":
        return (1 - dampening) / (1 - momentum) if momentum else 1.0  # LLA C.1
    if form == "stable":
        if v_mean is None:
            return float("nan")
        return v_mean**-power if v_mean > 0 else 0.0  # (11); no gradient yet, no decay
    if form == "adaptive":
        return float("nan")
    if form == "plain":
        return 1.0
    raise unknown("form", form, ("plain", "momentum", "stable", "adaptive"))


def decay_rates(
    lrs: ArrayLike,
    weight_decays: ArrayLike,
    optimizer: str = "adamw",
    *,
    momentum: float = 0.0,
    dampening: float = 0.0,
    v_mean: float | None = None,
    power: float = 0.5,
    decoupled: bool = False,
) -> Tensor:
    """r_t: the share of each weight that a step removes. float64, shapes broadcast.

    λ = 0 is the rate 0 whatever the optimizer; L2 in an adaptive optimizer has no rate (NaN).

    Raises:
        ValueError: If an lr or weight decay is negative or not finite, or a name is unknown.

    Example:
        >>> decay_rates(0.1, 5e-4, "sgd", momentum=0.9)
        tensor(0.0005, dtype=torch.float64)
    """
    eta, lam = _array("lrs", lrs), _array("weight_decays", weight_decays)
    one = gain(
        form(optimizer, decoupled=decoupled),
        momentum=momentum,
        dampening=dampening,
        v_mean=v_mean,
        power=power,
    )
    return torch.where(lam == 0, 0.0, eta * lam * one)


def budget(rates: ArrayLike) -> Tensor:
    """K = Σ r_t over the last axis.

    Example:
        >>> budget([0.001] * 2000)
        tensor(2.0000, dtype=torch.float64)
    """
    return _array("rates", rates, allow_nan=True).sum(-1)


def shrink(rates: ArrayLike) -> Tensor:
    """1 - Π (1 - r_t): the share of the starting weights that decay alone would remove.

    About 1 - exp(-K). A rate above 1 empties the weight (it is counted as 1).

    Example:
        >>> shrink([0.5, 0.5])
        tensor(0.7500, dtype=torch.float64)
    """
    rates = _array("rates", rates, allow_nan=True)
    return 1 - (1 - rates.clamp(max=1)).prod(-1)


def timescale(rate: ArrayLike) -> Tensor:
    """τ = 1/r in steps: after τ steps a weight has shrunk by e, and a gradient is that old.

    Wang & Aitchison 2024, eq. 3. Infinite at r = 0.

    Example:
        >>> timescale([1e-3, 0.0])
        tensor([1000., inf], dtype=torch.float64)
    """
    return 1 / _array("rate", rate, allow_nan=True)


def dual_coefficients(lrs: ArrayLike, rates: ArrayLike) -> Tensor:
    """c_i = η_i Π_{j>i} (1 - r_j): how much the update of step i still counts at the end.

    The final weights are Π (1 - r_j) w_0 - Σ c_i u_i, exactly, for updates u_i of a decoupled
    optimizer (Defazio et al. 2023 for r = 0). For SGD with momentum pass η/(1 - μ) as ``lrs``.

    Returns:
        float64, the shape of ``rates``.

    Example:
        >>> dual_coefficients([1.0, 1.0, 1.0], [0.5, 0.5, 0.5])
        tensor([0.2500, 0.5000, 1.0000], dtype=torch.float64)
    """
    eta, r = torch.broadcast_tensors(_array("lrs", lrs), _array("rates", rates, allow_nan=True))
    later = torch.cat([1 - r[..., 1:], torch.ones_like(r[..., :1])], -1)
    return eta * later.flip(-1).cumprod(-1).flip(-1)


def _array(name: str, values: ArrayLike | Iterable[float], *, allow_nan: bool = False) -> Tensor:
    found = torch.as_tensor(values, dtype=torch.float64)
    bad = (found < 0) | torch.isinf(found) | (torch.isnan(found) & (not allow_nan))
    if bad.any():
        value = found[bad].flatten()[0].item()
        raise ValueError(f"{name} must be finite and at least 0, got {value}")
    return found
