"""Jobs in threads: they report their progress, and a failure stops the others."""

import threading

import pytest

from etalambda.lab.engine.pool import Stopped, run_jobs


def test_jobs_report_and_a_failure_stops_the_others():
    ended = threading.Event()

    def waits(tick):
        try:
            while True:
                tick(0.5)
        except Stopped:
            ended.set()
            raise

    def fails(tick):
        raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        list(run_jobs({"a": waits, "b": fails}, workers=2))
    assert ended.is_set()
    shares = []
    assert dict(run_jobs({"a": lambda tick: tick(0.25)}, progress=shares.append)) == {"a": None}
    assert shares == [0.25, 1.0]
    assert list(run_jobs({})) == []
