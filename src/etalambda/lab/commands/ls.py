"""``etalambda ls``: the runs of a folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tyro.conf import Positional

if TYPE_CHECKING:
    pass


def ls(folder: Positional[Path] = Path("runs")) -> None:
    """The runs below a folder: what they are, whether they are finished, how long they took.

    Args:
        folder: Where to look.
    """
    from etalambda.lab.console import print_table
    from etalambda.lab.report import find_runs
    from etalambda.lab.report.tables import Table, number

    rows = []
    for place, run in find_runs([folder]).items():
        sessions = run.env.get("sessions", [])
        seconds = sum(session.get("seconds", 0.0) for session in sessions)
        state = "finished" if run.finished else "unfinished"
        started = str(sessions[0].get("started", ""))[:16] if sessions else ""
        rows.append([str(place), state, f"{number(seconds)} s", started, _asked(run)])
    print_table(Table("", ("run", "state", "took", "started (UTC)", "command"), rows))


def _asked(run) -> str:
    """The run's command; its kind where this version knows no such command."""
    from etalambda.lab.commands.words import words_of

    try:
        return words_of(run.kind, run.config)
    except KeyError:
        return run.kind or "unknown"
