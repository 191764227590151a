"""What the terminal shows: tables, a progress bar and the last lines of a command (rich).

On a terminal a bar with the time left; elsewhere (a log file, CI) a plain line now and then, so
that nothing is silent for long and nothing fills the log.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from etalambda._common import need

if TYPE_CHECKING:
    from etalambda.lab.report.tables import Table

Progress = Callable[[float, float, str], None]
QUIET_SECONDS = 10.0  # between two plain lines


def console() -> Any:
    """A rich Console on stdout; 100 columns wide where nobody says how wide it is."""
    made = need("rich.console", "lab").Console(highlight=False)
    if not made.is_terminal:
        made.width = 100
    return made


def print_table(table: Table) -> None:
    """The table: its first column is a name, the others are numbers; one row may stand out."""
    escape = need("rich.markup", "lab").escape
    made = need("rich.table", "lab").Table(
        title=escape(table.title) or None,
        title_justify="left",
        title_style="bold",
        caption=escape(table.note) or None,
        caption_justify="left",
        box=need("rich.box", "lab").SIMPLE_HEAD,
    )
    for i, column in enumerate(table.columns):
        made.add_column(escape(column), justify="right" if i else "left", overflow="fold")
    for i, row in enumerate(table.rows):
        made.add_row(*map(escape, row), style="bold" if i == table.bold else None)
    console().print(made)


def print_findings(findings: Sequence[str]) -> None:
    """One finding a line; an alarm in colour."""
    screen, escape = console(), need("rich.markup", "lab").escape
    for finding in findings:
        alarm = finding.startswith("ALARM")
        screen.print(f"• {escape(finding)}", style="bold red" if alarm else None)


@contextmanager
def progress_bar(title: str) -> Iterator[Progress]:
    """A callback ``progress(done, total, text)`` for the time of a ``with`` block."""
    if not sys.stderr.isatty():
        yield _plain_progress(title)
        return
    rich = need("rich.progress", "lab")
    columns = (
        rich.TextColumn("{task.description}", markup=False),
        rich.BarColumn(),
        rich.TaskProgressColumn(),
        rich.TimeElapsedColumn(),
        rich.TextColumn("left"),
        rich.TimeRemainingColumn(),
    )
    screen = need("rich.console", "lab").Console(stderr=True)
    with rich.Progress(*columns, console=screen, transient=True) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total, text: bar.update(
            task, completed=done, total=total, description=text or title
        )


def _plain_progress(title: str) -> Progress:
    """Lines on stderr, one every `QUIET_SECONDS`."""
    started = last = time.monotonic()

    def progress(done: float, total: float, text: str) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= QUIET_SECONDS:
            last = now
            share = done / max(total, 1)
            line = f"{text or title}: {100 * share:.0f} % after {now - started:.0f} s"
            left = f", about {(now - started) * (1 / share - 1):.0f} s left" if share > 0.02 else ""
            print(line + left, file=sys.stderr, flush=True)

    return progress
