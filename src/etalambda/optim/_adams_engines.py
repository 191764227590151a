"""Four ways to take one step of AdamS, with one result.

v̄ spans the whole model, so a step has three phases, each taken by all parts of the model before
the next: the squared gradient norm (only to clip), the sum of v̂, and the move.

`Pure` runs the rule of `functional`: any layout, under torch.compile, under autograd, on a device
whose values the host must not read. `Foreach` is the same in place, many tensors a launch. `Host`
needs no second pass over v: its sum obeys the recursion of v itself,

    Σv_t = β2 Σv_{t-1} + (1 - β2) Σg_t²                                          (Algorithm 2)

so v̄ costs one read of the gradients, and the decay λ v̄^(-p) goes into torch's fused AdamW
kernel as its weight_decay. `Device` is the fused path for accelerators: Σv_{t-1} and Σg_t² are
reduced on the device and the host never waits.

Departures from the paper: none; the sums of `Host` round differently (1e-7 in float32).
"""

from typing import Any

import torch
from torch import Tensor

from etalambda.optim import functional as F
from etalambda.optim._base import (
    Lists,
    advance_steps,
    as_float,
    host_steps,
    round_back,
    scalar,
    working,
    write_back,
)
from etalambda.optim._fused import (
    BLOCK,
    divided,
    flat,
    rounded,
    sum_of_squares,
)
from etalambda.optim._v_sums import remember, remembered


class Engine:
    """One part of the model: tensors of one group that are updated in one way."""

    def __init__(self, lists: Lists, memory: dict[Tensor, Any], scale: Tensor | None) -> None:
        self.lists, self.group, self.memory, self.scale = lists, lists.group, memory, scale
        self.count = sum(p.numel() for p in lists.weights)

    @property
    def lr(self) -> Any:
        return scalar(self.group["lr"])

    def squares(self) -> Tensor | float:
        """Σg², of the gradients as they would be without GradScaler."""
        wide = [g.to(torch.promote_types(g.dtype, torch.float32)) for g in self.lists.grads]
        return torch.stack([(g * g).sum().double() for g in wide]).sum() / self._scale() ** 2

    def second_moment(self, clip: Tensor | float) -> Tensor | float:
        """Σv̂ after this step's gradient, which is first multiplied by ``clip``."""
        raise NotImplementedError

    def move(self, v_mean: Tensor, found_inf: Tensor | None) -> None:
        """Decay and step."""
        raise NotImplementedError

    def _scale(self) -> Tensor | float:
        return 1.0 if self.scale is None else self.scale

    def _ready_grads(self, clip: Tensor | float) -> list[Tensor]:
        """The gradients unscaled, clipped and turned for ``maximize``; new tensors if changed."""
        factor = clip / self._scale() * (-1 if self.group["maximize"] else 1)
        if isinstance(factor, float | int) and factor == 1:
            return self.lists.grads
        wide = working(self.lists.grads, self.group)  # clipped, they may be too small for float16
        return [(g * factor).to(g.dtype) for g in wide]


class Pure(Engine):
    """The rule of `functional`, then its results copied into the live tensors."""

    def second_moment(self, clip: Tensor | float) -> Tensor:
        group, lists = self.group, self.lists
        self.state: dict[str, Any] = {k: working(v, group) for k, v in lists.buffers.items()}
        self.state["step"] = host_steps(lists)
        self.weights = working(lists.weights, group)
        grads = [g.to(p.dtype) for g, p in zip(self._ready_grads(clip), self.weights)]
        betas = tuple(map(scalar, group["betas"]))
        self.state, self.v_hats = F.adam_moments(grads, self.state, betas, group["amsgrad"])
        return F.mean_of_all(self.v_hats) * self.count

    def move(self, v_mean: Tensor, found_inf: Tensor | None) -> None:
        group, lists = self.group, self.lists
        decay = scalar(group["weight_decay"])
        kept = F.kept_fraction(v_mean, self.lr, decay, group["power"])
        weights = self.weights
        options = dict(lr=self.lr, beta1=scalar(group["betas"][0]), eps=group["eps"])
        shares = [kept.to(p.device) for p in weights]
        moved = F.adam_apply(weights, self.state, self.v_hats, kept=shares, **options)
        write_back(lists, moved, self.state)
        advance_steps(lists)


def _multi_tensor_adams(
    params: list[Tensor],
    exp_avgs: list[Tensor],
    squares: list[Tensor],
    lrs: list[Any],
    corrections2: list[Any],
    *,
    kept: Tensor | float,
    eps: float,
    capturable: bool,
) -> None:
    """θ ← kept · θ - (η / (1 - β1^t)) m / (√v̂ + ε), in place; ``lrs`` holds η / (1 - β1^t)."""
    torch._foreach_mul_(params, kept)  # type: ignore[arg-type]
    denominators = torch._foreach_sqrt(squares)
    torch._foreach_div_(denominators, [c**0.5 for c in corrections2])
    torch._foreach_add_(denominators, eps)
    if capturable:
        moves = torch._foreach_div(exp_avgs, denominators)
        torch._foreach_mul_(moves, lrs)
        torch._foreach_sub_(params, moves)
    else:
        torch._foreach_addcdiv_(params, exp_avgs, denominators, [-r for r in lrs])


class Foreach(Engine):
    """The same in place with torch's foreach operations; half precision on float32 copies."""

    def second_moment(self, clip: Tensor | float) -> Tensor:
        beta1, beta2 = map(as_float, self.group["betas"])
        grads = working(self._ready_grads(clip), self.group)
        buffers = {k: working(v, self.group) for k, v in self.lists.buffers.items()}
        self.buffers = buffers
        advance_steps(self.lists)
        torch._foreach_lerp_(buffers["exp_avg"], grads, 1 - beta1)
        torch._foreach_mul_(buffers["exp_avg_sq"], beta2)
        torch._foreach_addcmul_(buffers["exp_avg_sq"], grads, grads, 1 - beta2)
        self.squares_ = buffers["exp_avg_sq"]
        if self.group["amsgrad"]:
            torch._foreach_maximum_(buffers["max_exp_avg_sq"], self.squares_)
            self.squares_ = buffers["max_exp_avg_sq"]
        steps = host_steps(self.lists)
        self.lrs = [self.lr / (1 - beta1**s) for s in steps]
        self.corrections2 = [1 - beta2**s for s in steps]
        sums = torch._foreach_div(_sums(self.squares_), self.corrections2)
        return torch.stack(list(sums)).sum()

    def move(self, v_mean: Tensor, found_inf: Tensor | None) -> None:
        group, weights = self.group, working(self.lists.weights, self.group)
        decay = scalar(group["weight_decay"])
        kept = F.kept_fraction(v_mean.to(weights[0].device), self.lr, decay, group["power"])
        corrections = self.corrections2
        if group["capturable"]:
            corrections = [c.to(w.dtype) for c, w in zip(corrections, weights)]
            self.lrs = [r.to(w.dtype) for r, w in zip(self.lrs, weights)]
        _multi_tensor_adams(
            weights, self.buffers["exp_avg"], self.squares_, self.lrs, corrections,
            # On an accelerator a number would be a wait.
            kept=float(kept) if weights[0].device.type == "cpu" else kept.to(weights[0].dtype),
            eps=group["eps"], capturable=group["capturable"],
        )  # fmt: skip
        round_back(self.lists, weights, self.buffers)


def _sums(squares: list[Tensor]) -> list[Tensor]:
    """Σv of every tensor in float64; v has no sign, so on an accelerator one 1-norm for all."""
    if squares[0].device.type == "cpu":
        return list(map(_sum, squares))
    wide = torch.promote_types(squares[0].dtype, torch.float32)
    return [s.double() for s in torch._foreach_norm(squares, 1, dtype=wide)]


def _sum(tensor: Tensor) -> Tensor:
    return tensor.sum(dtype=torch.promote_types(tensor.dtype, torch.float32)).double()


class Host(Engine):
    """torch's fused kernel on the CPU, with the decay from the scalar recursion."""

    v_sum: float | None  # None: `Together` keeps it for all parts

    def squares(self) -> float:
        self.norm2 = sum_of_squares(self.lists.grads)
        return self.norm2 / as_float(self._scale()) ** 2

    def second_moment(self, clip: Tensor | float) -> float:
        group, lists = self.group, self.lists
        self.divisor = as_float(self._scale()) / as_float(clip)
        self.step = lists.steps[0].item() + 1  # the same for all: see `alike`
        beta2 = as_float(group["betas"][1])
        keep, take = rounded(beta2, lists.weights[0].dtype)
        take /= self.divisor**2
        if group["amsgrad"]:
            self.v_sum = self._sum_of_largest(keep, take)
        else:
            if not hasattr(self, "norm2"):
                self.squares()
            self.v_sum = (
                keep * remembered(self.memory, lists.params, lists.buffers["exp_avg_sq"])
                + take * self.norm2
            )
        return self.v_sum / (1 - beta2**self.step)

    def _sum_of_largest(self, keep: float, take: float) -> float:
        """Σv of AMSGrad: a maximum obeys no recursion, so v is formed once more, in blocks."""
        buffers, total = self.lists.buffers, 0.0
        columns = (self.lists.grads, buffers["exp_avg_sq"], buffers["max_exp_avg_sq"])
        for row in zip(*columns):
            for g, v, peak in zip(*(flat(t).split(BLOCK) for t in row)):
                g, v, peak = working([g, v, peak], self.group)
                block = torch.mul(v, keep).addcmul_(g, g, value=take)
                total += _sum(torch.maximum(block, peak, out=block)).item()
        return total

    def move(self, v_mean: Tensor, found_inf: Tensor | None) -> None:
        lists, group = self.lists, self.group
        lr, decay = as_float(group["lr"]), as_float(group["weight_decay"])
        mean = float(v_mean)
        decay = decay * mean ** -group["power"] if mean > 0 else 0.0
        if lr * decay > 1:
            decay = 1 / lr
        grads, scale = divided(lists.grads, self.divisor)
        beta1, beta2 = map(as_float, group["betas"])
        step = torch.full((), self.step, dtype=torch.float32)  # as the kernel reads it
        torch._fused_adamw_(
            lists.weights, grads, lists.buffers["exp_avg"], lists.buffers["exp_avg_sq"],
            lists.buffers.get("max_exp_avg_sq", []), [step] * len(lists.weights), lr=lr,
            beta1=beta1, beta2=beta2, weight_decay=decay, eps=group["eps"],
            amsgrad=group["amsgrad"], maximize=group["maximize"], grad_scale=scale,
        )  # fmt: skip
        # Counters are replaced, never changed in place, so tensors of one age share one.
        step = step.to(lists.steps[0].dtype)
        for state in lists.states:
            state["step"] = step
        if not group["amsgrad"] and self.v_sum is not None:
            remember(self.memory, lists.params, lists.buffers["exp_avg_sq"], self.v_sum)
