"""``etalambda ls``, ``show`` and ``diff``: what runs hold, while they go on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import Positional, arg

if TYPE_CHECKING:
    from etalambda.lab.results import Results

SHOWN = 40  # runs that are listed unless asked for more


def ls(
    folder: Positional[Path] = Path("runs"),
    where: str = "",
    sort: str = "",
    columns: str = "",
    limit: int = SHOWN,
    sql: str = "",
) -> None:
    """The runs below a folder, and of a sweep its cells, best first; also while they are at work.

    Its columns are run, kind, finished, seconds, what a run was told (lr, weight_decay, seed and
    so on) and what it came to (val_error, test_error, K and so on).

    As in: etalambda ls runs/sweep-train --where "lr > 0.1 and seed = 0"

    In SQL the table is called runs: etalambda ls --sql "select optimizer, lr, avg(test_error) from
    runs group by all order by 3"

    Args:
        folder: Where to look.
        where: A condition in SQL on the columns of runs.
        sort: A column to sort by, as in test_error or "lr desc". Default: val_error, of a sweep.
        columns: The columns to show, as in lr,val_error. Default: what differs, and the errors.
        limit: Most rows to show.
        sql: A whole query over runs and metrics instead.
    """
    from etalambda.lab.results import CELLS, Results

    found = Results.below([folder])
    if not found.lines:
        raise ValueError(f"no run in {folder}; train one first, as in: etalambda clock")
    if sql:
        _print("", *found.query(sql))
    elif where or sort or columns or (folder / CELLS).is_dir():
        _select(found, where, sort, columns, limit)
    else:
        _list(found)


def _select(found: Results, where: str, sort: str, columns: str, limit: int) -> None:
    table = found.table
    names = [name.strip() for name in columns.split(",") if name.strip()] or _telling(found)
    for name in names:
        if name not in table:
            from etalambda._common import unknown

            raise unknown("column", name, table)
    order = sort or ("val_error" if "val_error" in table else "run")
    quoted = ", ".join(f'"{name}"' for name in names)
    condition = f"where {where}" if where else ""
    head, rows = found.query(f"select {quoted} from runs {condition} order by {order}")
    done = sum(line.finished for line in found.lines)
    note = f"{done} of {len(found.lines)} runs are finished"
    note += f"; {len(rows) - limit} more rows: --limit {len(rows)}" if len(rows) > limit else ""
    _print(note, head, rows[:limit])


def _telling(found: Results) -> list[str]:
    """The columns that tell the runs apart, and what they came to."""
    numbers = ("val_error", "test_error", "K", "finished")
    return [*(found.varying or ["run"]), *(name for name in numbers if name in found.table)]


def _print(note: str, head: list[str], rows: list[tuple[Any, ...]]) -> None:
    from etalambda.lab.console import print_table
    from etalambda.lab.report.tables import Table

    print_table(Table("", head, [[_text(value) for value in row] for row in rows], note))


def _text(value: Any) -> str:
    from etalambda.lab.numbers import number

    if value is None or isinstance(value, bool):
        return {None: "–", True: "yes", False: "no"}[value]
    return number(value, 4) if isinstance(value, float) else str(value)


def _list(found: Results) -> None:
    """One line a run, and one a sweep."""
    from etalambda.lab.console import print_table
    from etalambda.lab.report.tables import Table, number

    rows = []
    sweeps: dict[Path, list[Any]] = {}
    for line in found.lines:
        if line.sweep:
            sweeps.setdefault(line.sweep, []).append(line)
            continue
        state = "finished" if line.finished else "unfinished"
        took = f"{number(line.seconds)} s"
        rows.append([str(line.folder), state, took, line.started, _asked(line.kind, line.config)])
    for place, lines in sweeps.items():
        done = sum(line.finished for line in lines)
        seconds = f"{number(sum(line.seconds for line in lines))} s"
        began = min(line.started for line in lines)
        state = f"{done} of {len(lines)}"
        rows.append([str(place), state, seconds, began, f"etalambda ls {place}"])
    print_table(Table("", ("run", "state", "took", "started (UTC)", "command"), rows))


def _asked(kind: str, config: Any) -> str:
    """The run's command; its kind where this version knows no such command."""
    from etalambda.lab.commands.words import words_of

    try:
        return words_of(kind, config)
    except KeyError:
        return kind or "unknown"


Run = Positional[Annotated[Path, arg(metavar="RUN")]]


def show(run: Run) -> None:
    """One run in full: its command, settings, environment, tables and last numbers.

    Args:
        run: The run's folder.
    """
    from etalambda.lab.console import print_table
    from etalambda.lab.records import read
    from etalambda.lab.report.tables import Table

    data = read(run)
    state = "finished" if data.finished else "unfinished"
    print(f"{run}: {data.kind}, {state}\n{_asked(data.kind, data.config)}")
    print_table(Table("settings", ("", ""), [[k, _text(v)] for k, v in data.config.items()]))
    sessions = data.env.get("sessions", [])
    rows = [[s.get("started", "")[:19], f"{s.get('seconds', '?')} s", s.get("command", "")]
            for s in sessions]  # fmt: skip
    print_table(Table("sessions", ("started (UTC)", "took", "command"), rows))
    where = {k: v for k, v in data.env.items() if k in ("python", "platform", "cpus", "commit")}
    where |= data.env.get("packages", {})
    print_table(Table("environment", ("", ""), [[k, _text(v)] for k, v in where.items()]))
    for name, table in data.tables.items():
        last = [
            [column, _text(_plain(values[-1]))] for column, values in table.items() if len(values)
        ]
        count = len(next(iter(table.values()), ()))
        print_table(Table(f"{name}: the last of {count} rows", ("", ""), last))


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value


def diff(a: Run, b: Run) -> None:
    """What differs between two runs, or two sweeps: settings, versions and results.

    Two folders of several runs are compared pair by pair: runs that differ in nothing but what
    differs between the folders are a pair, and the mean difference of each result has its 95 %
    interval.

    Args:
        a: A run's folder, or one that holds many.
        b: The other.
    """
    from etalambda.lab.console import print_table
    from etalambda.lab.difference import difference

    for table in difference(a, b):
        print_table(table)
