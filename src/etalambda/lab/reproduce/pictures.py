"""A published picture set in the device's memory, for any number of networks at once.

Normalized by channel, not augmented: every network then sees the same pictures in its own order.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from etalambda.lab.data import DataError, load
from etalambda.lab.data.find import ImageSplits
from etalambda.lab.engine import Trial
from etalambda.lab.engine.trials import Feed
from etalambda.lab.tasks.passes import permutation, shuffled


class PictureSet:
    """Training and test pictures, as `etalambda.lab.tasks.Digits` has them.

    Args:
        name: ``mnist``, ``cifar10``, ... as `etalambda.lab.data.load` knows them.
        data: The folder that holds them.
        images: Training pictures, the first of the set; 0 takes all.
        looks: Pictures of either part that a look evaluates; drawn once.
        batch_size: Pictures a step.
        device: Where they live.

    Attributes:
        x, y: ``train`` and ``test`` -> the pictures of a look, (N, C, H, W), and labels (N,).

    Raises:
        DataError: Without a folder, or if it does not hold the set; the message says the remedy.
    """

    def __init__(
        self,
        name: str,
        data: Path | None,
        *,
        images: int = 0,
        looks: int = 2000,
        batch_size: int = 128,
        device: str | torch.device = "cpu",
    ) -> None:
        if data is None:
            raise DataError(f"{name} is not part of the package; pass --data-dir with its folder")
        found = load(name, data)
        if not isinstance(found, ImageSplits):
            raise DataError(f"{name} holds no pictures")
        train, test = found.train, found.test
        count = images or len(train.labels)
        pictures = torch.from_numpy(train.images[:count]).to(device)
        mean = pictures.double().mean((0, 2, 3), keepdim=True).float()
        std = pictures.double().std((0, 2, 3), keepdim=True).float()
        self._x = (pictures.float() - mean) / std
        self._y = torch.from_numpy(train.labels[:count]).to(device)
        chosen = permutation(len(test.labels), 0, 0)[:looks]
        shown = torch.from_numpy(test.images)[chosen].to(device)
        ours = permutation(count, 0, 0)[:looks].to(device)
        labels = torch.from_numpy(test.labels)[chosen].to(device)
        self.x = {"train": self._x[ours], "test": (shown.float() - mean) / std}
        self.y: dict[str, Tensor] = {"train": self._y[ours], "test": labels}
        self.batch_size, self.steps_per_epoch = batch_size, count // batch_size

    def batches(self, trials: Sequence[Trial]) -> Feed:
        """Shuffled batches, in an order that each trial's seed and the epoch decide alone."""
        rows = len(self._y)

        def order(seed: int, epoch: int) -> Tensor:
            return permutation(rows, seed, epoch)

        return shuffled(self._x, self._y, trials, self.batch_size, self.steps_per_epoch, order)
