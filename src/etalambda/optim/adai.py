"""Adaptive inertia: Adai with L2, and AdaiS with decoupled decay, which is stable for it.

Xie et al. 2022, *Understanding and Scheduling Weight Decay*: Algorithm 4; the optimizer is of
Xie et al. 2022, *Adaptive Inertia*. Where Adam adapts the step of each weight, Adai adapts its
momentum, by the weight's share of the mean second moment:

    β1 = clip(1 - β0 v̂ / v̄, 0, 1 - ε),   m = β1 m + (1 - β1) g,   m̂ = m / (1 - Πβ1)
    Adai:  g includes λ θ,  θ ← θ - η m̂          AdaiS:  θ ← (1 - η λ) θ - η m̂

The effective learning rate of Adai is constant, so the plain decoupled decay is the stable one.

    paper   η    λ             β0, β2   ε     m_t       v_t          Πβ1
    code    lr   weight_decay  betas    eps   exp_avg   exp_avg_sq   beta1_prod

Departures from the paper: v̄ = 0 counts every v̂ / v̄ as 1, where 0/0 would be NaN.
"""

from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

from etalambda.optim._adai_engines import Blocked, Foreach, Pure
from etalambda.optim._base import HALF, Lists
from etalambda.optim._checks import check_at_least_zero, check_betas, check_lr
from etalambda.optim._fused import alike, dense_together
from etalambda.optim._whole import Whole

_FLAGS: dict[str, Any] = dict(maximize=False, foreach=None, capturable=False, differentiable=False)


class Adai(Whole):
    """Adaptive inertia with L2.

    Args:
        params: Parameters, or param groups, of any shape. v̄ is one mean over all of them.
        lr: η, the step size; of the size of SGD's. A number or a 1-element tensor.
        betas: β0 and β2: the inertia's slope, and the decay rate of the second moment.
        eps: ε, which bounds the inertia by 1 - ε.
        weight_decay: λ, added to the gradient as λ θ.
        process_group: For plain local shards: the ranks that hold the rest.
        maximize: Climb instead of descend.
        foreach: Force or forbid foreach; None takes cache-sized blocks on the CPU.
        capturable: Keep the step on the device, for CUDA graphs.
        differentiable: Let autograd see the step.

    Raises:
        ValueError: For a negative or non-finite argument, or ``fused=True``.
        RuntimeError: For flags that exclude each other, and for sparse gradients.

    Source: Xie et al. 2022, Algorithm 4 (SWD-A4).

    Example:
        >>> w = torch.nn.Parameter(torch.ones(2))
        >>> optimizer = Adai([w], lr=0.1, weight_decay=0.5)
        >>> w.sum().backward()
        >>> optimizer.step()  # the first m̂ is the gradient, here 1 + 0.5
        >>> w.detach()
        tensor([0.8500, 0.8500])
    """

    _OPTIONS: ClassVar[dict[str, Any]] = _FLAGS
    _DECOUPLED: ClassVar[bool] = False

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-3,
        betas: tuple[float | Tensor, float | Tensor] = (0.1, 0.99),
        eps: float = 1e-3,
        weight_decay: float | Tensor = 0,
        *,
        process_group: Any = None,
        maximize: bool = False,
        foreach: bool | None = None,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        if fused:
            raise ValueError(
                f"fused=True got no kernel: torch has none for {type(self).__name__}; leave it "
                "out, the default works in cache-sized blocks"
            )
        check_lr(lr, foreach, capturable)
        check_at_least_zero("epsilon value", eps, "eps")
        check_at_least_zero("weight_decay value", weight_decay, "weight_decay")
        betas = check_betas(betas, foreach, capturable)
        defaults = dict(lr=lr, betas=betas, eps=eps, weight_decay=weight_decay)
        flags = dict(
            maximize=maximize, foreach=foreach, capturable=capturable, differentiable=differentiable
        )
        super().__init__(params, defaults | flags | dict(fused=None))
        self._process_group = process_group

    def _names(self, group: dict[str, Any]) -> tuple[str, ...]:
        return ("exp_avg", "exp_avg_sq", "beta1_prod")

    def _init_state(self, p: Tensor, group: dict[str, Any], state: dict[str, Any]) -> None:
        super()._init_state(p, group, state)
        state["beta1_prod"].fill_(1.0)
        if p.is_complex():  # real and imaginary parts have an inertia each
            torch.view_as_real(state["beta1_prod"]).fill_(1.0)

    def _spent(self) -> dict[Tensor, int]:
        """The buffers Πβ1 that count as 0 from now on: see `_adai_engines`."""
        return self.__dict__.setdefault("_spent_products", {})

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._spent().clear()
        for own in self.state.values():  # a spent Πβ1 was set to 0, so a loaded one is known by it
            product = own.get("beta1_prod")
            if product is not None and product.numel() and not product.any():
                self._spent()[product] = product._version

    def _update(self, active: list[Lists]) -> None:
        parts = [part for lists in self._pieces(active) for part in self._engines(lists)]
        every = self._layouts()
        if not parts and not every:
            return
        v_mean = self._v_mean(parts, every, 1.0)
        for part in parts:
            part.move(v_mean)
        self._keep(v_mean, parts)

    def _engines(self, lists: Lists) -> list[Pure]:
        """Engines for the tensors of one group."""
        if not lists.params:
            return []
        group = lists.group
        pure = torch.compiler.is_compiling() or group["differentiable"]
        far = any(isinstance(b, Tensor) and b.device.type != "cpu" for b in group["betas"])
        if pure or far or group["foreach"] is False:
            return [Pure(lists, self._memory(), self._DECOUPLED)]
        made: list[Pure] = []
        for indices in alike(lists):
            part = lists if len(indices) == len(lists.params) else lists.pick(indices)
            on_cpu = part.weights[0].device.type == "cpu"
            foreach, capturable = group["foreach"], group["capturable"]
            if foreach is None:
                foreach = not on_cpu and (capturable or not isinstance(group["lr"], Tensor))
            # In half precision β0 / v̄ overflows and 1 - ε is 1: the rule computes in float32.
            able = part.weights[0].dtype not in HALF and (foreach or (on_cpu and not capturable))
            fits = able and part.weights[0].is_floating_point() and dense_together(part)
            kind: type[Pure] = (Foreach if foreach else Blocked) if fits else Pure
            made.append(kind(part, self._memory(), self._DECOUPLED, self._spent()))
        return made


class AdaiS(Adai):
    """Adaptive inertia with stable weight decay: θ keeps 1 - lr · weight_decay a step.

    ``weight_decay`` has the scale of L2 in SGD (5e-4 on CIFAR-10).

    Args:
        params, lr, betas, eps, process_group: As `Adai`.
        weight_decay: λ, decoupled.
        flags: ``maximize``, ``foreach``, ``capturable``, ``differentiable`` as `Adai`.

    Raises:
        ValueError: For a negative or non-finite argument, or ``fused=True``.

    Source: Xie et al. 2022, Algorithm 4 (SWD-A4).

    Example:
        >>> w = torch.nn.Parameter(torch.ones(2))
        >>> optimizer = AdaiS([w], lr=0.1, weight_decay=0.5)
        >>> w.sum().backward()
        >>> optimizer.step()  # keep 1 - 0.1 · 0.5, then step back 0.1
        >>> w.detach()
        tensor([0.8500, 0.8500])
    """

    _DECOUPLED: ClassVar[bool] = True

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-3,
        betas: tuple[float | Tensor, float | Tensor] = (0.1, 0.99),
        eps: float = 1e-3,
        weight_decay: float | Tensor = 5e-4,
        **flags: Any,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay, **flags)
