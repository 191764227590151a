"""``etalambda doctor``: what a finished or running training says about its weight decay."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import Positional, arg

if TYPE_CHECKING:
    from etalambda.suggest import Report

SHOWN = 8
MaybeNumber = Annotated[float | None, arg(metavar="NUMBER", help_behavior_hint="")]


def doctor(
    run: Positional[Annotated[Path | None, arg(metavar="RUN", help_behavior_hint="")]] = None,
    script: bool = False,
    optimizer: Annotated[str | None, arg(metavar="NAME", help_behavior_hint="")] = None,
    momentum: float = 0.0,
    lr: MaybeNumber = None,
    weight_decay: MaybeNumber = None,
    steps: Annotated[int | None, arg(metavar="INT", help_behavior_hint="")] = None,
    json_: Annotated[bool, arg(name="json")] = False,
) -> None:
    """What a training's log says about its weight decay, with one line to fix each finding.

    RUN is a run folder of etalambda, a CSV log, a TensorBoard event file or a folder of them. A
    log without lr or weight decay can be completed by the flags.

    As in: etalambda doctor metrics.csv --optimizer adamw --weight-decay 0.1

    Args:
        run: The run folder or log; not needed with --script.
        script: Print the five lines to paste into your own training script.
        optimizer: Who took the steps; decides how weight decay acts. Default: what
            the log or the run folder says, else adamw.
        momentum: Of SGD.
        lr: Stands in where the log has none.
        weight_decay: Stands in where the log has none.
        steps: Length of the whole run, if it is not over.
        json_: Print JSON.
    """
    from etalambda.suggest.doctor import SCRIPT, examine_log

    if script:
        print(SCRIPT, end="")
        return
    if run is None:
        raise ValueError("name a run folder or a log, or ask for --script")
    options: dict[str, Any] = dict(
        momentum=momentum, lr=lr, weight_decay=weight_decay, total_steps=steps
    )
    if (run / "config.toml").is_file():
        reports = list(examine_record(run, optimizer, options))
    else:
        reports = [examine_log(run, optimizer=optimizer, **options)]
    if json_:
        print(json.dumps([report.to_dict() for report in reports], indent=2))
    else:
        print(summary(reports))


def examine_record(
    folder: Path, optimizer: str | None, options: dict[str, Any]
) -> Iterator[Report]:
    """A report for every network in a run folder: one a plan or method, λ and seed."""
    from etalambda.lab.records import read
    from etalambda.suggest import Trace, examine

    data = read(folder)
    table = data.tables.get("metrics")
    if not table or not len(next(iter(table.values()))):
        raise ValueError(f"{folder} has no metrics yet; is the run still in its first part?")
    options = options | {"momentum": options["momentum"] or float(data.config.get("momentum", 0.0))}
    for label, rows in series(table):
        name = optimizer or data.config.get("optimizer") or _named_by_method(rows[0])
        trace = Trace.of(rows, **options, optimizer=name)
        yield examine(replace(trace, name=label))


def _named_by_method(row: Mapping[str, Any]) -> str | None:
    """In a comparison the method says who trained: AdamW, AdamS, else SGD."""
    from etalambda.theory import budget

    if "method" not in row:
        return None
    return str(row["method"]) if str(row["method"]).lower() in budget.FORMS else "sgd"


def series(table: Mapping[str, Any]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """The rows of each network of a record, by whatever tells networks apart."""
    keys = [key for key in ("plan", "method", "seed") if key in table]
    keys += ["weight_decay"] if "lam" in table else []  # there λ over time is called lam
    keys += ["lr", "weight_decay"] if "step" not in table else []
    found: dict[tuple, list[dict[str, Any]]] = {}
    for index in range(len(next(iter(table.values())))):
        row = {key: column[index] for key, column in table.items()}
        label = tuple(str(row[key]) for key in dict.fromkeys(keys))
        if "lam" in row:
            row["weight_decay"] = row.pop("lam")
        found.setdefault(label, []).append(row)
    names = list(dict.fromkeys(keys))
    for label, rows in found.items():
        yield ", ".join(f"{key} {value}" for key, value in zip(names, label)), rows


def summary(reports: list[Report]) -> str:
    """One report in full; of many, each finding once, with the runs that have it."""
    if len(reports) == 1:
        return str(reports[0])
    having: dict[str, list[tuple[str, Any]]] = {}
    for report in reports:
        for finding in report.findings:
            having.setdefault(finding.code, []).append((report.name, finding))
    healthy = sum(report.ok for report in reports)
    lines = [f"{len(reports)} networks, {healthy} with nothing to change"]
    for code, cases in having.items():
        lines.append(f"{code} in {len(cases)}, first: {cases[0][0]}")
        lines += [f"  {line}" for line in str(cases[0][1]).split("\n")]
        others = [name for name, _ in cases[1:SHOWN]]
        rest = f" and {len(cases) - SHOWN} more" if len(cases) > SHOWN else ""
        lines += [f"  also: {'; '.join(others)}{rest}"] if others else []
    return "\n".join(lines)
