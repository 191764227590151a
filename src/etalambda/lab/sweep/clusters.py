"""Workers on a cluster: Ray tasks, or jobs of Slurm through submitit. The queue is the same.

Each task is one worker of `work`; all share the storage and, for the records, a folder that every
machine sees. On several machines the storage must be PostgreSQL: SQLite is no database for a
network file system.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from etalambda._common import need
from etalambda.lab.sweep.local import Job


def run_worker(job: Job) -> int:
    """One worker to its end; runs inside a task of the cluster."""
    from etalambda.lab.sweep.queue import Queue
    from etalambda.lab.sweep.storage import storage_of
    from etalambda.lab.sweep.work import work

    with storage_of(job.storage, job.heartbeat) as storage:
        return work(Queue.load(storage, job.study, trusted=job.kind), job.out)


@dataclass
class Tasks:
    """Workers as the engine knows them: how many still run, and what went wrong with one."""

    count: Callable[[], int]
    failure: Callable[[], str]

    def check(self) -> None:
        """Raise what stopped a worker.

        Raises:
            ValueError: If all have ended and one with an error.
        """
        if not self.alive and (said := self.failure()):
            raise ValueError(f"a worker stopped: {said}")

    @property
    def alive(self) -> bool:
        """Whether any is left."""
        return self.count() > 0


@contextmanager
def ray_tasks(job: Job, size: int, options: Mapping[str, str]) -> Iterator[Tasks]:
    """Workers as Ray tasks; Ray itself replaces one that is killed.

    Args:
        job: What they do.
        size: How many.
        options: ``address`` (default: the cluster of RAY_ADDRESS, else one on this machine),
            ``num_cpus`` and ``num_gpus`` of a worker.

    Raises:
        ModuleNotFoundError: Without ray; the message names the extra.
        ValueError: For an unknown option.
    """
    ray = need("ray", "ray")
    known = ("address", "num_cpus", "num_gpus")
    _check_options(options, known)
    address = options.get("address") or os.environ.get("RAY_ADDRESS")
    begun = not ray.is_initialized()
    if begun:
        paths = {"PYTHONPATH": os.environ.get("PYTHONPATH", "")}
        ray.init(address=address, log_to_driver=False, runtime_env={"env_vars": paths})
    wants = {key: float(options[key]) for key in known[1:] if key in options}
    task = ray.remote(max_retries=-1, **wants)(run_worker)
    refs = [task.remote(job) for _ in range(size)]

    def count() -> int:
        return len(ray.wait(refs, num_returns=len(refs), timeout=0)[1])

    def failure() -> str:
        for ref in refs:
            try:
                ray.get(ref, timeout=1)
            except Exception as error:
                return str(error).strip().splitlines()[-1]
        return ""

    try:
        yield Tasks(count, failure)
    finally:
        for ref in refs:
            ray.cancel(ref, force=True)
        if begun:
            ray.shutdown()


class SlurmWorker:
    """A worker as submitit wants it: callable, and on preemption or timeout submitted again."""

    def __call__(self, job: Job) -> int:
        return run_worker(job)

    def checkpoint(self, job: Job) -> Any:
        """What Slurm should run in place of the job it takes away."""
        return need("submitit.helpers", "slurm").DelayedSubmission(SlurmWorker(), job)


@contextmanager
def slurm_jobs(job: Job, size: int, options: Mapping[str, str]) -> Iterator[Tasks]:
    """Workers as one Slurm job array.

    Args:
        job: What they do; its ``out`` must be on a file system that all nodes see.
        size: How many.
        options: As submitit names them: ``timeout_min``, ``gpus_per_node``, ``mem_gb``,
            ``slurm_partition``, ...; ``cluster=local`` runs them on this machine.

    Raises:
        ModuleNotFoundError: Without submitit; the message names the extra.
        ValueError: Where there is no Slurm and none else was named.
    """
    submitit = need("submitit", "slurm")
    options = dict(options)
    cluster = options.pop("cluster", None)
    folder = Path(job.out) / "slurm"
    try:
        executor = submitit.AutoExecutor(folder=folder, cluster=cluster)
        if cluster is None and executor.cluster != "slurm":
            raise RuntimeError("there is no Slurm here")
    except RuntimeError as error:
        raise ValueError(f"engine slurm: {error}; --option cluster=local runs it here") from error
    executor.update_parameters(**{key: _number(value) for key, value in options.items()})
    jobs = executor.map_array(SlurmWorker(), [job] * size)

    def count() -> int:
        return sum(not one.done() for one in jobs)

    def failure() -> str:
        said = [str(e).strip().splitlines()[-1] for one in jobs if (e := one.exception())]
        return said[0] if said else ""

    try:
        yield Tasks(count, failure)
    finally:
        for one in jobs:
            if not one.done():
                one.cancel(check=False)


def _check_options(options: Mapping[str, str], known: tuple[str, ...]) -> None:
    from etalambda._common import unknown

    for name in options:
        if name not in known:
            raise unknown("option", name, known)


def _number(text: str) -> Any:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
