"""The maps of Xie et al. 2022 on real pictures, one network at a time.

Stages, tables and statistics are those of `_maps`. A part is one run, so that the end of a slice of
GPU time loses little.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from etalambda.lab.engine.pool import Tick
from etalambda.lab.experiments.parts import Job, Tables
from etalambda.lab.figures.xie2022._maps import ARMS, REPORT, Maps
from etalambda.lab.reproduce import Bench
from etalambda.lab.reproduce.alone import evaluated, trained
from etalambda.lab.reproduce.cells import GUESS, Cell, labels_of
from etalambda.lab.train import TrainConfig


@dataclass(frozen=True, kw_only=True)
class Pictured(Maps):
    """Maps whose ``net`` trains on ``task``, both by the names of `TrainConfig`.

    ``models`` only labels the rows, so that criteria and drawing are those of the digits. The
    ``validation`` pictures that are held out choose lr and λ.
    """

    task: str
    net: str
    batch_size: int = 128
    validation: int = 0
    amp: str = ""

    def jobs(self, bench: Bench, name: str, cells: Sequence[Cell], table: str) -> dict[str, Job]:
        """A part a cell."""
        return {f"{name}.{i}": _job(self, bench, f"{name}.{i}", one, table)
                for i, one in enumerate(cells)}  # fmt: skip


def config(recipe: Pictured, bench: Bench, cell: Cell) -> TrainConfig:
    """One run. The paper decays all parameters.

    Raises:
        ValueError: If the arm is more than an optimizer by its name.
    """
    arm, trial = ARMS[cell.labels["arm"]], cell.trial
    if arm.hyper or arm.untied:
        raise ValueError(f"arm {cell.labels['arm']!r} is not an optimizer of `etalambda train`")
    return TrainConfig(
        task=recipe.task,
        data_dir=str(bench.data or ""),
        model=recipe.net,
        optimizer=arm.optimizer,
        epochs=recipe.epochs,
        batch_size=recipe.batch_size,
        validation=recipe.validation,
        label_noise=recipe.label_noise,
        lr=trial.lr,
        weight_decay=trial.weight_decay,
        decay="all",
        lr_schedule=recipe.shape,
        seed=trial.seed,
        device=bench.device,
        amp=recipe.amp,
        channels_last=bool(recipe.amp),
        monitor_every=10**9,
        evaluate_every=1.0,
    )


def _job(recipe: Pictured, bench: Bench, name: str, cell: Cell, table: str) -> Job:
    def job(tick: Tick) -> Tables:
        result = trained(config(recipe, bench, cell), bench, name, tick)
        labels, last = labels_of([cell]), {k: v[0] for k, v in result.summary.items()}
        lost = bool(last["diverged"]) or not np.isfinite(last["test_error"])
        errors = [GUESS if lost else last[part] for part in ("val_error", "test_error")]
        row = dict(zip(("val", "test"), errors), K=last["K"], norm=last["norm"], diverged=lost)
        tables = {table: labels | {key: np.array([value]) for key, value in row.items()}}
        return tables | ({"curves": _curve(labels, result.metrics)} if table == REPORT else {})

    return job


def _curve(labels: dict[str, Any], metrics: dict[str, Any]) -> dict[str, np.ndarray]:
    """Epoch, test error and training loss of one run, a row an epoch."""
    seen = evaluated(metrics, "test_error", "epoch", "train_loss")
    seen["test"] = seen.pop("test_error")
    repeated = {key: np.repeat(value, len(seen["test"])) for key, value in labels.items()}
    return repeated | seen
