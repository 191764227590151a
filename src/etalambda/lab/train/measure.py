"""What a row of ``metrics`` holds: one set of columns for every optimizer, model and task.

step, epoch        after how many updates, and passes over the data
K                  Σ lr · weight_decay · gain so far, of the group that decays
lr, weight_decay   of the step just taken, of that group
loss               the training loss of that step's batch, without decay
norm               ‖w‖ of that group, and gradient_norm of its gradient (clipped if it was)
effective_lr       lr / ‖w‖², momentum counted
angle              by how much that step turned the group, in radians
v_mean             v̄ of Adam-like optimizers, else NaN
train_error, ...   error and cross-entropy of each split at an evaluation, else NaN
average_...        the same of the averaged weights (ema, swa)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from etalambda.diagnose import Monitor, angle, effective_lr, weight_norms
from etalambda.diagnose.decay import v_mean
from etalambda.optim import AdamS

SPLITS = ("train", "val", "test")
EVALUATIONS = tuple(
    f"{who}{split}_{what}"
    for who in ("", "average_")
    for split in SPLITS
    for what in ("error", "loss")
)
COLUMNS = (
    "step", "epoch", "K", "lr", "weight_decay", "loss", "norm", "gradient_norm", "effective_lr",
    "angle", "v_mean", *EVALUATIONS,
)  # fmt: skip


class Rows:
    """A `Monitor` of the group that decays; its rows and the evaluations in the columns above.

    Args:
        optimizers: Their last one's steps count.
        due: On which training steps a row is taken.
        loss: The loss of the step just taken, 0-d.
        steps_per_epoch: For the column ``epoch``.
    """

    def __init__(
        self,
        optimizers: list[Optimizer],
        due: Callable[[int], bool],
        loss: Callable[[], Tensor],
        steps_per_epoch: int,
    ) -> None:
        self._due, self._params = due, optimizers[0].param_groups[0]["params"]
        self._steps_per_epoch, self.step = steps_per_epoch, 0
        self._before: list[Tensor] = []
        self._evaluations: dict[int, dict[str, float]] = {}
        optimizers[0].register_step_pre_hook(self._copy)
        self.monitor = Monitor(
            optimizers,
            lambda _: due(self.step + 1),  # a second (M) step is no training step of its own
            train_step=lambda _: self.step + 1,
            lr=lambda o: float(o[0].param_groups[0]["lr"]),
            weight_decay=lambda o: float(o[0].param_groups[0]["weight_decay"]),
            loss=lambda _: loss(),
            norm=lambda o: weight_norms(o)[0],
            gradient_norm=lambda _: self._gradient_norm(),
            effective_lr=lambda o: effective_lr(o)[0],
            angle=lambda _: angle(_flat(self._before), _flat(self._params)),
            v_mean=lambda o: _v_mean(o[0]),
        )

    def _copy(self, *_: Any) -> None:
        """Before a step that a row is taken of: remember the weights."""
        if not self._before and self._due(self.step + 1):
            self._before = [_whole(p).clone() for p in self._params]

    def _gradient_norm(self) -> float:
        grads = [_whole(p.grad).double() for p in self._params if p.grad is not None]
        return float(torch.nn.utils.get_total_norm(grads)) if grads else math.nan

    def advance(self) -> None:
        """A training step is over."""
        self.step += 1
        self._before = []

    def evaluated(self, values: dict[str, float]) -> None:
        """Take note of an evaluation after the present step."""
        self._evaluations[self.step] = values

    def table(self) -> dict[str, list[Any]]:
        """Column -> values, a row a step that was due or evaluated."""
        rows = {int(row["train_step"]): row for row in self.monitor.rows}  # the last of a step's
        both = sorted(rows.keys() | self._evaluations.keys())
        lines = [self._line(step, rows.get(step, {})) for step in both]
        return {name: [line[name] for line in lines] for name in COLUMNS}

    def _line(self, step: int, row: dict[str, Any]) -> dict[str, Any]:
        known = dict(step=step, epoch=step / self._steps_per_epoch, K=row.get("K/0", math.nan))
        seen = self._evaluations.get(step, {})
        return dict.fromkeys(COLUMNS, math.nan) | row | seen | known

    def state_dict(self) -> dict[str, Any]:
        """Plain numbers."""
        return dict(
            step=self.step, monitor=self.monitor.state_dict(), evaluations=dict(self._evaluations)
        )

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on with the rows of a saved run."""
        self.step, self._evaluations = state["step"], dict(state["evaluations"])
        self.monitor.load_state_dict(state["monitor"])


def _v_mean(optimizer: Optimizer) -> float:
    # pytorch_optimizer counts its steps in the group: no v̂ can be read off its state
    ours = isinstance(optimizer, torch.optim.Adam | torch.optim.RAdam | AdamS)
    mean = v_mean(optimizer) if ours else None
    return math.nan if mean is None else mean


def _whole(tensor: Tensor) -> Tensor:
    """The whole of a tensor, sharded or not."""
    full = getattr(tensor, "full_tensor", None)
    return (tensor if full is None else full()).detach()


def _flat(tensors: list[Tensor]) -> Tensor:
    return torch.cat([_whole(t).flatten() for t in tensors])
