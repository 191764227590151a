"""A training run in its folder: rows as they come, one checkpoint, the summary at the end."""

from __future__ import annotations

from pathlib import Path

from etalambda.lab.records import Run
from etalambda.lab.train.checkpoint import Checkpoint, write
from etalambda.lab.train.config import TrainConfig
from etalambda.lab.train.loop import Keep, Progress, Table, fit

CHECKPOINT = "checkpoint.pt"
WEIGHTS = "weights.pt"


def run(
    config: TrainConfig,
    record: Run,
    progress: Progress,
    *,
    every_steps: int = 0,
    every_seconds: float = 60.0,
) -> None:
    """Train into an open record; goes on from the checkpoint that is there.

    Tables ``metrics`` (see `etalambda.lab.train.measure`) and ``summary``, one row: the last errors
    and losses, K, steps, parameters, diverged, seconds, cpu_seconds, memory. The final weights are
    left in ``weights.pt``; the checkpoint is removed.

    Args:
        config: What to train.
        record: An open run folder.
        progress: ``progress(done, total, text)``.
        every_steps: Steps between two checkpoints; 0 leaves it to the clock.
        every_seconds: Seconds between two checkpoints.

    Example:
        >>> from dataclasses import asdict
        >>> from tempfile import TemporaryDirectory
        >>> from etalambda.lab.records import open_run, read
        >>> config = TrainConfig(steps=10)
        >>> with TemporaryDirectory() as folder:
        ...     with open_run(folder, asdict(config), kind="train") as record:
        ...         run(config, record, progress=lambda done, total, text: None)
        ...     found = read(folder)
        >>> found.finished, found.tables["summary"]["steps"]
        (True, array([10]))
    """
    rows = _Recorded(record)
    path = record.folder / CHECKPOINT
    keep = Keep(path, every_steps, every_seconds, saved=rows.add, resumed=rows.begin)
    result = fit(config, keep=keep, progress=progress)
    rows.add(result.metrics)
    record.add("summary", summary=result.summary)
    write(record.folder / WEIGHTS, result.weights)
    record.finish()
    Checkpoint(path).remove()


class _Recorded:
    """The rows of ``metrics`` in the record: those up to the last checkpoint, piece by piece."""

    def __init__(self, record: Run) -> None:
        self.record, self.count = record, 0

    def begin(self, table: Table) -> None:
        """Cut the record back to these rows: what a killed try wrote later is forgotten."""
        for part in sorted(self.record.done):
            self.record.discard(part)
        self.count = 0
        self.add(table)

    def add(self, table: Table) -> None:
        """Record the rows that are not recorded yet."""
        new = {name: values[self.count :] for name, values in table.items()}
        if new["step"]:
            self.record.add(f"rows={new['step'][0]}-{new['step'][-1]}", metrics=new)
            self.count += len(new["step"])


def follow(config: TrainConfig, folder: Path, *, every_steps: int, every_seconds: float) -> None:
    """The part of a rank that writes nothing down, in a run of several processes."""
    fit(config, keep=Keep(Path(folder) / CHECKPOINT, every_steps, every_seconds))


def steps_kept(folder: Path) -> int:
    """How many steps of a run its checkpoint holds; 0 if there is none."""
    return Checkpoint(folder / CHECKPOINT).steps()
