"""A worker: takes a unit from the queue, trains its cells into their folders, until none is left.

A cell's record is what counts: a cell that is finished on disk is not trained again, whatever the
queue says, and one that was cut off goes on from its last part.
"""

from __future__ import annotations

import signal
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from etalambda._common import need
from etalambda.lab.records import ConfigMismatch, RecordError, Run, RunLocked, open_run, read
from etalambda.lab.results import CELLS
from etalambda.lab.sweep.queue import Queue
from etalambda.lab.sweep.space import Axis, Cell, is_continuous, mark_of
from etalambda.lab.sweep.storage import quiet

POLL = 1.0  # seconds between two looks at a queue in which others are at work
SAY = 5.0  # seconds between two notes of how far a unit is


class CellFailed(Exception):
    """A cell raised an error; the sweep goes on without it."""


def work(queue: Queue, out: Path, poll: float = POLL) -> int:
    """Do units until all are done or have failed; the number done here.

    While others hold the last units it waits, so that a unit whose worker dies is not left over.

    Raises:
        RecordError: If the disk refuses: no other cell would fare better.
        KeyboardInterrupt: On SIGINT or SIGTERM, after the unit at work was given back.
    """
    done = 0
    with _sigterm_as_interrupt():
        while True:
            counts = queue.repair()
            if counts.waiting:
                done += _one(queue, out)
            elif counts.over:
                return done
            else:
                time.sleep(poll)


def _one(queue: Queue, out: Path) -> bool:
    """Claim a unit and do it; whether it was done."""
    ended = done = False

    def objective(trial: Any) -> float:
        nonlocal ended, done
        try:
            value, done = _do(queue, trial, out), True
            ended = True
            return value
        except (CellFailed, need("optuna", "lab").TrialPruned):
            ended = True
            raise

    try:
        with quiet():
            queue.study.optimize(objective, n_trials=1, catch=(CellFailed,))
    except Exception:  # optuna has several for a trial that was ended from outside
        if not ended:
            raise
        # this worker was thought dead: its unit is another's, who will find the records finished
    return done


def _do(queue: Queue, trial: Any, out: Path) -> float:
    """One unit: its cells trained, their results noted, the mean of what is minimized."""
    pruned = need("optuna", "lab").TrialPruned
    attrs = trial.user_attrs
    if "unit" not in attrs or queue.is_double(trial):
        raise pruned
    try:
        cells = _cells(queue, trial)
        results = train_cells(queue, cells, out, trial, take_over=bool(attrs.get("deaths")))
    except (KeyboardInterrupt, SystemExit):
        _tell(trial, "stopped", True)
        raise
    except Exception as error:
        if isinstance(error, RecordError) and not isinstance(error, ConfigMismatch):
            _tell(trial, "stopped", True)
            raise
        _tell(trial, "traceback", traceback.format_exc()[-4000:])
        _tell(trial, "error", f"{type(error).__name__}: {error}"[:500])
        raise CellFailed from error
    _tell(trial, "results", results)
    values = [found.get(queue.plan.target.value, np.nan) for found in results.values()]
    return float(np.mean(values)) if np.isfinite(values).all() else float("inf")


def _cells(queue: Queue, trial: Any) -> list[Cell]:
    """The unit's cells; of tpe's, the one that the sampler chooses now, with every seed."""
    plan = queue.plan
    if plan.sampler != "tpe":
        return [plan.cell(values) for _, values in trial.user_attrs["cells"]]
    values = {axis.field: _suggested(trial, axis) for axis in plan.drawn}
    sets = [values | {"seed": seed} for seed in plan.seeds] or [values]
    cells = [plan.cell(one) for one in sets]
    trial.set_user_attr("cells", [[c.name, dict(c.values)] for c in cells])
    return cells


def _suggested(trial: Any, axis: Axis) -> Any:
    if is_continuous(axis):
        low, high = min(axis.values), max(axis.values)
        return float(f"{trial.suggest_float(axis.field, low, high, log=True):.4g}")
    index = trial.suggest_categorical(axis.field, list(range(len(axis.values))))
    return axis.values[index]


def train_cells(
    queue: Queue, cells: list[Cell], out: Path, trial: Any = None, *, take_over: bool = False
) -> dict[str, dict[str, Any]]:
    """Train what is not finished, together where the experiment can; the results by cell."""
    target, note = queue.plan.target, _Note(trial)
    with ExitStack() as stack:
        opened = [
            (cell, stack.enter_context(_opened(out, queue.plan.kind, cell, take_over)))
            for cell in cells
        ]
        left = [(cell, run) for cell, run in opened if not run.finished]
        many = target.run_many()
        if many is not None and len(left) > 1:
            for _, run in left:
                run.env["together"] = len(left)  # the seconds noted there are those of all
            many([cell.config for cell, _ in left], [run for _, run in left], note)
        else:
            for i, (cell, run) in enumerate(left):
                target.run()(cell.config, run, note.part(i, len(left)))
    return {cell.name: results_of(cell_folder(out, cell.name)) for cell in cells}


def cell_folder(out: Path, name: str) -> Path:
    """Where a cell's record is: under its name, or under what an earlier sweep told of it."""
    folder = out / CELLS / name
    others = () if folder.exists() else folder.parent.glob(f"*-{mark_of(name)}")
    return next(iter(others), folder)


@contextmanager
def _opened(out: Path, kind: str, cell: Cell, take_over: bool) -> Iterator[Run]:
    """The cell's record; waits for a writer that is alive after all: then it will be finished."""
    folder, stack = cell_folder(out, cell.name), ExitStack()
    while True:
        try:
            config = asdict(cell.config)
            run = stack.enter_context(open_run(folder, config, kind=kind, take_over=take_over))
            break
        except RunLocked:
            time.sleep(POLL)
    with stack:
        yield run


def results_of(folder: Path) -> dict[str, Any]:
    """The numbers of a finished run: its ``summary``, if that is one row."""
    summary = read(folder).tables.get("summary", {})
    return {
        name: column[0].item() if isinstance(column[0], np.generic) else column[0]
        for name, column in summary.items()
        if len(column) == 1
    }


def _tell(trial: Any, key: str, value: Any) -> None:
    """Note something of a trial, unless it has been ended from outside."""
    with suppress(need("optuna", "lab").exceptions.UpdateFinishedTrialError):
        trial.set_user_attr(key, value)


class _Note:
    """How far a unit is, told to the database now and then."""

    def __init__(self, trial: Any) -> None:
        self.trial, self.last = trial, time.monotonic()

    def __call__(self, done: float, total: float, text: str = "") -> None:
        now = time.monotonic()
        if self.trial is not None and now - self.last >= SAY:
            self.last = now
            with suppress(Exception):  # a database that is away for a moment stops no training
                _tell(self.trial, "share", round(done / max(total, 1), 3))

    def part(self, i: int, n: int) -> Any:
        """The progress of part ``i`` of ``n``."""
        return lambda done, total, text="": self(i + done / max(total, 1), n)


@contextmanager
def _sigterm_as_interrupt() -> Iterator[None]:
    """A cluster that wants its machine back says SIGTERM: give the unit back, as for Ctrl-C."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def best_of(trials: list[Any]) -> Any:
    """The trial with the lowest finite value; None before there is one."""
    there = [t for t in trials if t.state.name == "COMPLETE" and np.isfinite(t.value)]
    return min(there, key=lambda t: t.value, default=None)
