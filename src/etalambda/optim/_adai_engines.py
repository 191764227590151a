"""Adai's step: as the pure rule, and block by block in place on the CPU.

No fused kernel of torch knows Adai, and each tensor operation on its own would go to memory. Taken
in blocks that stay in a core's cache, the same operations cost a third (measured: see
docs/performance.md). Σv obeys the recursion of v, so v̄ costs one read of the gradients. And
Πβ1, a buffer as large as the weights, is spent once it is below half the distance from 1 to the
next smaller number: 1 - Πβ1 is 1 from then on (after 17 320 steps at ε = 1e-3 at the latest, as
β1 <= 1 - ε). Then it is set to 0 and neither read nor written any more.

Departures from the paper: none.
"""

import math
from itertools import repeat
from typing import Any

import torch
from torch import Tensor

from etalambda.optim import functional as F
from etalambda.optim._adams_engines import _sums
from etalambda.optim._base import (
    Lists,
    advance_steps,
    as_float,
    host_steps,
    scalar,
    working,
    write_back,
)
from etalambda.optim._fused import flat, rounded, sum_of_squares
from etalambda.optim._v_sums import remember, remembered

# Elements. Larger blocks mean fewer calls, smaller ones stay nearer to the core: of 2^14 to 2^20
# 2^18 was the fastest where it was measured (1 MB of L2 and 32 MB of L3).
BLOCK = 1 << 18
SPENT_EVERY = 1000  # steps between two looks at whether Πβ1 is spent


class Pure:
    """The rule of `functional`, then its results copied into the live tensors."""

    def __init__(
        self,
        lists: Lists,
        memory: dict[Tensor, Any],
        decoupled: bool,
        spent: dict[Tensor, int] | None = None,
    ) -> None:
        self.lists, self.memory, self.decoupled = lists, memory, decoupled
        self.spent = {} if spent is None else spent  # Πβ1 that count as 0, with their versions
        self.count = sum(p.numel() for p in lists.weights)

    def second_moment(self, clip: Any) -> Tensor | float:
        """Σv̂ after this step's gradient."""
        group, lists = self.lists.group, self.lists
        self.weights = working(lists.weights, group)
        sign = -1 if group["maximize"] else 1
        self.grads = [
            (g if sign == 1 else -g).to(p.dtype) for g, p in zip(lists.grads, self.weights)
        ]
        if not self.decoupled:
            decay = scalar(group["weight_decay"])
            self.grads = [g + decay * p for g, p in zip(self.grads, self.weights)]
        self.state: dict[str, Any] = {k: working(v, group) for k, v in lists.buffers.items()}
        self.state["step"] = host_steps(lists)
        beta2 = scalar(group["betas"][1])
        self.state, self.v_hats = F.adai_moments(self.grads, self.state, beta2)
        return F.mean_of_all(self.v_hats) * self.count

    def move(self, v_mean: Tensor) -> None:
        """Momentum, decay and step."""
        group, lists = self.lists.group, self.lists
        lr = scalar(group["lr"])
        kept = 1 - lr * scalar(group["weight_decay"]) if self.decoupled else 1.0
        moved, state = F.adai_apply(
            self.weights, self.grads, self.state, self.v_hats, v_mean,
            lr=lr, beta0=scalar(group["betas"][0]), eps=group["eps"], kept=kept,
        )  # fmt: skip
        write_back(lists, moved, state)
        advance_steps(lists)


class Blocked(Pure):
    """In place, for dense tensors of one age on the CPU."""

    def second_moment(self, clip: Any) -> float:
        group, lists = self.lists.group, self.lists
        self.step = lists.steps[0].item() + 1
        beta2 = as_float(group["betas"][1])
        self.keep, self.take = rounded(beta2, lists.weights[0].dtype)
        if self.decoupled:
            squares = sum_of_squares(lists.grads)
            before = remembered(self.memory, lists.params, lists.buffers["exp_avg_sq"])
            self.v_sum = self.keep * before + self.take * squares
        else:
            self.v_sum = math.fsum(self._largest_sums())
        self.correction = 1 - beta2**self.step
        return self.v_sum / self.correction

    def _blocks(self) -> Any:
        """(weights, gradient, m, v, Πβ1 or None if it is spent), block by block."""
        buffers = self.lists.buffers
        names = ("exp_avg", "exp_avg_sq", "beta1_prod")
        columns = (self.lists.weights, self.lists.grads, *(buffers[k] for k in names))
        for *row, product in zip(*columns):
            blocks = map(_split, row)
            spent = self.spent.get(product) == product._version
            yield from zip(*blocks, repeat(None) if spent else _split(product))

    def _look_for_spent(self) -> None:
        """Set what is spent to 0, which is what it counts for."""
        for product in self.lists.buffers["beta1_prod"]:
            half = torch.finfo(product.dtype).eps / 4
            known = self.spent.get(product) == product._version
            if not known and product.numel() and product.max() <= half:
                product.zero_()
                self.spent[product] = product._version

    def _gradient(self, p: Tensor, g: Tensor) -> Tensor:
        """The gradient of a block, with L2 and ``maximize``."""
        group = self.lists.group
        if group["maximize"]:
            g = -g
        return g if self.decoupled else torch.add(g, p, alpha=as_float(group["weight_decay"]))

    def _largest_sums(self) -> Any:
        """Σv of each block as it will be: L2 makes g depend on θ, so no recursion helps."""
        for p, g, _, v, _ in self._blocks():
            g = self._gradient(p, g)
            yield torch.mul(v, self.keep).addcmul_(g, g, value=self.take).sum().item()

    def move(self, v_mean: Tensor) -> None:
        group, lists = self.lists.group, self.lists
        lr, eps = as_float(group["lr"]), group["eps"]
        decay = as_float(group["weight_decay"]) if self.decoupled else 0.0
        kept = 1 - lr * decay
        fused = hasattr(torch, "_fused_sgd_")
        mean = float(v_mean) * self.correction
        share = as_float(group["betas"][0]) / mean if mean > 0 else 0.0
        slope = as_float(group["betas"][0])
        one = torch.ones((), dtype=lists.weights[0].dtype)
        scratch = torch.empty(BLOCK, dtype=one.dtype)
        for p, g, m, v, product in self._blocks():
            g = self._gradient(p, g)
            if self.keep:  # in this order: the first pass fetches two arrays at once
                v.addcmul_(g, g, value=self.take / self.keep).mul_(self.keep)
            else:
                torch.mul(g, g, out=v)
            work = scratch if v.numel() == BLOCK else scratch[: v.numel()]
            if mean > 0:
                torch.add(one, v, alpha=-share, out=work).clamp_(0, 1 - eps)
            else:
                work.fill_(max(0.0, min(1 - slope, 1 - eps)))
            torch.lerp(g, m, work, out=m)  # β1 m + (1 - β1) g
            if product is None and fused:
                torch._fused_sgd_(
                    [p], [m], [], weight_decay=decay, momentum=0.0, lr=lr, dampening=0.0,
                    nesterov=False, maximize=False, is_first_step=False,
                )  # fmt: skip
                continue
            if kept != 1:
                p.mul_(kept)
            if product is None:
                p.add_(m, alpha=-lr)
            else:
                torch.sub(product.mul_(work), 1, out=work)
                p.addcdiv_(m, work, value=lr)
        advance_steps(lists)
        if self.step % SPENT_EVERY == 0:
            self._look_for_spent()
        if self.decoupled:
            remember(self.memory, lists.params, lists.buffers["exp_avg_sq"], self.v_sum)


class Foreach(Pure):
    """In place with torch's foreach operations; on an accelerator nothing waits for the host.

    It works with 1 - β1 = clip(β0 v̂ / v̄, ε, 1), which takes fewer passes than β1.
    """

    def second_moment(self, clip: Any) -> Tensor:
        group, lists = self.lists.group, self.lists
        grads: Any = torch._foreach_neg(lists.grads) if group["maximize"] else lists.grads
        if not self.decoupled:
            decay = _number(group["weight_decay"], lists.weights[0].device)
            if isinstance(decay, Tensor):
                terms = torch._foreach_mul(lists.weights, decay.to(lists.weights[0].dtype))
                grads = torch._foreach_add(grads, terms)
            else:
                grads = torch._foreach_add(grads, lists.weights, alpha=decay)
        self.grads = list(grads)
        beta2 = as_float(group["betas"][1])
        advance_steps(lists)
        squares = lists.buffers["exp_avg_sq"]
        torch._foreach_mul_(squares, beta2)
        torch._foreach_addcmul_(squares, self.grads, self.grads, 1 - beta2)
        # v̂ = v / correction; a number if all tensors are of one age and the host knows it.
        steps: list[Any] = host_steps(lists)
        self.correction: Any = None
        if not isinstance(steps[0], Tensor) and len(set(steps)) == 1:
            self.correction = 1 - beta2 ** steps[0]
        elif isinstance(steps[0], Tensor):
            self.correction = 1 - beta2 ** torch.stack(steps)
        sums = torch.stack(_sums(squares))
        if self.correction is None:
            self.correction = [1 - beta2**step for step in steps]
            return torch.stack(torch._foreach_div(list(sums.unbind()), self.correction)).sum()
        return (sums / self.correction).sum()

    def move(self, v_mean: Tensor) -> None:
        group, lists = self.lists.group, self.lists
        buffers, weights = lists.buffers, lists.weights
        home, dtype = weights[0].device, weights[0].dtype
        lr, slope = _number(group["lr"], home), as_float(group["betas"][0])
        v_mean = v_mean.to(home)
        taken = self._scaled(slope / torch.where(v_mean > 0, v_mean, 1.0))
        # Where v̄ = 0, so is every v̂: v̂ / v̄ counts as 1. No number here: the host would wait, as
        # it does without alpha, where torch takes a 0-d tensor for a number.
        floor = torch.where(v_mean > 0, torch.zeros_like(v_mean), slope).to(dtype)
        torch._foreach_add_(taken, floor, alpha=1)
        torch._foreach_clamp_min_(taken, group["eps"])
        torch._foreach_clamp_max_(taken, 1.0)
        torch._foreach_lerp_(buffers["exp_avg"], self.grads, taken)
        torch._foreach_addcmul_(buffers["beta1_prod"], buffers["beta1_prod"], taken, -1)
        below = torch._foreach_sub(buffers["beta1_prod"], 1)
        if self.decoupled:
            kept = 1 - lr * _number(group["weight_decay"], home)
            torch._foreach_mul_(weights, kept.to(dtype) if isinstance(kept, Tensor) else kept)
        if isinstance(lr, Tensor):
            moves = torch._foreach_div(buffers["exp_avg"], below)
            torch._foreach_mul_(moves, lr.to(dtype))
            torch._foreach_add_(weights, moves)
        else:
            torch._foreach_addcdiv_(weights, buffers["exp_avg"], below, lr)

    def _scaled(self, share: Tensor) -> Any:
        """β0 v̂ / v̄ of every tensor, in new ones."""
        squares = self.lists.buffers["exp_avg_sq"]
        if isinstance(self.correction, list):
            squares = torch._foreach_div(squares, self.correction)
        else:
            share = share / self.correction
        share = share.to(squares[0].dtype)
        # A number for each tensor takes a launch for each: ages that only the device knows do.
        return torch._foreach_mul(squares, list(share.unbind()) if share.dim() else share)


def _split(tensor: Tensor) -> tuple[Tensor, ...]:
    """The blocks of a dense tensor, in memory order."""
    if tensor.dim() == 1 and tensor.numel() <= BLOCK:
        return (tensor,)
    return flat(tensor).split(BLOCK)


def _number(value: Any, home: torch.device) -> Any:
    """A hyperparameter as a number, or left where it is on an accelerator."""
    if isinstance(value, Tensor) and "cpu" not in (value.device.type, home.type):
        return value.detach().reshape(()).to(home, torch.float64)
    return as_float(value)
