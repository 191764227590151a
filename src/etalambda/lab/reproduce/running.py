"""Run a figure's measurement into a record, then judge and draw it.

The record of figure F at scale S is the folder ``<out>/<F>/<S>``; parts that are there are skipped,
so Ctrl-C, a kill or the end of a time slice lose only the parts at work. Neither tyro nor rich is
needed here.
"""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from etalambda.lab.experiments.parts import Job, Progress, Tables, record_all
from etalambda.lab.records import open_run, read
from etalambda.lab.reproduce.criteria import Verdict
from etalambda.lab.reproduce.figure import Bench, Figure


class OutOfTime(Exception):
    """The time slice is over; what was recorded is kept."""


@dataclass(frozen=True)
class Outcome:
    """A figure at a scale after its run: the tables, what they say, and how they look.

    >>> from tempfile import TemporaryDirectory
    >>> from etalambda.lab.reproduce.example import COIN
    >>> with TemporaryDirectory() as folder:
    ...     _ = measure(COIN, "smoke", Path(folder))
    ...     made = outcome(COIN, "smoke", Path(folder))
    >>> made.verdict.outcome, len(made.tables["coins"]["heads"])
    ('holds', 5)
    >>> made.picture.savefig("coin.pdf")  # doctest: +SKIP
    """

    figure: Figure
    scale: str
    folder: Path
    tables: Tables
    verdict: Verdict
    picture: Any


def folder_of(figure: Figure, scale: str, out: Path) -> Path:
    """Where the measurement that a figure reads is recorded."""
    return out / figure.run_name / scale


def measure(
    figure: Figure,
    scale: str,
    out: Path,
    *,
    device: str = "cpu",
    data: Path | None = None,
    minutes: float = float("inf"),
    progress: Progress = lambda done, total, text: None,
) -> bool:
    """Run what is left of a measurement; whether all of it is recorded now.

    Args:
        figure, scale: What to run.
        out: Folder of all reproductions.
        device: torch device of the networks.
        data: Folder of real data sets.
        minutes: End after about that long; call again to go on.
        progress: Called with (parts done, parts, text).

    Raises:
        ConfigMismatch: If the folder holds a run of another recipe.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> from etalambda.lab.reproduce.example import COIN
        >>> with TemporaryDirectory() as folder:
        ...     for minutes in (0, 1):  # the first slice ends before its first part: go on
        ...         print(measure(COIN, "smoke", Path(folder), minutes=minutes))
        False
        True
    """
    recipe, folder = figure.recipe(scale), folder_of(figure, scale, out)
    deadline = time.monotonic() + 60 * minutes
    with open_run(folder, recipe.config(), kind=figure.run_name) as run:
        if run.finished:
            return True
        bench = Bench(device, data, folder, lambda: read(folder).tables)
        text = f"{figure.name}, {scale}"
        try:
            for stage in figure.measure(recipe, bench):
                jobs = {name: _until(deadline, job) for name, job in stage.items()}
                record_all(run, jobs, progress, text, device)
        except OutOfTime:
            return False
        run.finish()
    shutil.rmtree(folder / "scratch", ignore_errors=True)
    return True


def _until(deadline: float, job: Job) -> Job:
    """The job, ended by `OutOfTime` at its first tick after the deadline."""

    def timed(tick: Any) -> Tables:
        def checked(share: float) -> None:
            if time.monotonic() > deadline:
                raise OutOfTime
            tick(share)

        checked(0.0)
        return job(checked)

    return timed


def outcome(figure: Figure, scale: str, out: Path) -> Outcome:
    """Judge and draw what has been recorded.

    Raises:
        RecordError: If nothing was, or the run is not finished.

    >>> from tempfile import TemporaryDirectory
    >>> from etalambda.lab.reproduce.example import COIN
    >>> with TemporaryDirectory() as folder:
    ...     _ = measure(COIN, "smoke", Path(folder))
    ...     found = outcome(COIN, "smoke", Path(folder)).verdict.findings[0].found
    >>> round(found.value, 2), found.n
    (0.5, 5)
    """
    from etalambda.lab.records import RecordError

    folder = folder_of(figure, scale, out)
    found = read(folder)
    if not found.finished:
        raise RecordError(
            f"{folder} is not finished; run `etalambda reproduce {figure.name} --scale {scale}` on"
        )
    return concluded(figure, scale, folder, found.tables)


def concluded(figure: Figure, scale: str, folder: Path, tables: Tables) -> Outcome:
    """What the tables say and how they look, with a caption that tells the departures."""
    from etalambda.lab.reproduce.caption import captioned

    verdict = figure.judge(tables)
    picture = captioned(figure.draw(tables), figure, scale, verdict)
    return Outcome(figure, scale, folder, tables, verdict, picture)


def said(made: Outcome) -> list[str]:
    """The verdict as lines of text.

    >>> from tempfile import TemporaryDirectory
    >>> from etalambda.lab.reproduce.example import COIN
    >>> with TemporaryDirectory() as folder:
    ...     _ = measure(COIN, "smoke", Path(folder))
    ...     print(*said(outcome(COIN, "smoke", Path(folder))), sep="\\n")
    example-coin (no paper's), smoke: HOLDS
      paper: A thrown coin shows heads half of the time.
      heads: share of heads: 0.496 (0.477 to 0.514), n = 5, sd 0.0146; asked 0.45 to 0.55: holds
      departs: a computer throws the coin
    """
    figure = made.figure
    head = f"{figure.name} ({figure.shows}), {made.scale}: {made.verdict.outcome.upper()}"
    departures = [f"  departs: {line}" for line in figure.recipe(made.scale).departures]
    found = [f"  {finding.name}: {finding}" for finding in made.verdict.findings]
    return [head, f"  paper: {figure.claim}", *found, *departures]
