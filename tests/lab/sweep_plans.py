"""Sweeps of the experiment that costs nothing: their plan, and their queue in a folder."""

from etalambda.lab.sweep import Plan, parse_axis
from etalambda.lab.sweep.queue import Queue
from etalambda.lab.sweep.storage import open_storage, sqlite_url
from tests.lab.sweep_target import Config
from tests.lab.sweep_workers import KIND

PLAIN = Config()


def plan(*over, base=PLAIN, **options):
    return Plan(KIND, base, tuple(parse_axis(text, base) for text in over), **options)


def queue_of(folder, made, heartbeat=60):
    folder.mkdir(exist_ok=True)
    queue = Queue.create(open_storage(sqlite_url(folder), heartbeat), "test", made)
    queue.enqueue()
    return queue
