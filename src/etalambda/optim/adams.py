"""Adam with stable weight decay: AdamS, and AMSGradS as ``amsgrad=True``.

Xie et al. 2022, *Understanding and Scheduling Weight Decay*: Algorithms 2 and 6, eq. (11).

AdamW shrinks weights at the rate η λ while Adam moves them at the rate η v̂^(-1/2). As v̂
drifts, the minimum of the regularized loss drifts with it, eq. (9). Stable weight decay
scales the decay by one number for the whole model, v̄ = mean(v̂):

    θ_t = (1 - η λ v̄_t^(-p)) θ_{t-1} - η m̂_t / (√v̂_t + ε)                        (11)

p = 0 is AdamW; p = 1/2, the default, follows the size of Adam's own step.

    paper   η    λ             β1, β2   ε     p       m_t       v_t          v̄_t
    code    lr   weight_decay  betas    eps   power   exp_avg   exp_avg_sq   v_mean

Departures from the paper: v̄ = 0 means no decay, so a step on all-zero gradients is a no-op;
and a decay rate above 1, which would flip the sign of every weight, acts as 1.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.optimizer import ParamsT

from etalambda.optim import functional as F


class AdamS(Optimizer):
    r"""Adam whose weight decay follows its own effective learning rate.

    ``weight_decay`` has the scale of L2 in SGD (5e-4 on CIFAR-10), not of AdamW (0.5 there).

    Args:
        params: Parameters, or param groups. v̄ is one mean over all groups.
        lr: η, the step size.
        betas: β1 and β2, the decay rates of the two moments.
        eps: ε, added to √v̂.
        weight_decay: λ. One step removes the share λ · lr / √v̄ of each weight.
        amsgrad: Use the running maximum of v, Algorithm 6.
        power: p in eq. (11). 0 gives AdamW.

    Raises:
        ValueError: For a negative or non-finite argument, or betas outside [0, 1).

    Source: Xie et al. 2022, Algorithm 2 (SWD-A2), eq. (11).

    Example:
        >>> w = torch.nn.Parameter(torch.ones(3))
        >>> optimizer = AdamS([w], lr=0.1, weight_decay=0.01)
        >>> (2 * w.sum()).backward()
        >>> optimizer.step()  # v̄ = 4: keep 1 - 0.1 · 0.01 / 2, then step back 0.1
        >>> w.detach()
        tensor([0.8995, 0.8995, 0.8995])
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 5e-4,
        amsgrad: bool = False,
        *,
        power: float = 0.5,
    ) -> None:
        for name, value in dict(lr=lr, eps=eps, weight_decay=weight_decay, power=power).items():
            if not 0 <= value < float("inf"):
                raise ValueError(f"{name} must be a finite number of at least 0, got {value}")
        if not all(0 <= beta < 1 for beta in betas):
            raise ValueError(f"betas must lie in [0, 1), got {betas}")
        defaults = dict(lr=lr, betas=betas, eps=eps, weight_decay=weight_decay)
        super().__init__(params, defaults | dict(amsgrad=amsgrad, power=power))

    @torch.no_grad()
    def step(self, closure: Callable[[], Tensor] | None = None) -> Tensor | None:  # type: ignore[override]
        """Take one step; ``closure``, if given, recomputes the loss and its gradients."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        active = [self._moments(group) for group in self.param_groups]
        # v̄ spans the whole model, so every v̂ must exist before any weight moves.
        v_mean = F.mean_of_all([v for _, _, v_hats in active for v in v_hats])
        for group, (params, state, v_hats) in zip(self.param_groups, active):
            kept = F.kept_fraction(v_mean, group["lr"], group["weight_decay"], group["power"])
            moved = F.adam_apply(
                params, state, v_hats, lr=group["lr"], beta1=group["betas"][0],
                eps=group["eps"], kept=[kept.to(p) for p in params],
            )  # fmt: skip
            for p, new in zip(params, moved):
                p.copy_(new)
        return loss

    def _moments(self, group: dict[str, Any]) -> tuple[list[Tensor], dict[str, Any], list[Tensor]]:
        """The group's parameters with a gradient, their advanced state and their v̂."""
        params = [p for p in group["params"] if p.grad is not None]
        names = ("step", "exp_avg", "exp_avg_sq", "max_exp_avg_sq")[: 3 + group["amsgrad"]]
        for p in params:
            if not self.state[p]:
                self.state[p]["step"] = torch.tensor(0.0)
                self.state[p].update({name: torch.zeros_like(p) for name in names[1:]})
        state: dict[str, Any] = {name: [self.state[p][name] for p in params] for name in names}
        state["step"] = [s.item() for s in state["step"]]
        grads = [p.grad for p in params if p.grad is not None]
        new, v_hats = F.adam_moments(grads, state, group["betas"], group["amsgrad"])
        for index, p in enumerate(params):
            self.state[p]["step"].fill_(new["step"][index])
            for name in names[1:]:
                self.state[p][name].copy_(new[name][index])
        return params, new, v_hats
