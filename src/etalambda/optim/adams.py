r"""Adam with stable weight decay: AdamS, and AMSGradS as ``amsgrad=True``.

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

import math
import warnings
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

from etalambda.optim import _adams_plans
from etalambda.optim._adams_device import Device, engines
from etalambda.optim._adams_engines import Engine, _multi_tensor_adams  # noqa: F401
from etalambda.optim._base import FLAGS, Lists, as_float
from etalambda.optim._checks import check_at_least_zero, check_betas, check_lr
from etalambda.optim._shared_norm import together
from etalambda.optim._whole import Whole


class AdamS(Whole):
    r"""Adam whose weight decay follows its own effective learning rate.

    ``weight_decay`` has the scale of L2 in SGD (5e-4 on CIFAR-10), not of AdamW (0.5 there); see
    `equivalent_weight_decay`, and `AdamS.from_adamw` for a run that is under way. State has the
    keys of ``torch.optim.AdamW``. Not the AdamS of arXiv 2505.16363; `AdamSWD` is an alias.

    Args:
        params: Parameters, or param groups, of any shape. v̄ is one mean over all elements of all
            groups that have a gradient at this step, groups at ``weight_decay=0`` included.
        lr: η, the step size; a number or a 1-element tensor.
        betas: β1 and β2, the decay rates of the two moments.
        eps: ε, added to √v̂.
        weight_decay: λ. One step removes the share λ · lr / √v̄ of each weight. A 0-d tensor may
            be filled in place, also between replays of a CUDA graph.
        amsgrad: Use the running maximum of v, Algorithm 6.
        power: p in eq. (11). 0 gives AdamW.
        max_norm: Clip the gradients' joint norm to this, as ``clip_grad_norm_`` before the step,
            at no extra pass. torch's fused kernel then leaves clipped gradients in ``p.grad``.
        process_group: For parameters that are plain local shards (FSDP1, ZeRO): the ranks that
            hold the rest. v̄ is reduced over it. DTensors need none.
        maximize: Climb instead of descend.
        foreach, fused: Force or forbid an implementation; None takes the fastest. On the CPU that
            is torch's fused kernel, on CUDA one of our own (Triton), elsewhere foreach.
        capturable: Keep the step on the device, for CUDA graphs.
        differentiable: Let autograd see the step.

    Raises:
        ValueError: For a negative or non-finite argument, or betas outside [0, 1).
        RuntimeError: For flags that exclude each other, and for sparse gradients.

    Source: Xie et al. 2022, Algorithm 2 (SWD-A2) and 6 (SWD-A6), eq. (11).

    Example:
        >>> w = torch.nn.Parameter(torch.ones(3))
        >>> optimizer = AdamS([w], lr=0.1, weight_decay=0.01)
        >>> (2 * w.sum()).backward()
        >>> optimizer.step()  # v̄ = 4: keep 1 - 0.1 · 0.01 / 2, then step back 0.1
        >>> w.detach()
        tensor([0.8995, 0.8995, 0.8995])
    """

    _OPTIONS: ClassVar[dict[str, Any]] = FLAGS | dict(amsgrad=False, power=0.5, max_norm=None)

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-3,
        betas: tuple[float | Tensor, float | Tensor] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float | Tensor = 5e-4,
        amsgrad: bool = False,
        *,
        power: float = 0.5,
        max_norm: float | None = None,
        process_group: Any = None,
        maximize: bool = False,
        foreach: bool | None = None,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        check_lr(lr, foreach, capturable)
        check_at_least_zero("epsilon value", eps, "eps")
        betas = check_betas(betas, foreach, capturable)
        check_at_least_zero("weight_decay value", weight_decay, "weight_decay")
        check_at_least_zero("power", power, "power")
        if max_norm is not None and not 0 < max_norm < math.inf:
            raise ValueError(f"Invalid max_norm: {max_norm}; it must be above 0, or None")
        flags = dict(
            maximize=maximize, foreach=foreach, capturable=capturable,
            differentiable=differentiable, fused=fused,
        )  # fmt: skip
        defaults = dict(lr=lr, betas=betas, eps=eps, weight_decay=weight_decay, amsgrad=amsgrad)
        super().__init__(params, defaults | dict(power=power, max_norm=max_norm) | flags)
        self._process_group = process_group

    def step(
        self, closure: Callable[[], Any] | None = None, *, grad_norm: float | Tensor | None = None
    ) -> Any:
        """Take one step.

        Args:
            closure: Recomputes the loss and its gradients.
            grad_norm: ‖g‖ over all parameters as ``p.grad`` stands now, if you have it: v̄ then
                costs no pass over the gradients. ``clip_grad_norm_`` returns the norm before it
                clips: pass ``norm.clamp(max=max_norm)``. v̄ is as exact as this number (torch's
                norm of 10M float32 elements on the CPU is off by 6e-4). Where the step needs more
                than the norm (several ages or β2, amsgrad, other paths than the fused CPU one) it
                measures for itself.

        Raises:
            ValueError: For a norm beside a closure, which would change the gradients.
        """
        if grad_norm is not None and closure is not None:
            raise ValueError(
                f"grad_norm={float(grad_norm)} is of gradients that the closure replaces; "
                "pass one of the two"
            )
        if grad_norm is None or torch.compiler.is_compiling():  # there no attribute may be set
            return super().step(closure)
        self._grad_norm = grad_norm
        try:
            return super().step(closure)
        finally:
            self.__dict__.pop("_grad_norm", None)

    def _names(self, group: dict[str, Any]) -> tuple[str, ...]:
        names = ("exp_avg", "exp_avg_sq", "max_exp_avg_sq")
        return names if group["amsgrad"] else names[:2]

    def _standing(self) -> list[Lists] | None:
        return _adams_plans.standing(self)

    def _update(self, active: list[Lists]) -> None:
        scale, found_inf = getattr(self, "grad_scale", None), getattr(self, "found_inf", None)
        plan = _adams_plans.find(self, active)
        if plan is not None:
            self._take_single_pass(plan, active, scale, found_inf)
            return
        parts = [e for lists in self._pieces(active) for e in engines(lists, self._memory(), scale)]
        on_device = any(isinstance(part, Device) for part in parts)
        if found_inf is not None and not on_device and as_float(found_inf):
            return
        every = self._layouts()
        if not parts and not every:
            return
        parts = together(parts, getattr(self, "_grad_norm", None), bool(every))
        clip = self._clip(parts, every)
        v_mean = self._v_mean(parts, every, clip)
        self._settle(v_mean)
        for lists in active:
            if lists.params:
                self._warn_if_clamped(lists.group, v_mean)
        for part in parts:
            part.move(v_mean, found_inf)
        self._keep(v_mean, parts)

    def _take_single_pass(
        self, plan: Any, active: list[Lists], scale: Tensor | None, found_inf: Tensor | None
    ) -> None:
        groups = [lists for lists in active if lists.params]
        on_host = not all(map(_adams_plans.counts_on_device, groups))
        if on_host and found_inf is not None and as_float(found_inf):
            return
        plan.step(groups, scale, found_inf)
        _adams_plans.remember(self, plan, active)
        self._note(plan.v_mean, groups[0].params[0])

    def _clip(self, parts: list[Engine], every: Any) -> Tensor | float:
        """What the gradients are multiplied by, as in ``torch.nn.utils.clip_grad_norm_``."""
        limits = {group["max_norm"] for group in self.param_groups}
        if limits == {None}:
            return 1.0
        if len(limits) > 1:
            raise ValueError(
                f"max_norm must be the same in all groups, got {limits}: one norm is clipped"
            )
        squares, _ = self._total(parts, [(part.squares(), 0.0) for part in parts], every)
        limit = limits.pop()
        if isinstance(squares, Tensor):
            return (limit / (squares.sqrt() + 1e-6)).clamp(max=1.0)
        return min(limit / (math.sqrt(squares) + 1e-6), 1.0) if squares == squares else squares

    def _warn_if_clamped(self, group: dict[str, Any], v_mean: Tensor) -> None:
        """Say once that the decay would flip every weight; never makes the host wait."""
        if torch.compiler.is_compiling() or group["differentiable"] or v_mean.device.type != "cpu":
            return
        lr, decay, mean = as_float(group["lr"]), as_float(group["weight_decay"]), v_mean.item()
        if mean > 0 and lr * decay * mean ** -group["power"] > 1 and "_warned" not in self.__dict__:
            self._warned = True
            warnings.warn(
                f"AdamS: lr · weight_decay / √v̄ = {lr:.3g} · {decay:.3g} / {math.sqrt(mean):.3g} "
                "is above 1, which would flip every weight; the weights are set to 0 instead. "
                "Gradients this small want a smaller weight_decay",
                stacklevel=4,
            )

    # --- state ------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """torch's state, and Σv beside it: see `Whole.state_dict`.

        On the CPU to read it leaves the run as it is. The single pass on CUDA measures Σv anew at a
        save and takes its next step exactly, so that the run and one that is resumed stay equal;
        both differ from a run that was never saved by what the lag leaves out, 1e-7 of the decay.
        """
        for plan in self.__dict__.get("_plans", {}).values():
            plan.reseed()
        return super().state_dict()

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        for plan in self.__dict__.get("_plans", {}).values():
            plan.stale = True  # other moments may lie at the same addresses

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load a state of AdamS, or the moments of Adam or AdamW.

        Groups without ``power`` are not ours: their λ has AdamW's scale, hundreds of times too
        large here. They keep the λ that they have in this optimizer, and a warning names both.
        """
        saved, mine = state_dict.get("param_groups", []), self.param_groups
        foreign = ["power" not in group for group in saved]
        if any(foreign) and len(saved) == len(mine):
            theirs = [group.get("weight_decay") for group in saved]
            ours = [group["weight_decay"] for group in mine]
            groups = [
                {**s, "weight_decay": w} if other else s
                for s, w, other in zip(saved, ours, foreign)
            ]
            for group in groups:
                group.pop("decoupled_weight_decay", None)
            state_dict = {**state_dict, "param_groups": groups}
            if theirs != ours:
                warnings.warn(
                    f"the state was not saved by AdamS: its weight_decay {theirs} is not loaded, "
                    f"{ours} stays. AdamS divides it by √v̄; AdamS.from_adamw converts it",
                    stacklevel=2,
                )
        super().load_state_dict(state_dict)

    # --- to and from AdamW ------------------------------------------------------------------

    @classmethod
    def from_adamw(
        cls, optimizer: torch.optim.Optimizer, *, power: float = 0.5, **options: Any
    ) -> "AdamS":
        """AdamS that goes on where an AdamW run stands, with the same decay at the next step.

        λ becomes λ · v̄^power with v̄ of the state, and at the first step once more with v̄ of
        that step, so this step decays exactly as AdamW's would have. Moments, counters and group
        entries are taken over; the old optimizer is to be dropped.

        Args:
            optimizer: An ``torch.optim.AdamW`` that has taken a step.
            power: p in eq. (11).
            options: Further arguments of AdamS, such as ``max_norm``.

        Raises:
            TypeError: If the optimizer has no decoupled decay (Adam's L2 has no equivalent).
            ValueError: If it has taken no step: then v̄ is unknown.

        Example:
            >>> w = torch.nn.Parameter(torch.ones(3))
            >>> adamw = torch.optim.AdamW([w], lr=0.1, weight_decay=0.5)
            >>> (2 * w.sum()).backward()
            >>> adamw.step()
            >>> round(AdamS.from_adamw(adamw).param_groups[0]["weight_decay"], 6)  # v̄ = 4
            1.0
        """
        from etalambda.optim.convert import adams_from_adamw

        return adams_from_adamw(cls, optimizer, power, options)

    def to_adamw(self) -> torch.optim.AdamW:
        """An AdamW that goes on where this run stands, with λ / v̄^power for the v̄ of now.

        Raises:
            ValueError: If no step was taken: then v̄ is unknown.

        Example:
            >>> w = torch.nn.Parameter(torch.ones(3))
            >>> optimizer = AdamS([w], lr=0.1, weight_decay=1.0)
            >>> (2 * w.sum()).backward()
            >>> optimizer.step()
            >>> round(optimizer.to_adamw().param_groups[0]["weight_decay"], 6)
            0.5
        """
        from etalambda.optim.convert import adamw_from_adams

        return adamw_from_adams(self)

    def _settle(self, v_mean: Tensor) -> None:
        """Finish `from_adamw`: the first step decays by AdamW's own factor."""
        if getattr(self, "_pending", None) is None:
            return
        for group, (decay, provisional) in self.__dict__.pop("_pending"):
            if group["weight_decay"] == provisional and v_mean > 0:
                group["weight_decay"] = decay * float(v_mean) ** group["power"]
