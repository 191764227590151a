"""Workers on this machine: processes of ``etalambda worker``, replaced when they are killed."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from etalambda.lab.sweep.counts import MAX_DEATHS

STORAGE = "ETALAMBDA_STORAGE"  # by the environment: a command line is for all to see


@dataclass(frozen=True)
class Job:
    """What a worker has to know: the queue, where records go, how often it says that it lives."""

    storage: str
    study: str
    out: Path
    kind: str
    heartbeat: int = 60


@dataclass
class Crew:
    """Running workers.

    Attributes:
        job: What they do.
        processes: The living ones.
        died: How many were killed by a signal and replaced.
    """

    job: Job
    size: int
    processes: dict[subprocess.Popen, IO[str]] = field(default_factory=dict)  # and what they say
    died: int = 0

    def check(self) -> None:
        """Replace workers that were killed.

        Raises:
            ValueError: If one ended with an error of its own, as on a full disk: what it said.
        """
        for process in list(self.processes):
            code = process.poll()
            if code is None:
                continue
            with self.processes.pop(process) as words:
                words.seek(0)
                said = words.read().strip().removeprefix("etalambda: ")
            if code < 0 and self.died < MAX_DEATHS * max(self.size, 4):
                self.died += 1
                self.start()
            elif code != 0:
                raise ValueError(f"a worker stopped: {said[-2000:] or f'exit code {code}'}")

    def start(self) -> None:
        """One more worker."""
        job = self.job
        words = [sys.executable, "-m", "etalambda", "worker", job.kind, "--quiet"]
        words += ["--study", job.study, "--out", str(job.out), "--heartbeat", str(job.heartbeat)]
        threads = str(max(1, _cores() // self.size))
        env = {"OMP_NUM_THREADS": threads} | os.environ | {STORAGE: job.storage}
        # Not a pipe, which would stop them when it is full.
        said = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed with its process
        self.processes[subprocess.Popen(words, env=env, stderr=said)] = said

    @property
    def alive(self) -> bool:
        """Whether any is left."""
        return bool(self.processes)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def crew(job: Job, size: int) -> Iterator[Crew]:
    """So many workers for the time of a block; they are told to stop at its end."""
    made = Crew(job, size)
    try:
        for _ in range(size):
            made.start()
        yield made
    finally:
        stop(made.processes)
        for said in made.processes.values():
            said.close()


def stop(processes: Iterable[subprocess.Popen]) -> None:
    """SIGTERM, upon which a worker gives its unit back; SIGKILL after ten seconds."""
    for process in processes:
        process.terminate()
    for process in processes:
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
