"""Networks on digits whose lr and λ a grid chooses, on seeds that report nothing.

The lr falls by a cosine. A row of table ``grid`` has its model, and its optimizer as ``arm``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from etalambda.lab.engine import Trial
from etalambda.lab.experiments.parts import Job
from etalambda.lab.reproduce import Jobs
from etalambda.lab.reproduce.cells import Cell, best_by, choosing, digits_job, rows_where
from etalambda.schedule import cosine
from etalambda.schedule.rule import Rule

PER_EPOCH = 12


@dataclass(frozen=True)
class Tuning:
    """What all networks of an experiment share, and how many seeds choose."""

    epochs: int
    label_noise: float
    choosing: int
    device: str

    @cached_property
    def shape(self) -> Callable[[int], float]:
        """The course of the lr."""
        return cosine(PER_EPOCH * self.epochs)

    def cell(self, model: str, arm: str, seed: int, lr: float, decay: float, **rules: Rule) -> Cell:
        """One network; ``rules`` beside that of the lr."""
        trial = Trial(seed, lr, decay, rules={"lr": self.shape} | rules)
        return Cell({"model": model, "arm": arm}, trial)

    def job(self, model: str, optimizer: str, cells: Sequence[Cell], **options: Any) -> Job:
        """Train the cells together; options as for `digits_job`."""
        options |= dict(epochs=self.epochs, label_noise=self.label_noise, device=self.device)
        return digits_job(cells, model=model, optimizer=optimizer, **options)

    def grid(self, settings: Mapping[tuple[str, str], Iterable[tuple[float, float]]]) -> Jobs:
        """(model, optimizer) -> pairs of lr and λ, as a part each, on the seeds that choose."""
        return {
            f"grid.{model}.{optimizer}": self.job(
                model,
                optimizer,
                [
                    self.cell(model, optimizer, seed, lr, decay)
                    for lr, decay in pairs
                    for seed in choosing(self.choosing)
                ],
                table="grid",
            )
            for (model, optimizer), pairs in settings.items()
        }


def chosen(grid: Mapping[str, np.ndarray], model: str, optimizer: str) -> tuple[float, float]:
    """lr and λ with the lowest mean validation error."""
    at = best_by(rows_where(grid, model=model, arm=optimizer), "lr", "weight_decay")
    return at["lr"], at["weight_decay"]
