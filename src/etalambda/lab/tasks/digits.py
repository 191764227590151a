"""Handwritten digits: the 1797 images of 8x8 pixels that come with scikit-learn.

600 images train, 400 validate, 797 test; the split is fixed. A share of the training labels is
wrong, drawn once with a fixed seed, as in scraped data; validation and test labels are clean.
(Source of the images: UCI, "Optical Recognition of Handwritten Digits", Alpaydin & Kaynak 1998.)
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor

from etalambda._common import need
from etalambda.lab.engine.trials import Feed, Trial
from etalambda.lab.tasks.passes import permutation, shuffled

SIZES = {"train": 600, "val": 400, "test": 797}


class Digits:
    """The split images, as rows of 64 numbers of mean 0 and variance 1 over the training set.

    Args:
        label_noise: Share of the training labels that are wrong, in [0, 1).
        batch_size: Images a step; the last batch of an epoch may be smaller.
        device: Where the data are kept.

    Attributes:
        x, y: Split name -> images (N, 64) float32 and labels (N,).
        wrong: Which training labels are wrong, (600,) bool.

    Raises:
        ModuleNotFoundError: Without scikit-learn; the message names the extra.
        ValueError: If label_noise is outside [0, 1) or batch_size below 1.

    Example:
        >>> task = Digits(label_noise=0.2)
        >>> {name: tuple(x.shape) for name, x in task.x.items()}, int(task.wrong.sum())
        ({'train': (600, 64), 'val': (400, 64), 'test': (797, 64)}, 120)
    """

    def __init__(
        self,
        label_noise: float = 0.2,
        batch_size: int = 50,
        device: str | torch.device = "cpu",
    ) -> None:
        if not 0 <= label_noise < 1:
            raise ValueError(f"label_noise must lie in [0, 1), got {label_noise}")
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        images, labels = need("sklearn.datasets", "lab").load_digits(return_X_y=True)
        # RandomState: numpy promises that its stream never changes.
        order = np.random.RandomState(0).permutation(len(images))
        cuts = np.cumsum(list(SIZES.values()))[:-1]
        rows = dict(zip(SIZES, np.split(order, cuts)))
        mean, std = images[rows["train"]].mean(), images[rows["train"]].std()
        scaled = torch.tensor((images - mean) / std, dtype=torch.float32, device=device)
        self.x = {name: scaled[torch.from_numpy(r)] for name, r in rows.items()}
        noisy = {name: np.array(labels[r]) for name, r in rows.items()}
        noisy["train"], wrong = mislabelled(noisy["train"], label_noise)
        self.y = {
            name: torch.tensor(y, dtype=torch.long, device=device) for name, y in noisy.items()
        }
        self.wrong = torch.from_numpy(wrong)
        self.batch_size = min(batch_size, SIZES["train"])
        self.steps_per_epoch = -(-SIZES["train"] // self.batch_size)

    def batches(self, trials: Sequence[Trial]) -> Feed:
        """Shuffled batches, in an order that each trial's seed and the epoch decide alone."""
        order = partial(permutation, SIZES["train"])
        x, y = self.x["train"], self.y["train"]
        return shuffled(x, y, trials, self.batch_size, self.steps_per_epoch, order)


def mislabelled(
    labels: np.ndarray, share: float, classes: int = 10
) -> tuple[np.ndarray, np.ndarray]:
    """A fixed share of the labels moved to one of the other classes; and which ones."""
    random = np.random.RandomState(1)
    chosen = random.permutation(len(labels))[: round(share * len(labels))]
    wrong = np.zeros(len(labels), dtype=bool)
    wrong[chosen] = True
    shifts = random.randint(1, classes, size=len(labels))
    return np.where(wrong, (labels + shifts) % classes, labels), wrong


def error(outputs: Tensor, labels: Tensor) -> Tensor:
    """Share of wrong answers, (T, N, 10) and (N,) -> (T,) float64 on the CPU."""
    return (outputs.argmax(-1) != labels).double().mean(-1).cpu()
