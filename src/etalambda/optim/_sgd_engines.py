"""SGD with decoupled decay in one pass, as SGD with L2 and another momentum.

A step with decay κ (SGDW: λ; SGDS: λ β3 / (1 - β1)) on its own

    b_{t+1} = μ b_t + (1 - d) g_t,     θ_{t+1} = (1 - η_t κ_t) θ_t - η_t b_{t+1}      (SWD-A7, A8)

is a step of torch's L2-SGD on the buffer B_{t+1} = b_{t+1} + κ_t θ_t: θ_{t+1} = θ_t - η_t B_{t+1},
and θ_{t-1} = θ_t + η_{t-1} B_t turns the first line into

    B_{t+1} = μ (1 - η_{t-1} κ_{t-1}) B_t + (1 - d) (g_t + w_t θ_t),
    w_t = (κ_t - μ κ_{t-1}) / (1 - d)

With constant κ and SGDS's factor w = λ: SGDS is L2-SGD but for a relative change ηλ/(1 - μ) of the
momentum. So `Mapped` needs torch's fused kernel and nothing else: no pass over the weights for the
decay. Between steps the buffer holds B; ``state_dict`` turns it back into b. Nesterov's step has
no such form, and d = 1 or weights that hooks change between steps break it: `Plain` decays first.
"""

from operator import is_
from typing import Any

import torch
from torch import Tensor

from etalambda.optim import functional as F
from etalambda.optim._base import (
    Lists,
    advance_steps,
    as_float,
    host_steps,
    one_object,
    scalar,
    working,
    write_back,
)
from etalambda.optim._fused import DTYPE, divided, versions


class Pure:
    """The rule of `functional`: any layout, under torch.compile, under autograd."""

    def __init__(self, lists: Lists, factor: list[Any]) -> None:
        self.lists, self.factor = lists, factor

    def step(self, divisor: float) -> None:
        """Move the weights; the gradients are divided by ``divisor`` first."""
        group, lists = self.lists.group, self.lists
        weights = working(lists.weights, group)
        sign = -1 if group["maximize"] else 1
        grads = lists.grads
        if divisor != 1 or sign != 1:
            grads = [g * (sign / divisor) for g in grads]
        grads = [g.to(p.dtype) for g, p in zip(grads, weights)]
        buffers = lists.buffers.get("momentum_buffer")
        state: dict[str, Any] = dict(step=0, momentum_buffer=[0.0] * len(grads))
        if buffers is not None:
            state = dict(step=host_steps(lists), momentum_buffer=working(buffers, group))
        moved, state = F.sgdw(
            weights, grads, state, lr=scalar(group["lr"]), momentum=group["momentum"],
            dampening=group["dampening"], weight_decay=scalar(group["weight_decay"]),
            nesterov=group["nesterov"], decay_factor=self.factor,
        )  # fmt: skip
        write_back(lists, moved, state)
        advance_steps(lists)


class Foreach:
    """The same in place with torch's foreach operations, for tensors of one age."""

    def __init__(self, lists: Lists, factor: list[Any]) -> None:
        self.lists, self.factor = lists, factor[0]

    def step(self, divisor: float) -> None:
        group, lists = self.lists.group, self.lists
        lr, momentum = as_float(group["lr"]), group["momentum"]
        sign = (-1 if group["maximize"] else 1) / divisor
        grads: Any = lists.grads if sign == 1 else torch._foreach_mul(lists.grads, sign)
        if momentum:
            buffers = lists.buffers["momentum_buffer"]
            first = lists.steps[0].item() == 0
            torch._foreach_mul_(buffers, momentum)
            torch._foreach_add_(buffers, grads, alpha=1 if first else 1 - group["dampening"])
            plain = buffers
            grads = (
                torch._foreach_add(grads, buffers, alpha=momentum) if group["nesterov"] else plain
            )
        torch._foreach_mul_(lists.weights, 1 - lr * as_float(group["weight_decay"]) * self.factor)
        torch._foreach_add_(lists.weights, grads, alpha=-lr)
        advance_steps(lists)


class Plain(Foreach):
    """Decay in a pass of its own, then torch's fused kernel: for what the mapping cannot do."""

    def step(self, divisor: float) -> None:
        group, lists = self.lists.group, self.lists
        kept = 1 - as_float(group["lr"]) * as_float(group["weight_decay"]) * self.factor
        torch._foreach_mul_(lists.weights, kept)
        fused_sgd(lists, divisor, group["momentum"], 0.0)
        advance_steps(lists)


class Mapped(Foreach):
    """One call of torch's fused kernel."""

    def __init__(
        self,
        lists: Lists,
        factor: list[Any],
        memory: dict[Tensor, Any],
        state: dict[Tensor, dict[str, Any]],
    ) -> None:
        super().__init__(lists, factor)
        self.memory, self.state = memory, state

    def step(self, divisor: float) -> None:
        group, lists = self.lists.group, self.lists
        lr, momentum = as_float(group["lr"]), group["momentum"]
        kappa = as_float(group["weight_decay"]) * self.factor
        before = self.memory.get(lists.params[0]) if momentum else None
        effective, carried = (momentum, 0.0)
        if before is not None:
            effective *= 1 - before.lr * before.kappa
            carried = momentum * before.kappa
        decay = kappa - carried
        if momentum and lists.steps[0].item():
            decay /= 1 - group["dampening"]
        fused_sgd(lists, divisor, effective, decay)
        if momentum:
            if before is not None:
                before.refresh(kappa, lr)  # the same tensors: the caller has checked
                if before.lists is not lists:
                    before.gathered(lists, self.state)
            else:
                made = Carried(lists, self.state, kappa, lr)
                for p in lists.params:
                    self.memory[p] = made
        advance_steps(lists)
        lists.grads = []  # `Carried` keeps the lists: not the gradients, which others free


class Carried:
    """What turns the buffers of `Mapped` back: B, κ and η of the step that made them."""

    def __init__(
        self, lists: Lists, state: dict[Tensor, dict[str, Any]], kappa: float, lr: float
    ) -> None:
        self.weights, self.buffers = lists.weights, lists.buffers["momentum_buffer"]
        self.params = lists.params
        self.weight_versions, self.buffer_versions = versions(self.weights), versions(self.buffers)
        self.gathered(lists, state)
        self.refresh(kappa, lr)

    def gathered(self, lists: Lists, state: dict[Tensor, dict[str, Any]]) -> None:
        """Start over with lists that were gathered anew, of the same tensors."""
        self.lists, self.every_state = lists, list(state.values())
        self.contiguous = all(map(Tensor.is_contiguous, self.weights + self.buffers))

    def refresh(self, kappa: float, lr: float) -> None:
        """After one more step on the same tensors; torch's fused kernels count as no write."""
        self.kappa, self.lr = kappa, lr

    def holds(self, lists: Lists) -> bool:
        """Whether exactly these tensors are here again, and nobody wrote to one since."""
        buffers = lists.buffers["momentum_buffer"]
        return (
            len(buffers) == len(self.buffers)
            and all(map(is_, buffers, self.buffers))
            and all(map(is_, lists.params, self.params))
            and versions(lists.weights) == self.weight_versions
            and versions(buffers) == self.buffer_versions
        )

    def again(self, everyone: list[Tensor], state: dict[Tensor, Any]) -> Lists | None:
        """The same lists with new gradients, if nothing else has changed since the last step.

        It asks of a thousand small tensors what takes their kernel as long as the step itself,
        so each question is put once, and to the dict in its order, not tensor by tensor.
        """
        lists = self.lists
        if not (
            self.contiguous
            and len(everyone) == len(self.params)
            and len(state) == len(self.every_state)
            and all(map(is_, everyone, self.params))
            and all(map(is_, state.values(), self.every_state))
            and all(map(is_, [own["momentum_buffer"] for own in lists.states], self.buffers))
            and versions(self.weights) == self.weight_versions
            and versions(self.buffers) == self.buffer_versions
            and one_object(lists.steps)
            and lists.states[0]["step"] is lists.steps[0]
        ):
            return None
        grads: Any = [p.grad for p in everyone]
        if set(map(type, grads)) != {Tensor} or set(map(DTYPE, grads)) != {self.weights[0].dtype}:
            return None
        if not all(map(Tensor.is_contiguous, grads)):  # sparse ones are not
            return None
        lists.grads = grads
        return lists

    def weights_changed(self) -> bool:
        """Whether someone wrote to the weights: then this optimizer does not own them alone."""
        return versions(self.weights) != self.weight_versions

    @torch.no_grad()
    def restore_(self) -> None:
        """B back to b = (1 - ηκ) B - κ θ, for every buffer that is still as the step left it."""
        for b, w, version in zip(self.buffers, self.weights, self.buffer_versions):
            if b._version == version:
                b.mul_(1 - self.lr * self.kappa).sub_(w, alpha=self.kappa)


def fused_sgd(lists: Lists, divisor: float, momentum: float, weight_decay: float) -> None:
    """``torch._fused_sgd_`` on tensors of one age."""
    group = lists.group
    grads, scale = divided(lists.grads, divisor)
    torch._fused_sgd_(
        lists.weights, grads, lists.buffers["momentum_buffer"] if group["momentum"] else [],
        weight_decay=weight_decay, momentum=momentum, lr=as_float(group["lr"]),
        dampening=group["dampening"], nesterov=group["nesterov"], maximize=group["maximize"],
        is_first_step=bool(group["momentum"]) and lists.steps[0].item() == 0, grad_scale=scale,
    )  # fmt: skip
