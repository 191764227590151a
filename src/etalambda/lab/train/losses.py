"""The training loss of a config, and what is counted at an evaluation."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from etalambda.lab.train.config import TrainConfig

Loss = Callable[[Tensor, Tensor], Tensor]


def build_loss(config: TrainConfig, classes: int) -> Loss:
    """(outputs, targets) -> mean loss, 0-d. Targets are classes, or shares of them after mixup.

    ``mse`` is the mean over examples of ‖f - onehot‖²/2, and ``halved_by_classes`` multiplies
    either by 1/(2 classes).

    Example:
        >>> loss = build_loss(TrainConfig(loss="mse"), classes=2)
        >>> loss(torch.tensor([[1.0, 1.0]]), torch.tensor([0])).item()
        0.5
    """
    scale = 1 / (2 * classes) if config.halved_by_classes else 1.0

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        outputs, targets = _flat(
            outputs.float() if outputs.dtype.itemsize < 4 else outputs, targets
        )
        if config.loss == "mse":
            wanted = targets if targets.is_floating_point() else F.one_hot(targets, classes)
            value = (outputs - wanted).square().sum(1).mean() / 2
        else:
            value = F.cross_entropy(outputs, targets, label_smoothing=config.label_smoothing)
        return scale * value

    return loss


def _flat(outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Positions of a text are examples like any other."""
    if outputs.dim() == 3:
        return outputs.flatten(0, 1), targets.flatten(0, 1)
    return outputs, targets


def wrong(outputs: Tensor, targets: Tensor) -> Tensor:
    """Which answers are wrong, (N,) bool; after mixup, against the larger share."""
    outputs, targets = _flat(outputs, targets)
    if targets.is_floating_point():
        targets = targets.argmax(1)
    return outputs.argmax(1) != targets


@torch.no_grad()
def evaluate(model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]]) -> tuple[float, float]:
    """Share of wrong answers and mean cross-entropy over all examples; NaN if there is none."""
    count, errors, total = 0, [], []
    for x, y in batches:
        outputs, targets = _flat(model(x).float(), y)
        errors.append(wrong(outputs, targets).sum())
        total.append(F.cross_entropy(outputs, targets, reduction="sum").double())
        count += len(targets)
    if not count:
        return math.nan, math.nan
    return float(torch.stack(errors).sum()) / count, float(torch.stack(total).sum()) / count
