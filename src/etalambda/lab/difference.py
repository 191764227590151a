"""What differs between two runs or sets of them: settings, environment, results in pairs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from etalambda.lab.numbers import number
from etalambda.lab.report.tables import Table
from etalambda.lab.results import OWN, Results
from etalambda.lab.statistics import paired_difference

ASIDE = ("log", "device", "data_dir")  # fields that say where, not what


def difference(a: Path, b: Path) -> list[Table]:
    """Tables of what differs.

    Raises:
        ValueError: If one of the folders does not exist or holds no run.
    """
    sides = [Results.below([place]) for place in (a, b)]
    for place, side in zip((a, b), sides):
        if not side.lines:
            raise ValueError(f"no run in {place}")
    one, other = sides
    tables = [_settings(one, other, a, b), _environment(one, other, a, b)]
    return [table for table in [*tables, _results(one, other, a, b)] if table.rows]


def _settings(one: Results, other: Results, a: Path, b: Path) -> Table:
    kinds = [sorted({line.kind for line in side.lines}) for side in (one, other)]
    rows = (
        [["experiment", ", ".join(kinds[0]), ", ".join(kinds[1])]] if kinds[0] != kinds[1] else []
    )
    names = dict.fromkeys(n for side in (one, other) for line in side.lines for n in line.config)
    for name in names:
        told = [_values(side, name) for side in (one, other)]
        if told[0] != told[1]:
            rows.append([name, *told])
    return Table("settings that differ", ("", str(a), str(b)), rows)


def _values(side: Results, name: str) -> str:
    found = list(dict.fromkeys(str(line.config.get(name, "–")) for line in side.lines))
    return ", ".join(found[:8]) + (f", ... ({len(found)})" if len(found) > 8 else "")


def _environment(one: Results, other: Results, a: Path, b: Path) -> Table:
    rows = []
    told = [_flat(side.lines[0].env) for side in (one, other)]
    for name in told[0] | told[1]:
        if told[0].get(name) != told[1].get(name):
            rows.append([name, str(told[0].get(name, "–")), str(told[1].get(name, "–"))])
    return Table("environment that differs", ("", str(a), str(b)), rows)


def _flat(env: Mapping[str, Any]) -> dict[str, Any]:
    kept = {
        k: v for k, v in env.items() if k in ("python", "platform", "cpus", "accelerator", "commit")
    }
    return kept | dict(env.get("packages", {}))


def _results(one: Results, other: Results, a: Path, b: Path) -> Table:
    pairs = matched(one, other)
    rows = []
    names = [n for n in one.table if n in other.table and n not in OWN and not _field(one, n)]
    for name in names:
        left, right = (side.table[name] for side in (one, other))
        if left.dtype.kind not in "if" or right.dtype.kind not in "if" or not pairs:
            continue
        x = np.array([left[i] for i, _ in pairs], dtype=float)
        y = np.array([right[j] for _, j in pairs], dtype=float)
        found = paired_difference(y, x)
        if not found.n:
            continue
        ends = f"{number(found.low)} to {number(found.high)}" if found.n > 1 else "–"
        means = [number(float(np.nanmean(side))) for side in (x, y)]
        rows.append([name, *means, number(found.value), ends, str(found.n)])
    note = (
        f"pairs of runs that differ only in what differs between the folders: {len(pairs)}; "
        "n: pairs with both numbers; the interval is a 95 % t-interval over them"
    )
    columns = ("", str(a), str(b), "second - first", "95 % interval", "n")
    return Table("results", columns, rows, note)


def _field(side: Results, name: str) -> bool:
    return any(name in line.config for line in side.lines)


def matched(one: Results, other: Results) -> list[tuple[int, int]]:
    """Rows of both that agree in every field which varies within either set."""
    inside = [n for n in dict.fromkeys([*one.varying, *other.varying]) if n not in ASIDE]
    shared = [n for n in inside if _range(one, n) & _range(other, n)]
    theirs = {_key(line.config, shared): j for j, line in enumerate(other.lines)}
    ours = [_key(line.config, shared) for line in one.lines]
    if len(theirs) < len(other.lines) or len(set(ours)) < len(ours):
        return []  # several runs would be one pair's partner
    return [(i, theirs[key]) for i, key in enumerate(ours) if key in theirs]


def _range(side: Results, name: str) -> set[str]:
    return {repr(line.config.get(name)) for line in side.lines}


def _key(config: Mapping[str, Any], names: list[str]) -> tuple[str, ...]:
    return tuple(repr(config.get(name)) for name in names)
