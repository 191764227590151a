"""Experiments that have no command: ``python -m etalambda.lab.experiments.NAME --out FOLDER``.

They are kept like the others: one folder a run, a part at a time, so Ctrl-C or a kill lose only the
part at work and the same command goes on from there.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from etalambda.lab.console import print_table, progress_bar
from etalambda.lab.experiments.parts import Progress
from etalambda.lab.records import Run, RunData, open_run, read
from etalambda.lab.report.tables import Table

C = TypeVar("C")


def carry_out(
    kind: str,
    run: Callable[[C, Run, Progress], None],
    config: C,
    out: Path,
    *,
    tables: Callable[[RunData], Iterable[Table]],
    json_file: Path | None = None,
) -> RunData:
    """Run an experiment into ``out`` with a progress bar, print its tables, return what it holds.

    Args:
        kind: Its name in the record.
        run: The experiment; parts that are recorded are skipped.
        config: A dataclass of strings, numbers and tuples of them.
        out: The run folder.
        tables: What to print of the finished run.
        json_file: Also write the config and all tables there as one compact JSON file.

    Raises:
        ConfigMismatch: If the folder holds a run of another config.
        KeyboardInterrupt: After saying what is kept.
    """
    with open_run(out, asdict(config), kind=kind) as record:  # pyrefly: ignore
        try:
            with progress_bar(kind) as progress:
                run(config, record, progress)
        except KeyboardInterrupt:
            print(
                f"\nstopped; {len(record.done)} finished parts are kept in {out}: "
                "the same command goes on from there",
                file=sys.stderr,
            )
            raise
    found = read(out)
    for table in tables(found):
        print_table(table)
    if json_file is not None:
        write_tables(found.kind, found.config, found.tables, json_file)
    return found


def write_tables(
    kind: str, config: Mapping[str, Any], tables: Mapping[str, Mapping[str, np.ndarray]], path: Path
) -> None:
    """A config and tables, column by column, numbers to 6 digits, NaN as null.

    A column of words is written as the ``words`` and the place of each row's ``among`` them.
    """
    plain = {name: {k: _plain(v) for k, v in t.items()} for name, t in tables.items()}
    content: Mapping[str, Any] = {"kind": kind, "config": config, **plain}
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [f"{json.dumps(key)}: {_block(value)}" for key, value in content.items()]
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n")


def _block(value: Any) -> str:
    """A column a line, so that a file of many numbers can still be read and compared."""
    if not isinstance(value, dict):
        return json.dumps(value)
    return "{\n" + ",\n".join(f" {json.dumps(k)}: {json.dumps(v)}" for k, v in value.items()) + "}"


def _plain(column: np.ndarray) -> Any:
    if column.dtype.kind in "OU":
        words = list(dict.fromkeys(column.tolist()))
        return {"words": words, "among": [words.index(word) for word in column.tolist()]}
    if column.dtype.kind != "f":
        return column.tolist()
    return [float(f"{x:.6g}") if np.isfinite(x) else None for x in column.tolist()]
