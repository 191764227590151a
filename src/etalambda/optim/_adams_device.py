"""AdamS on an accelerator with torch's fused kernel, and which engine takes which tensors.

No fused kernel reads its weight_decay from the device, so the weights are multiplied by the kept
fraction first, with a factor that never leaves the device; the kernel then runs without decay.
λ, η and the decision to skip a step on overflow all stay live inside a captured CUDA graph.
"""

from typing import Any

import torch
from torch import Tensor

from etalambda.optim import functional as F
from etalambda.optim._adams_engines import Engine, Foreach, Host, Pure, _sums
from etalambda.optim._base import Lists, advance_steps, as_float, scalar, working
from etalambda.optim._fused import alike, dense_together, divided


class Device(Engine):
    """Stock operations only, no wait for the device, and capturable in a CUDA graph."""

    def squares(self) -> Tensor:
        return self._grad_norms().square().sum() / self._scale() ** 2

    def _grad_norms(self) -> Tensor:
        grads = self.lists.grads
        wide = torch.float64 if grads[0].dtype == torch.float64 else torch.float32
        return torch.stack(torch._foreach_norm(grads, 2, dtype=wide)).double()

    def second_moment(self, clip: Tensor | float) -> Tensor:
        lists, group = self.lists, self.group
        self.divisor = self._scale() / clip
        advance_steps(lists)
        beta2 = as_float(group["betas"][1])
        steps = torch.stack(lists.steps).double()
        if group["amsgrad"]:
            sums = torch.stack(_sums(self._largest(beta2)))
        else:
            before = torch.stack(_sums(lists.buffers["exp_avg_sq"]))
            squares = self._grad_norms().square() / self.divisor**2
            sums = beta2 * before + (1 - beta2) * squares
        return (sums / (1 - beta2**steps)).sum()

    def _largest(self, beta2: float) -> list[Tensor]:
        """max(v_max, v) as it will be after this step, in temporaries."""
        grads: Any = working(self.lists.grads, self.group)
        buffers = {k: working(v, self.group) for k, v in self.lists.buffers.items()}
        if not (isinstance(self.divisor, float) and self.divisor == 1):
            grads = [g / self.divisor for g in grads]
        squares = torch._foreach_mul(buffers["exp_avg_sq"], beta2)
        torch._foreach_addcmul_(squares, grads, grads, 1 - beta2)
        torch._foreach_maximum_(squares, buffers["max_exp_avg_sq"])
        return list(squares)

    def move(self, v_mean: Tensor, found_inf: Tensor | None) -> None:
        lists, group = self.lists, self.group
        home = lists.weights[0].device
        decay = scalar(group["weight_decay"])
        kept = F.kept_fraction(v_mean.to(home), self.lr, decay, group["power"])
        if found_inf is not None:
            found_inf = found_inf.to(home)
            kept = torch.where(found_inf.reshape(()) > 0, 1.0, kept)
        torch._foreach_mul_(lists.weights, kept.to(lists.weights[0].dtype))
        grads, scale = divided(lists.grads, self.divisor)
        beta1, beta2 = map(as_float, group["betas"])
        lr = self.lr.to(home) if isinstance(self.lr, Tensor) and home.type != "cpu" else self.lr
        torch._fused_adamw_(
            lists.weights, grads, lists.buffers["exp_avg"], lists.buffers["exp_avg_sq"],
            lists.buffers.get("max_exp_avg_sq", []), lists.steps, lr=lr, beta1=beta1, beta2=beta2,
            weight_decay=0.0, eps=group["eps"], amsgrad=group["amsgrad"],
            maximize=group["maximize"], grad_scale=scale, found_inf=found_inf,
        )  # fmt: skip
        if found_inf is not None:
            for step in lists.steps:
                step.sub_(found_inf.reshape(()))


def engines(lists: Lists, memory: dict[Tensor, Any], scale: Tensor | None = None) -> list[Engine]:
    """The engines that together take all tensors of one group: the fastest one allowed to each."""
    if not lists.params:
        return []
    if _wanted(lists) is Pure:
        return [Pure(lists, memory, scale)]
    made, rest = [], []
    for indices in alike(lists):
        part = lists if len(indices) == len(lists.params) else lists.pick(indices)
        kind = _wanted(part)  # of its own device
        if kind is not Pure and _fits(kind, part):
            made.append(kind(part, memory, scale))
        else:
            rest += indices
    if rest:
        made.append(Pure(lists.pick(sorted(rest)), memory, scale))
    return made


def _wanted(lists: Lists) -> type[Engine]:
    group = lists.group
    if torch.compiler.is_compiling() or group["differentiable"]:
        return Pure
    fused, foreach = group["fused"], group["foreach"]
    if fused is None and foreach is None:
        # torch's own choice on an accelerator; on the CPU foreach is slower than a loop.
        on_cpu = lists.params[0].device.type == "cpu"
        fused = on_cpu and not group["capturable"]
        foreach = not on_cpu and (group["capturable"] or not isinstance(group["lr"], Tensor))
    if fused and hasattr(torch, "_fused_adamw_"):
        on_cpu = lists.params[0].device.type == "cpu"
        return Host if on_cpu and not group["capturable"] else Device
    return Foreach if foreach or fused else Pure


def _fits(kind: type[Engine], lists: Lists) -> bool:
    if kind is Foreach:
        dtype = lists.weights[0].dtype
        return all(g.dtype is dtype for g in lists.grads)
    return lists.weights[0].is_floating_point() and dense_together(lists)
