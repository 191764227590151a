"""What the experiments share: which parts are left, rows to columns, and the progress over all."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from etalambda.lab.engine.pool import Tick, run_jobs
from etalambda.lab.records import Run, RunData, open_run, read

Progress = Callable[[float, float, str], Any]
Tables = dict[str, dict[str, np.ndarray]]
Job = Callable[[Tick], Tables]

HYPER: dict[str, dict[str, Any]] = {
    "sgd": dict(momentum=0.9),
    "sgdw": dict(momentum=0.9),
    "sgds": dict(momentum=0.9),
}
"""What the optimizers take beside lr and weight_decay; the Adam family keeps its defaults."""


def record_all(
    run: Run, jobs: Mapping[str, Job], progress: Progress, text: str, device: str = "cpu"
) -> None:
    """Do the jobs whose parts are not recorded yet, and record each as it ends.

    On a GPU one job at a time; on CPUs one a core.
    """
    left = {name: job for name, job in jobs.items() if name not in run.done}
    before, total = len(jobs) - len(left), len(jobs)
    progress(before, total, text)
    workers = None if torch.device(device).type == "cpu" else 1
    done = run_jobs(left, progress=lambda n: progress(before + n, total, text), workers=workers)
    for name, tables in done:
        run.add(name, **tables)


def recorded(
    kind: str, run: Callable[[Any, Run, Progress], None], config: Any, out: Path
) -> RunData:
    """Run an experiment that has no command of its own into ``out``, and return its record.

    With a progress bar; a finished run is read, one that was stopped goes on.
    """
    from etalambda.lab.console import progress_bar

    with open_run(out, asdict(config), kind=kind) as record:
        if not record.finished:
            with progress_bar(kind) as progress:
                run(config, record, progress)
    return read(out)


def rows_of(table: Mapping[str, np.ndarray]) -> Iterator[dict[str, Any]]:
    """A table's rows as dicts of Python's own values: what `columns` was made from.

    >>> list(rows_of({"step": np.array([0, 5]), "K": np.array([1.0, 2.0])}))
    [{'step': 0, 'K': 1.0}, {'step': 5, 'K': 2.0}]
    """
    for values in zip(*(column.tolist() for column in table.values())):
        yield dict(zip(table, values))


def columns(rows: Iterable[Mapping[str, Any]]) -> dict[str, np.ndarray]:
    """Rows of scalars and arrays as columns: scalars are repeated along the arrays of their row.

    >>> columns([{"step": 0, "K": [1.0, 2.0]}, {"step": 5, "K": [3.0, 4.0]}])["step"].tolist()
    [0, 0, 5, 5]
    """
    pieces: dict[str, list[np.ndarray]] = {}
    for row in rows:
        for name, value in zip(row, np.broadcast_arrays(*map(np.asarray, row.values()))):
            pieces.setdefault(name, []).append(np.atleast_1d(value))
    return {name: np.concatenate(values) for name, values in pieces.items()}
