"""Where a run ran: versions, commit, command and the clock; what a reader needs to repeat it."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any


def environment() -> dict[str, Any]:
    """Python, machine, versions and commit of this process."""
    packages = ("etalambda", "torch", "numpy", "scipy", "scikit-learn", "duckdb")
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        "accelerator": _accelerator(),
        "packages": {name: _version(name) for name in packages},
        "commit": _commit(),
    }


def _accelerator() -> str:
    """The name of the GPU; empty without one, or in a process that has no need of torch."""
    torch = sys.modules.get("torch")
    return torch.cuda.get_device_name() if torch and torch.cuda.is_available() else ""


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


@cache
def _commit() -> str:
    """The commit of the checkout that this package lies in; empty for an installed wheel."""
    here = Path(__file__).parent
    git = ["git", "-C", str(here), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        done = subprocess.run(git, capture_output=True, text=True, timeout=5)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip()


def command() -> str:
    """The command line, without the password of a database's address."""
    words = [Path(sys.argv[0]).name, *sys.argv[1:]] if sys.argv else []
    return re.sub(r"(://[^\s:/@]*):[^\s@]*@", r"\1:***@", " ".join(words))


def now() -> str:
    """The time in UTC, to the microsecond."""
    return datetime.now(UTC).isoformat(timespec="microseconds")
