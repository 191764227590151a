"""One writer a run folder: a lock file that a dead process cannot keep.

The file names its owner (pid and host) for people; the lock itself is the operating system's
(flock), which ends with the process, however that dies, and does not mistake a reused pid.
"""

from __future__ import annotations

import errno
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from etalambda.lab.records.files import refused

try:
    import fcntl
except ImportError:  # Windows: no flock, the pid must do
    fcntl = None  # type: ignore[assignment]

NAME = ".lock"
_NOFOLLOW = getattr(os, "O_NOFOLLOW", 0)  # a link in its place must not have its target emptied


class RunLocked(ValueError):
    """Another process is writing this run folder."""


@contextmanager
def locked(folder: Path, *, take_over: bool = False) -> Iterator[None]:
    """Hold the folder's lock.

    Args:
        folder: Whose lock.
        take_over: Take the lock of another host, whose process is known to be gone: nothing here
            can ask that host.

    Raises:
        RunLocked: If a living process holds it, here or on another host.
        RecordError: If the folder cannot be written.
    """
    path = folder / NAME
    try:
        descriptor = _acquire(path, take_over)
    except OSError as error:
        raise refused(path, error) from error
    try:
        yield
    finally:
        if _still_named(descriptor, path):  # else another host took it over
            path.unlink(missing_ok=True)
        os.close(descriptor)


def _acquire(path: Path, take_over: bool) -> int:
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | _NOFOLLOW, 0o644)
        try:
            _take(descriptor, path, take_over)
            if _still_named(descriptor, path):  # else its owner removed it as we waited
                os.truncate(descriptor, 0)
                os.write(descriptor, json.dumps(_me()).encode())
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _take(descriptor: int, path: Path, take_over: bool) -> None:
    owner = _owner(path)
    elsewhere = not take_over and owner.get("host", _me()["host"]) != _me()["host"]
    if elsewhere or (fcntl is None and _alive(owner.get("pid"))):
        raise _locked_by(owner, path)
    if fcntl is not None:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EACCES):
                raise  # a file system without locks: say so rather than write unguarded
            raise _locked_by(owner, path) from error


def _locked_by(owner: dict, path: Path) -> RunLocked:
    who = f"process {owner.get('pid', 'unknown')} on {owner.get('host', 'this host')}"
    return RunLocked(
        f"{path.parent} is being written by {who}; wait for it, choose another --out, "
        f"or, if that process is gone, delete {path}"
    )


def _owner(path: Path) -> dict:
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _me() -> dict:
    return {"pid": os.getpid(), "host": socket.gethostname()}


def _alive(pid: object) -> bool:
    if not isinstance(pid, int) or pid == os.getpid():
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _still_named(descriptor: int, path: Path) -> bool:
    try:
        return os.fstat(descriptor).st_ino == os.stat(path).st_ino
    except FileNotFoundError:
        return False
