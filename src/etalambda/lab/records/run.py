"""Opening, filling and finishing a run's record."""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from etalambda.lab.records import files
from etalambda.lab.records.environment import command, environment, now
from etalambda.lab.records.files import RecordError
from etalambda.lab.records.interrupts import uninterrupted
from etalambda.lab.records.lock import locked
from etalambda.lab.records.reading import merged_tables, whole_parts

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._=+-]*")


class ConfigMismatch(RecordError):
    """The folder holds a run of another config; the message lists what differs."""


class Run:
    """A run folder open for writing; made by `open_run`.

    ``done`` holds the names of the parts that are recorded, those of earlier tries included.

    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with open_run(folder, {"lr": 0.1}, kind="mine") as run:
    ...         for epoch in range(3):
    ...             if f"epoch={epoch}" not in run.done:  # what an earlier try left is kept
    ...                 run.add(f"epoch={epoch}", metrics={"loss": [1 / (epoch + 1)]})
    ...         run.discard("epoch=2")
    ...         print(sorted(run.done), run.finished)
    ['epoch=0', 'epoch=1'] False
    """

    def __init__(self, folder: Path, env: dict[str, Any]) -> None:
        self.folder = folder
        self.env = env
        self.finished = bool(env.get("finished"))
        self.done: set[str] = set(env.get("parts", ())) if self.finished else whole_parts(folder)

    @uninterrupted()
    def add(self, part: str, **tables: Mapping[str, Any]) -> None:
        """Record one part: all its tables appear together, or none does.

        Args:
            part: Its name, of letters, digits and ``._=+-``.
            tables: Table name -> column name -> array-like; one length a table.

        Raises:
            ValueError: For a bad name or columns of different lengths, before anything is written.
            RecordError: If the disk refuses; what was recorded before is kept.
        """
        for kind, name in (("part", part), *(("table", name) for name in tables)):
            _check_name(kind, name)
        arrays = {name: files.as_table(name, columns) for name, columns in tables.items()}
        if self.finished:
            raise RecordError(f"{self.folder} is finished; part {part!r} cannot be added")
        parts = self.folder / "parts"
        try:
            parts.mkdir(exist_ok=True)
            temporary = Path(tempfile.mkdtemp(prefix=".tmp-", dir=parts))
        except OSError as error:
            raise files.refused(parts / part, error) from error
        try:
            for name, table in arrays.items():
                files.write_parquet(temporary / f"{name}.parquet", table)
            _put(temporary, parts / part)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        self.done.add(part)

    @uninterrupted()
    def discard(self, part: str) -> None:
        """Forget one part, as a run does that goes back to its last checkpoint.

        Raises:
            RecordError: If the disk refuses, or the run is finished.
        """
        if self.finished:
            raise RecordError(f"{self.folder} is finished; part {part!r} cannot be discarded")
        path = self.folder / "parts" / part
        hidden = path.with_name(f".discarded-{part}-{time.time_ns()}")
        try:
            os.replace(path, hidden)
        except FileNotFoundError:
            pass
        except OSError as error:
            raise files.refused(path, error) from error
        shutil.rmtree(hidden, ignore_errors=True)
        self.done.discard(part)

    @uninterrupted()
    def finish(self) -> None:
        """Merge every table of all parts into ``<table>.parquet`` and mark the run as finished.

        Calling it again, as a resumed run does that had finished, changes nothing.
        """
        if self.finished or files.read_json(self.folder / "env.json").get("finished"):
            self.finished = True  # perhaps by another host that took this run over
            return
        for name, table in merged_tables(self.folder, self.done).items():
            temporary = self.folder / f".{name}.{os.getpid()}.tmp"
            try:
                files.write_parquet(temporary, table)
                os.replace(temporary, self.folder / f"{name}.parquet")
            except OSError as error:
                raise files.refused(self.folder / f"{name}.parquet", error) from error
            finally:
                temporary.unlink(missing_ok=True)
        self.env |= {"finished": now(), "parts": sorted(self.done)}
        _write_env(self.folder, self.env)
        self.finished = True
        shutil.rmtree(self.folder / "parts", ignore_errors=True)


@contextmanager
def open_run(
    folder: str | Path, config: Mapping[str, Any], *, kind: str, take_over: bool = False
) -> Iterator[Run]:
    """Open a run folder for writing, or go on with the run of the same config that is there.

    Args:
        folder: Made if missing. One process writes it at a time.
        config: Flat: strings, numbers, bools and lists of them. The run is identified by it.
        kind: Which experiment, as in ``"map"``.
        take_over: The writer on another host is known to be gone: take its lock.

    Raises:
        ConfigMismatch: If the folder holds a run of another config or kind: the keys that differ.
        RunLocked: If another process is writing it.
        RecordError: If the folder cannot be written.

    Example:
        >>> from etalambda.lab.records import read
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with open_run(folder, {"seeds": 2}, kind="map") as run:
        ...         run.add("seed=0", metrics={"lr": [0.1, 0.2], "error": [3.0, 4.0]})
        ...     with open_run(folder, {"seeds": 2}, kind="map") as run:
        ...         print(run.done)
        ...         run.add("seed=1", metrics={"lr": [0.1], "error": [5.0]})
        ...         run.finish()
        ...     print(read(folder).tables["metrics"]["error"])
        {'seed=0'}
        [3. 4. 5.]
    """
    folder = Path(folder)
    text = f"kind = {json.dumps(kind)}\n\n[config]\n{files.to_toml(config)}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise files.refused(folder, error) from error
    with locked(folder, take_over=take_over):
        _claim(folder, text)
        env = files.read_json(folder / "env.json") or environment()
        with _session(folder, env):
            yield Run(folder, env)


@contextmanager
def _session(folder: Path, env: dict[str, Any]) -> Iterator[None]:
    """Note when this try started and how long it took; a finished run is left as it is."""
    if env.get("finished"):
        yield
        return
    session: dict[str, Any] = {"started": now(), "command": command()}
    env.setdefault("sessions", []).append(session)
    _write_env(folder, env)
    started = time.perf_counter()
    try:
        yield
    finally:
        session["seconds"] = round(time.perf_counter() - started, 3)
        there = files.read_json(folder / "env.json")
        if there.get("finished") and not env.get("finished"):
            env.update(there)  # by another host that took this run over: its word counts
        with suppress(RecordError):  # a full disk was reported where it cost a part
            _write_env(folder, env)


def _claim(folder: Path, text: str) -> None:
    """Write the config, or compare it with the one that is there."""
    path = folder / "config.toml"
    if not path.exists():
        return files.write_text(path, text)
    there, asked = files.read_toml(path), files.tomllib.loads(text)
    flat = [{"kind": head.get("kind"), **head.get("config", {})} for head in (there, asked)]
    keys = [key for key in flat[0] | flat[1] if flat[0].get(key) != flat[1].get(key)]
    if keys:
        lines = ", ".join(f"{k} ({flat[0].get(k)!r} there, {flat[1].get(k)!r} now)" for k in keys)
        raise ConfigMismatch(
            f"{folder} holds a run with another config: {lines}; "
            "choose another --out, or delete that folder"
        )
    return None


def _check_name(kind: str, name: str) -> None:
    if not _NAME.fullmatch(name):
        raise ValueError(f"{kind} {name!r} must be made of letters, digits and ._=+- only")


def _put(temporary: Path, target: Path) -> None:
    """Rename the part into place; a damaged one of that name is kept aside, hidden."""
    try:
        if target.exists():
            os.replace(target, target.with_name(f".broken-{target.name}-{time.time_ns()}"))
        os.replace(temporary, target)
    except OSError as error:
        raise files.refused(target, error) from error


def _write_env(folder: Path, env: dict[str, Any]) -> None:
    files.write_text(folder / "env.json", json.dumps(env, indent=1) + "\n")
