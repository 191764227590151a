"""The demo's numbers as one compact file: ``python -m benchmarks.demo_evidence runs/demo OUT``.

Tables and findings are those of the page, so that every number on it can be traced.
"""

import json
import sys
from dataclasses import asdict, is_dataclass
from pathlib import Path

from etalambda.lab.report import PARTS, find_runs


def main(runs: str, out: str) -> None:
    """Write the tables and findings of every run below ``runs`` to ``out``."""
    found = {}
    for folder, run in find_runs([Path(runs)]).items():
        part = PARTS[run.kind]
        tables = [asdict(t) if is_dataclass(t) else t._asdict() for t in part.tables(run)]
        found[folder.name] = dict(
            sessions=run.env.get("sessions"), commit=run.env.get("commit"), config=run.config,
            python=run.env.get("python"), packages=run.env.get("packages"),
            cpus=run.env.get("cpus"),
            finished=run.env.get("finished"), findings=part.findings(run), tables=tables,
        )  # fmt: skip
    Path(out).write_text(json.dumps(found, indent=1, ensure_ascii=False, default=str) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
