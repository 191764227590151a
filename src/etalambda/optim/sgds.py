"""SGD with decoupled and with stable weight decay: SGDW and SGDS.

Xie et al. 2022, *Understanding and Scheduling Weight Decay*: Algorithms 7 and 8, eq. (22).

Momentum multiplies what a gradient does in the long run by β3 / (1 - β1); L2 is part of the
gradient and grows with it, decoupled decay (SGDW) does not. Stable decay takes the same factor:

    m_t = β1 m_{t-1} + β3 g_t,     θ_t = (1 - β3 / (1 - β1) · η λ) θ_{t-1} - η m_t        (22)

So SGDS has the minimum of L + (λ/2)‖θ‖² as SGD with L2 has, and λ of the same size; SGDW of
weight decay λ_W has the true rate λ_W (1 - β1) / β3.

    paper   η    λ             β1        β3             m_t
    code    lr   weight_decay  momentum  1 - dampening  momentum_buffer

Departures from the paper: the first buffer is the undampened gradient, as in torch; without
momentum torch does not dampen at all, and then the factor is 1. Eq. (22) prints the exact factor
β3 (1 - β1^t) / (1 - β1); Algorithm 8 simplifies it, and ``bias_corrected=True`` keeps it. On the
default path the first write Δθ by someone else between two steps moves the momentum buffer by κ Δθ
(κ is the factor of η above, λ included); it is noticed at the next step, and from then on the
optimizer takes the two-pass path, which is exact. Hooks on the step choose that path at once.
Writes through ``p.data``, which torch does not count, are never noticed: pass ``fused=True`` then.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

from etalambda.optim import functional as F
from etalambda.optim._base import HALF, Base, Lists, all_plain, as_float, host_steps
from etalambda.optim._checks import check_at_least_zero, check_lr
from etalambda.optim._fused import alike, dense_together
from etalambda.optim._sgd_engines import Carried, Foreach, Mapped, Plain, Pure

_FLAGS: dict[str, Any] = dict(maximize=False, foreach=None, differentiable=False, fused=None)


class SGDW(Base):
    """SGD whose decay is decoupled from gradient and momentum: θ keeps 1 - lr · weight_decay.

    Args:
        params: Parameters, or param groups, of any shape.
        lr: η, the step size; a number or a 1-element tensor.
        momentum: β1.
        dampening: 1 - β3.
        weight_decay: λ_W; a number or a 0-d tensor.
        nesterov: Nesterov's momentum.
        maximize: Climb instead of descend.
        foreach, fused: Force or forbid an implementation; None takes the fastest, which on the CPU
            is one fused pass. Between its steps ``state`` holds momentum buffers in another form;
            ``state_dict()`` has the usual ones.
        differentiable: Let autograd see the step.

    Raises:
        ValueError: For a negative or non-finite argument.
        RuntimeError: For flags that exclude each other, and for sparse gradients.

    Source: Loshchilov & Hutter 2019, Algorithm 1; Xie et al. 2022, Algorithm 7 (SWD-A7).

    Example:
        >>> w = torch.nn.Parameter(torch.ones(2))
        >>> optimizer = SGDW([w], lr=0.1, momentum=0.9, weight_decay=0.5)
        >>> w.sum().backward()
        >>> optimizer.step()  # keep 1 - 0.1 · 0.5, then step back 0.1
        >>> w.detach()
        tensor([0.8500, 0.8500])
    """

    _OPTIONS: ClassVar[dict[str, Any]] = _FLAGS | dict(nesterov=False)

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float | Tensor = 0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        differentiable: bool = False,
        fused: bool | None = None,
        **options: Any,
    ) -> None:
        if options.pop("capturable", False):
            raise ValueError(
                "capturable=True got no counter to keep on the device; pass lr and weight_decay as "
                "tensors with foreach=False to change them in a CUDA graph"
            )
        if unknown := set(options) - set(self._OPTIONS):
            raise TypeError(f"{type(self).__name__} got an unexpected argument {unknown.pop()!r}")
        check_lr(lr)
        check_at_least_zero("momentum value", momentum, "momentum")
        check_at_least_zero("weight_decay value", weight_decay, "weight_decay")
        if nesterov and (momentum <= 0 or dampening != 0):
            raise ValueError("Nesterov momentum requires a momentum and zero dampening")
        if momentum >= 1 and isinstance(self, SGDS):
            raise ValueError(f"Invalid momentum value: {momentum}; SGDS needs momentum below 1")
        defaults = dict(lr=lr, momentum=momentum, dampening=dampening, weight_decay=weight_decay)
        flags = dict(maximize=maximize, foreach=foreach, differentiable=differentiable, fused=fused)
        super().__init__(params, defaults | dict(nesterov=nesterov) | options | flags)

    def _names(self, group: dict[str, Any]) -> tuple[str, ...]:
        return ("momentum_buffer",) if group["momentum"] else ()

    def _new_step(self, p: Tensor, group: dict[str, Any], value: float) -> Tensor:
        # On the host, also with ``fused``: whether a step is the first decides the kernel's call.
        return super()._new_step(p, group, value).cpu()

    def _factors(self, lists: Lists) -> list[Any]:
        """What multiplies λ, one number a tensor."""
        return [1.0] * len(lists.params)

    def _update(self, active: list[Lists]) -> None:
        scale, found_inf = getattr(self, "grad_scale", None), getattr(self, "found_inf", None)
        if found_inf is not None and as_float(found_inf):
            return
        divisor = 1.0 if scale is None else as_float(scale)
        for lists in active:
            if lists.params:
                self._update_group(lists, divisor)

    def _update_group(self, lists: Lists, divisor: float) -> None:
        known = self._memory().get(lists.params[0])
        if known is not None and known.lists is lists:  # from `_again`
            Mapped(lists, self._factors(lists), self._memory(), self.state).step(divisor)
            return
        kind = self._wanted(lists)
        for indices in [range(len(lists.params))] if kind is Pure else alike(lists):
            part = lists if len(indices) == len(lists.params) else lists.pick(indices)
            self._engine(kind if part is lists else self._wanted(part), part).step(divisor)

    def _wanted(self, lists: Lists) -> type[Any]:
        group = lists.group
        if torch.compiler.is_compiling() or group["differentiable"]:
            return Pure
        fused, foreach = group["fused"], group["foreach"]
        if fused is None and foreach is None:
            where, live = lists.weights[0].device.type, isinstance(group["lr"], Tensor)
            fused = where == "cpu" or (where == "cuda" and not live)
            foreach = not fused and not live
        if fused and hasattr(torch, "_fused_sgd_"):
            # Asked for by name, the kernel shows the paper's buffers in `state` at any time.
            return Plain if group["fused"] else Mapped
        return Foreach if foreach or fused else Pure

    def _engine(self, kind: type[Any], part: Lists) -> Any:
        """The engine for tensors that are alike, with the buffers in the form that it needs."""
        fits = part.weights[0].is_floating_point() and dense_together(part)
        # torch 2.13's CPU kernel leaves most half-precision weights where they are.
        still = part.weights[0].dtype in HALF and part.weights[0].device.type == "cpu"
        if kind in (Mapped, Plain) and (still or not fits):
            kind = Pure
        if kind is Foreach and len({t.dtype for t in (*part.weights, *part.grads)}) > 1:
            kind = Pure
        mapped = kind is Mapped and self._may_map(part)
        if part.group["momentum"] and not (mapped and self._carried(part)):
            self._restore(part.params)
        factors = self._factors(part)
        if mapped:
            return Mapped(part, factors, self._memory(), self.state)
        return (Plain if kind is Mapped else kind)(part, factors)

    # --- buffers in the form of `Mapped` ------------------------------------------------------

    def _memory(self) -> dict[Tensor, Carried]:
        return self.__dict__.setdefault("_mapped", {})

    def _may_map(self, part: Lists) -> bool:
        """Whether this optimizer alone writes to its weights, and the mapping exists."""
        group, own = part.group, self.__dict__
        if not group["momentum"]:
            return True
        hooks = own.get("_optimizer_step_post_hooks")
        known = self._memory().get(part.params[0])
        if known is not None and known.weights_changed():
            own["_shared_weights"] = True
        alone = not hooks and "_shared_weights" not in own and all_plain(part.params)
        return alone and not group["nesterov"] and group["dampening"] != 1

    def _again(self, group: dict[str, Any]) -> Lists | None:
        own, everyone = self.__dict__, group["params"]
        known = self._memory().get(everyone[0]) if everyone else None
        if known is None or "_shared_weights" in own or own.get("_optimizer_step_post_hooks"):
            return None
        chosen = group["fused"] is group["foreach"] is None and not group["differentiable"]
        fits = group["momentum"] and not group["nesterov"] and group["dampening"] != 1
        return known.again(everyone, self.state) if chosen and fits else None

    def _carried(self, part: Lists) -> bool:
        known = self._memory().get(part.params[0])
        return known is not None and known.holds(part)

    def _restore(self, params: Sequence[Tensor]) -> None:
        """Give ``params`` the buffers of the paper, and forget how they differed."""
        memory = self._memory()
        for carried in {id(c): c for c in map(memory.get, params) if c is not None}.values():
            carried.restore_()
            for p in carried.params:
                memory.pop(p, None)

    def _restore_all(self) -> None:
        self._restore(list(self._memory()))

    def __getstate__(self) -> dict[str, Any]:
        self._restore_all()
        return super().__getstate__()

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._memory().clear()
        for own in self.state.values():
            if own.get("momentum_buffer", 0) is None:  # as torch saves it before the first step
                own.clear()
            elif own:  # torch's SGD counts no steps: such a buffer counts as old
                own.setdefault("step", torch.tensor(float("inf")))
                own["step"] = own["step"].cpu()

    def state_dict(self) -> dict[str, Any]:
        """torch's state, the momentum buffers in the form of the paper.

        On the fast path the buffers hold another form between steps, and turning them back rounds:
        a run that is saved and one that is resumed go on equally, but a run that is never saved
        differs from both in the last bits. ``fused=True`` keeps the paper's form all the time.
        """
        self._restore_all()
        return super().state_dict()


class SGDS(SGDW):
    """SGD with stable weight decay: it keeps the minimum that L2 has, whatever the momentum.

    ``weight_decay`` has the scale of L2 in torch's SGD (5e-4 on CIFAR-10).

    Args:
        params, lr, momentum, dampening, weight_decay, nesterov: As `SGDW`; momentum below 1.
        bias_corrected: Use eq. (22)'s exact factor β3 (1 - β1^t) / (1 - β1).
        maximize, foreach, fused, differentiable: As `SGDW`.

    Raises:
        ValueError: For a negative or non-finite argument, or momentum of 1 and more.

    Source: Xie et al. 2022, Algorithm 8 (SWD-A8), eq. (22).

    Example:
        >>> w = torch.nn.Parameter(torch.ones(2))
        >>> optimizer = SGDS([w], lr=0.1, momentum=0.9, weight_decay=0.05)
        >>> w.sum().backward()
        >>> optimizer.step()  # keep 1 - 0.1 · 0.05 / (1 - 0.9), then step back 0.1
        >>> w.detach()
        tensor([0.8500, 0.8500])
    """

    _OPTIONS: ClassVar[dict[str, Any]] = SGDW._OPTIONS | dict(bias_corrected=False)

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float | Tensor = 0,
        nesterov: bool = False,
        *,
        bias_corrected: bool = False,
        **flags: Any,
    ) -> None:
        flags["bias_corrected"] = bias_corrected
        super().__init__(params, lr, momentum, dampening, weight_decay, nesterov, **flags)

    def _factors(self, lists: Lists) -> list[Any]:
        group = lists.group
        momentum, dampening = group["momentum"], group["dampening"]
        if not momentum or not group["bias_corrected"]:
            return [F.sgds_factor(1, momentum, dampening)] * len(lists.params)
        steps = [s + 1 for s in host_steps(lists)]
        return [F.sgds_factor(s, momentum, dampening, True) for s in steps]
