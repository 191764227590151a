"""Sweeps in processes of their own, whose workers are killed with -9 in the middle of a cell."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from etalambda.lab.results import CELLS

KIND = "tests.lab.sweep_target"
ROOT = Path(__file__).parent.parent.parent


def start(out, *words, heartbeat=1, workers=2):
    env = os.environ | {"PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"}
    line = [sys.executable, "-m", "etalambda", "sweep", KIND, "--out", str(out), *words]
    line += ["--workers", str(workers), "--heartbeat", str(heartbeat)]
    return subprocess.Popen(line, env=env, stderr=subprocess.PIPE, text=True)


def at_work(out):
    """The pids of the workers that hold a cell's lock."""
    found = []
    for lock in (out / CELLS).glob("*/.lock"):
        try:
            found.append(json.loads(lock.read_text())["pid"])
        except (OSError, ValueError):
            continue
    return found


def kill_workers(out, process, times):
    """Kill -9 a worker in the middle of a cell, so many times, each another one."""
    killed = set()
    while len(killed) < times and process.poll() is None:
        for pid in at_work(out):
            if pid not in killed:
                killed.add(pid)
                os.kill(pid, signal.SIGKILL)
                time.sleep(0.3)
                break
        time.sleep(0.02)
    return len(killed)


def check_log(log, cells, kills):
    """Each cell was ended once, and begun once more for each kill at most.

    A kill may fall between the end of a record and the line that says so.
    """
    lines = [line.split() for line in log.read_text().splitlines()]
    ends = Counter(name for what, name, _ in lines if what == "end")
    begins = Counter(name for what, name, _ in lines if what == "begin")
    assert set(ends.values()) == {1}
    assert cells - kills <= len(ends) <= cells
    assert cells <= sum(begins.values()) <= cells + kills
