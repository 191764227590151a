"""A whole sweep: fill the queue, call workers, watch until all is done."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from etalambda.lab.records.files import read_json, write_text
from etalambda.lab.results import CELLS
from etalambda.lab.sweep.clusters import ray_tasks, slurm_jobs
from etalambda.lab.sweep.counts import Counts
from etalambda.lab.sweep.local import Job, crew
from etalambda.lab.sweep.plan import Plan
from etalambda.lab.sweep.queue import Queue
from etalambda.lab.sweep.space import mark_of
from etalambda.lab.sweep.storage import sqlite_url, storage_of
from etalambda.lab.sweep.work import best_of

ENGINES: dict[str, Callable[[Job, int, Mapping[str, str]], AbstractContextManager[Any]]] = {
    "local": lambda job, size, options: crew(job, size),
    "ray": ray_tasks,
    "slurm": slurm_jobs,
    "none": lambda job, size, options: nullcontext(None),
}
Progress = Callable[[float, float, str], Any]
PLAN = "sweep.json"  # in the sweep's folder: what was asked, for reports
LOOK = 0.5  # seconds between two looks at the queue


def run_sweep(
    plan: Plan,
    out: Path,
    *,
    storage: str = "",
    study: str = "",
    workers: int = 1,
    engine: str = "local",
    options: Mapping[str, str] | None = None,
    heartbeat: int = 60,
    progress: Progress = lambda done, total, text: None,
) -> Counts:
    """Train every cell of a plan that is not finished; the counts at the end.

    Args:
        plan: What to train.
        out: Folder of the sweep; its cells are run folders in ``cells``.
        storage: Address of the queue; empty is SQLite in the folder.
        study: Name of the queue; empty is the folder's name.
        workers: How many at a time, of this engine.
        engine: ``local``, ``ray``, ``slurm``, or ``none``: fill the queue and return.
        options: Of the engine.
        heartbeat: Seconds between a worker's signs of life.
        progress: Called with (cells done, cells, text).

    Raises:
        ConfigMismatch: If the folder's sweep is of another experiment or config.
        ValueError: If a worker stopped by itself: why.
        KeyboardInterrupt: After the workers gave back what they had.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> from etalambda.lab.sweep import Axis
        >>> from etalambda.lab.train import TrainConfig
        >>> plan = Plan("train", TrainConfig(steps=100), (Axis("lr", (0.01, 0.1)),))
        >>> with TemporaryDirectory() as folder:  # fill the queue: workers may join from anywhere
        ...     counts = run_sweep(plan, Path(folder), engine="none")
        >>> counts.total, counts.waiting, counts.over
        (2, 2, False)
    """
    out.mkdir(parents=True, exist_ok=True)
    url, name = storage or sqlite_url(out), study or out.resolve().name
    with storage_of(url, heartbeat) as opened:
        queue = Queue.create(opened, name, plan)
        write_text(out / PLAN, plan.to_json() + "\n")
        queue.enqueue(finished_cells(out))
        job = Job(url, name, out.resolve(), plan.kind, heartbeat)
        if engine == "none" or queue.counts().over:
            return queue.counts()
        with ENGINES[engine](job, workers, options or {}) as crew_:
            return _watch(queue, crew_, progress)


def _watch(queue: Queue, crew_: Any, progress: Progress) -> Counts:
    while True:
        trials = queue.trials()
        counts = Counts.of(trials)
        progress(*_done(queue.plan, trials), _text(counts, trials))
        if counts.over:
            return counts
        crew_.check()
        if not crew_.alive and not queue.repair().over:
            raise ValueError(
                "all workers have ended and cells are left; run the same command again"
            )
        time.sleep(LOOK)


def _done(plan: Plan, trials: list[Any]) -> tuple[float, float]:
    """Cells done, the shares of units at work included, and cells in all."""
    size = max(1, len(plan.seeds))  # of a unit of tpe, whose cells are not chosen yet
    units: dict[str, tuple[float, int]] = {}
    for trial in trials:
        unit, cells = trial.user_attrs["unit"], len(trial.user_attrs["cells"]) or size
        share = 1.0 if trial.state.name == "COMPLETE" or "error" in trial.user_attrs else 0.0
        if trial.state.name == "RUNNING":
            share = trial.user_attrs.get("share", 0.0)
        units[unit] = (max(share, units.get(unit, (0.0, 0))[0]), cells)
    return sum(s * n for s, n in units.values()), sum(n for _, n in units.values())


def _text(counts: Counts, trials: list[Any]) -> str:
    best = best_of(trials)
    said = f"{counts.running} at work" + (f", {len(counts.failed)} failed" if counts.failed else "")
    return f"sweep: {said}" + (f", best {best.value:.4g}" if best is not None else "")


def finished_cells(out: Path) -> set[str]:
    """Marks of the cells whose records are finished."""
    folder = out / CELLS
    if not folder.is_dir():
        return set()
    done = (path for path in folder.glob("*/env.json") if read_json(path).get("finished"))
    return {mark_of(path.parent.name) for path in done}
