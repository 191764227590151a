"""AdamS with a gradient norm that someone else has measured.

The recursion Σv_t = β2 Σv_{t-1} + (1 - β2) Σg_t² needs nothing but the joint norm, as long as all
parts of the model share β2, age and dtype. Then one number for the whole model stands for one a
part, and the step reads nothing twice.
"""

from typing import Any

from torch import Tensor

from etalambda.optim._adams_engines import Host
from etalambda.optim._base import as_float
from etalambda.optim._fused import rounded
from etalambda.optim._v_sums import remember, remembered


class Together(Host):
    """All parts of the model as one, with Σg² from outside."""

    def __init__(self, parts: list[Host], norm: float) -> None:
        self.parts, self.norm2 = parts, norm**2
        first = parts[0]
        self.lists, self.group, self.memory, self.scale = (
            first.lists, first.group, first.memory, first.scale
        )  # fmt: skip
        self.count = sum(part.count for part in parts)
        self.params = [p for part in parts for p in part.lists.params]
        self.sums = [v for part in parts for v in part.lists.buffers["exp_avg_sq"]]

    def squares(self) -> float:
        return self.norm2 / as_float(self._scale()) ** 2

    def second_moment(self, clip: Tensor | float) -> float:
        divisor = as_float(self._scale()) / as_float(clip)
        step = self.lists.steps[0].item() + 1
        for part in self.parts:
            part.divisor, part.step, part.v_sum = divisor, step, None
        beta2 = as_float(self.group["betas"][1])
        keep, take = rounded(beta2, self.lists.weights[0].dtype)
        before = remembered(self.memory, self.params, self.sums)
        self.total = keep * before + take / divisor**2 * self.norm2
        return self.total / (1 - beta2**step)

    def move(self, v_mean: Tensor, found_inf: Tensor | None) -> None:
        for part in self.parts:
            part.move(v_mean, found_inf)
        remember(self.memory, self.params, self.sums, self.total)


def together(parts: list[Any], norm: Any, sharded: bool) -> list[Any]:
    """The parts as one if ``norm`` is all that they lack; else as they are, to measure it."""
    if norm is None or sharded or not all(type(part) is Host for part in parts):
        return parts
    kinds = {
        (
            as_float(part.group["betas"][1]),
            part.group["amsgrad"],
            part.lists.steps[0].item(),
            part.lists.weights[0].dtype,
        )
        for part in parts
    }
    if len(kinds) != 1 or next(iter(kinds))[1]:
        return parts
    return [Together(parts, as_float(norm))]
