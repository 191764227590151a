"""The config of one small network of the many-trials engine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from tyro.conf import arg

from etalambda._common import check_nonnegative, check_positive
from etalambda.lab.configs import MODELS, OPTIMIZERS, TASKS, check_counts, check_known

LR_SCHEDULES = ("constant", "cosine", "linear")
WEIGHT_DECAY_SCHEDULES = ("constant", "cosine", "linear", "coupled")


@dataclass(frozen=True)
class CellConfig:
    """One small network on digits; a sweep trains hundreds of them at once."""

    task: str = "digits"
    """The task: digits (1797 real images; 600 train, 400 validate, 797 test)."""
    model: Annotated[str, arg(metavar="{mlp,cnn}")] = "mlp"
    """The network: mlp, or cnn (small, with BatchNorm)."""
    optimizer: str = "sgd"
    """Who takes the steps: sgd, sgdw, sgds (momentum 0.9), adam, adamw or adams."""
    lr: float = 0.1
    """Peak learning rate."""
    weight_decay: float = 5e-4
    """torch's weight_decay."""
    lr_schedule: str = "cosine"
    """constant, cosine or linear (to 0)."""
    weight_decay_schedule: str = "constant"
    """constant, cosine, linear, or coupled (proportional to the learning rate)."""
    epochs: int = 40
    """Passes over the training images."""
    batch_size: int = 50
    """Images a step."""
    label_noise: float = 0.2
    """Share of the training labels that are wrong, drawn once. Validation and test stay clean."""
    seed: int = 0
    """Of the weights and the data order; equal seeds make paired cells."""
    device: str = "cpu"
    """torch device of the networks, as in cpu or cuda:0."""

    def __post_init__(self) -> None:
        check_known("task", self.task, TASKS)
        check_known("model", self.model, MODELS)
        check_known("optimizer", self.optimizer, OPTIMIZERS)
        check_known("lr_schedule", self.lr_schedule, LR_SCHEDULES)
        check_known("weight_decay_schedule", self.weight_decay_schedule, WEIGHT_DECAY_SCHEDULES)
        check_counts(epochs=self.epochs, batch_size=self.batch_size)
        check_positive(lr=self.lr)
        check_nonnegative(weight_decay=self.weight_decay, seed=self.seed)
        if not 0 <= self.label_noise < 1:
            raise ValueError(f"label_noise must lie in [0, 1), got {self.label_noise}")
