"""What is learned: a task serves the batches of an epoch and the splits it is judged by.

A batch depends on ``(seed, epoch, number)`` alone, so a resumed run sees what it would have seen.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from etalambda._common import need
from etalambda.lab.data import CIFAR, DataError, Images, ImageSplits, Pictures, Recipe, load
from etalambda.lab.tasks.digits import SIZES, mislabelled
from etalambda.lab.train import names
from etalambda.lab.train.config import TrainConfig

Batch = tuple[Tensor, Tensor]
EVALUATED = 2000
"""Examples of one batch of an evaluation."""
TRAIN_EVALUATED = 10_000
"""At most so many training examples are evaluated: the first of the split, not augmented."""


class Task(Protocol):
    """A task: ``classes`` it tells apart, ``shape`` of one input, ``splits`` to evaluate."""

    classes: int
    shape: tuple[int, ...]
    steps_per_epoch: int
    splits: dict[str, int]

    def epoch(self, seed: int, epoch: int, start: int) -> Iterator[Batch]:
        """The batches of one epoch from number ``start`` on."""
        ...

    def evaluation(self, split: str) -> Iterator[Batch]:
        """The examples of a split in order, as the test sees them."""
        ...


class PictureTask:
    """Pictures to classify, on the device as uint8.

    Args:
        config: Batch size, augmentation, sizes of the splits, label noise.
        train, val, test: The splits; ``val`` may be None.
        classes: How many.
        device: Where they live.
    """

    def __init__(
        self,
        config: TrainConfig,
        train: Images,
        val: Images | None,
        test: Images,
        classes: int,
        device: Any,
    ) -> None:
        labels, self.wrong = mislabelled(train.labels, config.label_noise, classes)
        self.classes, self.shape = classes, train.images.shape[1:]
        home: Any = dict(device=device, dtype=torch.get_default_dtype())
        self.train = Pictures(train.images, labels, **home)
        like: Any = dict(mean=self.train.mean, std=self.train.std, **home)
        self._held = {"test": Pictures(*test, **like)}
        if val is not None:
            self._held = {"val": Pictures(*val, **like)} | self._held
        self.batch_size = min(config.batch_size, len(self.train))
        self.steps_per_epoch = -(-len(self.train) // self.batch_size)
        self.recipe = recipe(config)
        counts = {name: len(pictures) for name, pictures in self._held.items()}
        most = config.evaluate_size or max(counts.values())
        self.splits = {"train": min(len(self.train), config.evaluate_size or TRAIN_EVALUATED)}
        self.splits |= {name: min(count, most) for name, count in counts.items()}

    def epoch(self, seed: int, epoch: int, start: int) -> Iterator[Batch]:
        """Pictures in a random order, augmented."""
        return self.train.epoch(
            batch_size=self.batch_size, seed=seed, epoch=epoch, start=start, recipe=self.recipe
        )

    def evaluation(self, split: str) -> Iterator[Batch]:
        """Pictures in order, normalized."""
        left = self.splits[split]
        for x, y in self._held.get(split, self.train).batches(min(EVALUATED, left)):
            yield x[:left], y[:left]
            left -= len(x)
            if left <= 0:
                return


def recipe(config: TrainConfig) -> Recipe:
    """What is done to a training picture: the papers' recipe for CIFAR unless told otherwise."""
    augmented = config.augment or ("crop-flip" if config.task.startswith("cifar") else "none")
    base = CIFAR if augmented == "crop-flip" else Recipe()
    return Recipe(base.pad, base.flip, config.cutout, config.mixup)


def build_task(config: TrainConfig, device: Any = "cpu") -> Task:
    """The task of a config.

    Raises:
        DataError: If its files are not in ``data_dir``, or are damaged.
        ValueError: If there are fewer examples than the config wants.
    """
    if config.task in names.TEXTS:
        from etalambda.lab.train.texts import TextTask

        return TextTask(config, device)
    if config.task == "digits":
        train, val, test = digits()
        return PictureTask(config, _first(config, train), val, test, 10, device)
    found = _found(config)
    train, val = _held_out(config, found.train)
    return PictureTask(config, _first(config, train), val, found.test, found.classes, device)


def _found(config: TrainConfig) -> ImageSplits:
    if not config.data_dir:
        raise DataError(
            f"task {config.task!r} needs its files: pass their folder as data_dir (--data-dir), or "
            f"fetch them first: etalambda data fetch {config.task}"
        )
    found = load(config.task, config.data_dir)
    assert isinstance(found, ImageSplits)  # a task that is no text
    return found


def digits() -> tuple[Images, Images, Images]:
    """scikit-learn's digits, (1, 8, 8) from 0 to 240, in the split of `lab.tasks.Digits`."""
    rows, labels = need("sklearn.datasets", "lab").load_digits(return_X_y=True)
    images = (rows * 15).astype(np.uint8).reshape(-1, 1, 8, 8)
    order = np.random.RandomState(0).permutation(len(images))
    parts = np.split(order, np.cumsum(list(SIZES.values()))[:-1])
    train, val, test = (Images(images[part], labels[part]) for part in parts)
    return train, val, test


def _held_out(config: TrainConfig, train: Images) -> tuple[Images, Images | None]:
    """The training pictures, less those that validate: always the same ones."""
    count = config.validation
    if not count:
        return train, None
    _check_count("validation", count, len(train.images) - 1)
    order = np.random.RandomState(0).permutation(len(train.images))
    held, kept = np.sort(order[:count]), np.sort(order[count:])
    return _rows(train, kept), _rows(train, held)


def _first(config: TrainConfig, train: Images) -> Images:
    """``train_size`` of the training pictures: always the same ones."""
    if not config.train_size:
        return train
    _check_count("train_size", config.train_size, len(train.images))
    order = np.random.RandomState(2).permutation(len(train.images))
    return _rows(train, np.sort(order[: config.train_size]))


def _rows(images: Images, rows: np.ndarray) -> Images:
    return Images(images.images[rows], images.labels[rows])


def _check_count(name: str, wanted: int, there: int) -> None:
    if wanted > there:
        raise ValueError(f"{name} is {wanted}, but the task has only {there} training examples")
