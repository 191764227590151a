"""Decay as a part that composes: stable, cautious, or of L1, on any optimizer of torch's form.

Each is a hook on ``optimizer.step`` and owns the decay of the groups: their ``weight_decay`` is
read as λ, and the optimizer itself sees 0 while it steps.

*Stable decay*, Xie et al. 2022, eq. (11): decay by v̄^(-p), v̄ the mean of v̂, on any optimizer
with ``exp_avg_sq`` (Adam, NAdam, RAdam, Yogi, AdaBound). On ``torch.optim.Adam`` it is AdamS.

*Cautious decay*, Chen et al. 2025, arXiv 2510.12402, Algorithm 1: decay a weight only where the
optimizer moves it towards 0 as well, where the step u and the weight agree in sign:

    θ ← θ - u - η λ 1[u θ > 0] θ

*L1 decay*: θ ← sign(θ) max(|θ| - η λ, 0), the proximal step of λ‖θ‖₁.

    paper   η    λ             u                                   v̄^(-p)
    code    lr   weight_decay  the change that the step makes, -Δθ  power

A complex weight is two real ones to all three, as it is to torch's optimizers: L1 shrinks its real
and its imaginary part, not its modulus.

Departures from the paper: the factor 1 - η λ v̄^(-p) is never below 0 and v̄ = 0 is no decay, as in
`AdamS`; 1[u θ > 0] leaves weights of exactly 0 alone, where decay does nothing in any case.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from etalambda._common import as_optimizers
from etalambda.optim import functional as F
from etalambda.optim._base import as_float
from etalambda.optim.hooks import Active, DecayHook, real_view


class _Stable(DecayHook):
    def __init__(self, optimizers: Optimizer | Iterable[Optimizer], power: float) -> None:
        self._power = power
        super().__init__(optimizers)

    def prepare(self, optimizer: Optimizer, rows: Active) -> None:
        self._start = {p: p.clone() for _, p, _ in self.chosen(rows)}

    def act(self, optimizer: Optimizer, active: Active) -> None:
        """θ - u - (1 - kept) θ_before: equal to decaying first, as eq. (11) has it."""
        v_hats = [v for group, ps, _ in active for v in _v_hats(optimizer, group, ps)]
        v_mean = F.mean_of_all(v_hats)
        for group, p, decay in self.chosen(active):
            kept = F.kept_fraction(v_mean, as_float(group["lr"]), decay, self._power)
            p.sub_(self._start[p] * (1 - kept).to(p.dtype))
        self._start = {}


def _v_hats(
    optimizer: Optimizer, group: dict[str, Any], params: Iterable[Tensor]
) -> Iterator[Tensor]:
    beta2 = as_float(group["betas"][1])
    name = "max_exp_avg_sq" if group.get("amsgrad") else "exp_avg_sq"
    for p in params:
        state = optimizer.state[p]
        if name not in state:
            raise ValueError(
                f"stable_decay needs {name!r} in the optimizer's state, and "
                f"{type(optimizer).__name__} has {sorted(state)}; use SGDS for SGD"
            )
        step = as_float(state.get("step", group.get("step", 1)))
        yield real_view(state[name]) / (1 - beta2**step)


class _Cautious(DecayHook):
    def prepare(self, optimizer: Optimizer, rows: Active) -> None:
        self._start = {p: p.clone() for _, p, _ in self.chosen(rows)}

    def act(self, optimizer: Optimizer, active: Active) -> None:
        for group, p, decay in self.chosen(active):
            start, now = real_view(self._start[p]), real_view(p)
            agree = (start - now) * start > 0
            now.sub_(start * agree, alpha=as_float(group["lr"]) * decay)
        self._start = {}


class _L1(DecayHook):
    def act(self, optimizer: Optimizer, active: Active) -> None:
        for group, p, decay in self.chosen(active):
            now = real_view(p)
            now.copy_(torch.nn.functional.softshrink(now, as_float(group["lr"]) * decay))


def stable_decay(optimizers: Optimizer | Iterable[Optimizer], power: float = 0.5) -> DecayHook:
    """Stable weight decay on any optimizer whose state has ``exp_avg_sq``.

    Args:
        optimizers: torch's Adam, NAdam, RAdam, or another with ``betas`` and ``exp_avg_sq``; of
            several, each has its own v̄. Groups' ``weight_decay`` is λ in the units of `AdamS`.
        power: p in eq. (11).

    Returns:
        A handle with ``remove()``.

    Raises:
        ValueError: For a negative power; at the first step, if there is no ``exp_avg_sq``.

    Source: Xie et al. 2022, eq. (11). Costs a copy of the weights for the time of a step.

    Example:
        >>> w = torch.nn.Parameter(torch.ones(3))
        >>> optimizer = torch.optim.Adam([w], lr=0.1, weight_decay=0.01)
        >>> handle = stable_decay(optimizer)
        >>> (2 * w.sum()).backward()
        >>> optimizer.step()  # v̄ = 4: keep 1 - 0.1 · 0.01 / 2, then step back 0.1
        >>> w.detach()
        tensor([0.8995, 0.8995, 0.8995])
    """
    if not power >= 0:
        raise ValueError(f"power must be at least 0, got {power}")
    for optimizer in (found := as_optimizers(optimizers)):
        if not all("betas" in group for group in optimizer.param_groups):
            raise ValueError(
                f"stable_decay needs betas and exp_avg_sq, and {type(optimizer).__name__} has "
                "none; use SGDS for SGD"
            )
    return _Stable(found, power)


def cautious_decay(optimizers: Optimizer | Iterable[Optimizer]) -> DecayHook:
    """Decay only the weights that the step moves towards 0, in any optimizer.

    Args:
        optimizers: Any torch optimizers; their groups' ``weight_decay`` is λ, decoupled.

    Returns:
        A handle with ``remove()``.

    Source: Chen et al. 2025, arXiv 2510.12402, Algorithm 1. Costs a copy of the weights for the
    time of a step.

    Example:
        >>> w = torch.nn.Parameter(torch.tensor([1.0, -1.0]))
        >>> optimizer = torch.optim.SGD([w], lr=0.1, weight_decay=0.5)
        >>> handle = cautious_decay(optimizer)
        >>> w.grad = torch.ones(2)
        >>> optimizer.step()  # the step moves 1 towards 0, and -1 away from it
        >>> w.detach()
        tensor([ 0.8500, -1.1000])
    """
    return _Cautious(optimizers)


def l1_decay(optimizers: Optimizer | Iterable[Optimizer]) -> DecayHook:
    """L1 instead of L2: every weight moves lr · weight_decay towards 0, and stops there.

    Args:
        optimizers: Any torch optimizers; their groups' ``weight_decay`` is λ of λ‖θ‖₁. Of complex
            weights it is λ Σ (|Re θ| + |Im θ|).

    Returns:
        A handle with ``remove()``.

    Source: Richemond & Guo 2019 compare with L1; the proximal step is Parikh & Boyd 2014, 6.5.2.

    Example:
        >>> w = torch.nn.Parameter(torch.tensor([1.0, 0.01]))
        >>> optimizer = torch.optim.SGD([w], lr=0.1, weight_decay=0.5)
        >>> handle = l1_decay(optimizer)
        >>> w.grad = torch.zeros(2)
        >>> optimizer.step()
        >>> w.detach()
        tensor([0.9500, 0.0000])
    """
    return _L1(optimizers)
