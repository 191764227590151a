"""Run records: one folder a run, readable at any moment, by people and by any Parquet reader.

    runs/map/config.toml       what was asked: the same file, the same result
    runs/map/env.json          where it ran: command, versions, times, parts
    runs/map/metrics.parquet   what was measured (one file a table), once the run has finished
    runs/map/parts/<part>/     the same tables in pieces, while it has not

Every file and every part appears by a rename, so a kill leaves none that is half written; the next
run with the same config skips the parts that are there.
"""

from etalambda.lab.records.lock import RunLocked
from etalambda.lab.records.reading import RunData, read
from etalambda.lab.records.run import ConfigMismatch, RecordError, Run, open_run

__all__ = ["ConfigMismatch", "RecordError", "Run", "RunData", "RunLocked", "open_run", "read"]
