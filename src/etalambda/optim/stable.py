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

Departures from the paper: the factor 1 - η λ v̄^(-p) is never below 0 and v̄ = 0 is no decay, as in
`AdamS`; 1[u θ > 0] leaves weights of exactly 0 alone, where decay does nothing in any case.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from etalambda.optim import functional as F
from etalambda.optim._base import as_float


class DecayHook:
    """A decay on hooks of ``optimizer.step``; ``remove()`` gives the decay back."""

    def __init__(self, optimizer: Optimizer) -> None:
        self._optimizer = optimizer
        self._taken: list[Any] | None = None
        self._hooks = [
            optimizer.register_step_pre_hook(self._before),
            optimizer.register_step_post_hook(self._after),
        ]

    def remove(self) -> None:
        """Take the hooks off: the optimizer decays by its own rule again."""
        for hook in self._hooks:
            hook.remove()

    def decays(self) -> list[float]:
        """λ of each group, as a scheduler wrote it."""
        return [as_float(group.get("weight_decay", 0.0)) for group in self._optimizer.param_groups]

    def prepare(self, active: list[tuple[dict[str, Any], list[Tensor], float]]) -> None:
        """Look at the weights before the step."""

    def decay(self, active: list[tuple[dict[str, Any], list[Tensor], float]]) -> None:
        """Decay after the step; one (group, weights with a gradient, λ) a group."""
        raise NotImplementedError

    @torch.no_grad()
    def _before(self, *_: Any) -> None:
        groups = self._optimizer.param_groups
        self._taken = [group.get("weight_decay", 0.0) for group in groups]
        self.prepare(self._active())
        for group in groups:
            if "weight_decay" in group:
                group["weight_decay"] = 0.0

    @torch.no_grad()
    def _after(self, *_: Any) -> None:
        with self._restored():
            self.decay(self._active())

    def _active(self) -> list[tuple[dict[str, Any], list[Tensor], float]]:
        groups = self._optimizer.param_groups
        found = [[p for p in g["params"] if p.grad is not None] for g in groups]
        decays = self._taken if self._taken is not None else self.decays()
        return list(zip(groups, found, map(as_float, decays)))

    @contextmanager
    def _restored(self) -> Iterator[None]:
        try:
            yield
        finally:
            taken, self._taken = self._taken, None
            for group, value in zip(self._optimizer.param_groups, taken or ()):
                if "weight_decay" in group:
                    group["weight_decay"] = value


class _Stable(DecayHook):
    def __init__(self, optimizer: Optimizer, power: float) -> None:
        self._power = power
        super().__init__(optimizer)

    def prepare(self, active: list[tuple[dict[str, Any], list[Tensor], float]]) -> None:
        self._start = [[p.detach().clone() for p in params] for _, params, _ in active]

    def decay(self, active: list[tuple[dict[str, Any], list[Tensor], float]]) -> None:
        """θ - u - (1 - kept) θ_before: equal to decaying first, as eq. (11) has it."""
        v_hats = [v for group, params, _ in active for v in self._v_hats(group, params)]
        v_mean = F.mean_of_all(v_hats)
        for (group, params, decay), starts in zip(active, self._start):
            kept = F.kept_fraction(v_mean, as_float(group["lr"]), decay, self._power)
            for p, start in zip(params, starts):
                p.sub_(start * (1 - kept).to(p.dtype))
        self._start = []

    def _v_hats(self, group: dict[str, Any], params: list[Tensor]) -> Iterator[Tensor]:
        beta2 = as_float(group["betas"][1])
        name = "max_exp_avg_sq" if group.get("amsgrad") else "exp_avg_sq"
        for p in params:
            state = self._optimizer.state[p]
            if name not in state:
                raise ValueError(
                    f"stable_decay needs {name!r} in the optimizer's state, and "
                    f"{type(self._optimizer).__name__} has {sorted(state)}; use SGDS for SGD"
                )
            step = as_float(state.get("step", group.get("step", 1)))
            yield state[name] / (1 - beta2**step)


class _Cautious(DecayHook):
    def prepare(self, active: list[tuple[dict[str, Any], list[Tensor], float]]) -> None:
        decaying = [(params, decay) for _, params, decay in active]
        self._start = [[p.detach().clone() for p in ps] if d else [] for ps, d in decaying]

    def decay(self, active: list[tuple[dict[str, Any], list[Tensor], float]]) -> None:
        for (group, params, decay), starts in zip(active, self._start):
            rate = as_float(group["lr"]) * decay
            for p, start in zip(params, starts):
                agree = (start - p) * start > 0
                p.sub_(start * agree, alpha=rate)
        self._start = []


class _L1(DecayHook):
    def decay(self, active: list[tuple[dict[str, Any], list[Tensor], float]]) -> None:
        for group, params, decay in active:
            threshold = as_float(group["lr"]) * decay
            for p in params:
                p.copy_(torch.nn.functional.softshrink(p, threshold))


def stable_decay(optimizer: Optimizer, power: float = 0.5) -> DecayHook:
    """Stable weight decay on any optimizer whose state has ``exp_avg_sq``.

    Args:
        optimizer: torch's Adam, NAdam, RAdam, or another with ``betas`` and ``exp_avg_sq``. Its
            groups' ``weight_decay`` is λ in the units of `AdamS`.
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
    if not all("betas" in group for group in optimizer.param_groups):
        raise ValueError(
            f"stable_decay needs betas and exp_avg_sq, and {type(optimizer).__name__} has none; "
            "use SGDS for SGD"
        )
    return _Stable(optimizer, power)


def cautious_decay(optimizer: Optimizer) -> DecayHook:
    """Decay only the weights that the step moves towards 0, in any optimizer.

    Args:
        optimizer: Any torch optimizer; its groups' ``weight_decay`` is λ, decoupled.

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
    return _Cautious(optimizer)


def l1_decay(optimizer: Optimizer) -> DecayHook:
    """L1 instead of L2: every weight moves lr · weight_decay towards 0, and stops there.

    Args:
        optimizer: Any torch optimizer; its groups' ``weight_decay`` is λ of λ‖θ‖₁.

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
    return _L1(optimizer)
