"""What a sweep will cost, from what cells of its kind have cost."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

from etalambda.lab.records import RecordError
from etalambda.lab.records.files import read_json, read_toml
from etalambda.lab.sweep.plan import Plan
from etalambda.lab.sweep.run import finished_cells
from etalambda.lab.sweep.space import mark_of

COST = ("task", "model", "epochs", "steps", "batch_size", "optimizer", "device", "width", "depth")


def estimate(plan: Plan, out: Path, workers: int) -> str:
    """A sentence: seconds a cell and in all, measured on finished runs of the same size.

    The sweep's own cells count first, then all runs beside it. Cells that were trained together
    note the time of all, so theirs is divided by how many there were.
    """
    cells = plan.cells()
    total = len(cells) or plan.trials * max(1, len(plan.seeds))
    left = total - len({mark_of(cell.name) for cell in cells} & finished_cells(out))
    seconds = [s for place in (out, out.parent) for s in _seconds(plan, place)]
    if not left:
        return f"all {total} cells are finished"
    if not seconds:
        return (
            f"{left} of {total} cells to train; no cell of this size has been trained yet in "
            f"{out.parent}, so the cost is not known: train one with --seeds 1 and no --over"
        )
    each = median(seconds)
    whole = each * left / workers
    return (
        f"{left} of {total} cells to train, about {_time(each)} each (median of {len(seconds)} "
        f"finished ones): about {_time(whole)} with {workers} worker{'s' * (workers > 1)}"
    )


def _seconds(plan: Plan, place: Path) -> list[float]:
    """Seconds of the finished runs below a folder that cost what the plan's cells will."""
    wanted = {k: v for k, v in asdict(plan.base).items() if k in COST}
    swept = {axis.field for axis in plan.axes}
    found = []
    for path in sorted(place.rglob("config.toml"))[:2000]:
        try:
            head = read_toml(path)
        except RecordError:
            continue
        config, env = head.get("config", {}), read_json(path.with_name("env.json"))
        same = all(config.get(k) == v for k, v in wanted.items() if k not in swept)
        if head.get("kind") == plan.kind and same and env.get("finished"):
            found.append(_share(env))
    return [s for s in found if s > 0]


def _share(env: dict[str, Any]) -> float:
    seconds = sum(session.get("seconds", 0.0) for session in env.get("sessions", []))
    return seconds / env.get("together", 1)


def _time(seconds: float) -> str:
    for size, name in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 1.5 * size:
            return f"{seconds / size:.1f} {name}"
    return f"{seconds:.2g} seconds"
