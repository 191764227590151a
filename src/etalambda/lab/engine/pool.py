"""Jobs on all cores: one thread a job, one torch thread each.

A batch of small networks gains little from splitting one kernel over two cores, and doubles its
speed from two batches side by side: torch lets go of the interpreter while a kernel runs. With one
torch thread a job, a job's numbers do not depend on how many cores there are.
"""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

import torch

R = TypeVar("R")
Tick = Callable[[float], None]
"""What a job calls now and then with the share of it that is done; raises `Stopped` to end it."""


class Stopped(Exception):
    """The run was interrupted: a job ends at its next tick."""


def run_jobs(
    jobs: Mapping[str, Callable[[Tick], R]],
    *,
    progress: Callable[[float], Any] = lambda done: None,
    workers: int | None = None,
) -> Iterator[tuple[str, R]]:
    """Run the jobs and yield (name, result) as each one ends.

    Args:
        jobs: Name -> function of a ``tick(share)`` that it calls on the way.
        progress: Called with the number of jobs done, shares of running ones included; from this
            thread only.
        workers: Jobs at a time; None is the number of cores this process may use.

    Raises:
        Whatever a job raises, after the others have been told to stop and have ended. So does
        leaving the loop early, as Ctrl-C does.

    Example:
        >>> dict(run_jobs({"a": lambda tick: 1, "b": lambda tick: 2}, workers=1))
        {'a': 1, 'b': 2}
    """
    waiting, said, stop = queue.SimpleQueue(), queue.SimpleQueue(), threading.Event()
    for item in jobs.items():
        waiting.put(item)
    count = max(1, min(workers or cores(), len(jobs)))
    threads = [
        threading.Thread(target=_work, args=(waiting, said, stop), daemon=True)
        for _ in range(count)
    ]
    shares = dict.fromkeys(jobs, 0.0)
    with _one_torch_thread():
        for thread in threads:
            thread.start()
        try:
            left = len(jobs)
            while left:
                kind, name, value = said.get()
                if kind == "failed":
                    raise value
                shares[name] = value if kind == "tick" else 1.0
                progress(sum(shares.values()))
                if kind == "done":
                    left -= 1
                    yield name, value
        finally:
            stop.set()
            for thread in threads:
                thread.join()


def _work(waiting: queue.SimpleQueue, said: queue.SimpleQueue, stop: threading.Event) -> None:
    while not stop.is_set():
        try:
            name, job = waiting.get_nowait()
        except queue.Empty:
            return

        def tick(share: float, name: str = name) -> None:
            if stop.is_set():
                raise Stopped
            said.put(("tick", name, share))

        try:
            said.put(("done", name, job(tick)))
        except Stopped:
            return
        except BaseException as error:
            said.put(("failed", name, error))


@contextmanager
def _one_torch_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def cores() -> int:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
