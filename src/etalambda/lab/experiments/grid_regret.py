"""Experiment E4: the regret of every rule for λ on every grid that Part II trained.

Nothing is trained. A rule names its λ from the plan alone; its test error is that of the grid,
straight lines in log λ between neighbours (in λ below the smallest), and its regret that minus the
error of the λ with the lowest validation error, in points. Outside of the grid the error is that
of its end, and the setting is counted as ``outside``. "default" is torch's: 0, AdamW 0.01.

Settings of one task (data, network, optimizer) are averaged before tasks are: a task counts once,
and intervals are of a bootstrap over tasks. Rules apply to different settings, so the last column
compares each with `decay_budget` where both speak. Held out is what the rule "fitted" has not seen.

Run: ``python -m etalambda.lab.experiments.grid_regret``. Tables: ``regrets`` (source, task,
setting, seen, rule, weight_decay, best, regret, outside, n); ``verdict_all`` and
``verdict_held_out``, a line a rule; ``checked``, where a λ between those of the grid was trained.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from etalambda.lab.experiments.alone import write_tables
from etalambda.lab.experiments.kept_grids import Grid, kept_grids, with_trained_rules
from etalambda.lab.experiments.parts import columns
from etalambda.lab.experiments.regret import DEFAULTS
from etalambda.lab.report.tables import Table
from etalambda.lab.statistics import Interval, bootstrapped
from etalambda.suggest import suggest

Row = Mapping[str, Any]


def predictions(plan: Mapping[str, Any]) -> dict[str, float]:
    """Rule -> λ for a plan; rules that do not apply are left out."""
    found = suggest(**plan)
    rules = {p.name: p.weight_decay for p in found.predictions if math.isfinite(p.weight_decay)}
    return {"default": DEFAULTS[plan["optimizer"]]} | rules


def error_at(grid: Grid, decay: float) -> tuple[np.ndarray, bool]:
    """Test errors of every seed at a λ, and whether it lies outside of the grid.

    >>> grid = Grid("", "", "", {}, np.array([0, 0.1, 10]), *2 * (np.array([[4.0], [2], [8]]),))
    >>> [error_at(grid, decay)[0].item() for decay in (0.05, 1.0, 10.0)], error_at(grid, 11.0)[1]
    ([3.0, 5.0, 8.0], True)
    """
    known = grid.decays
    right = int(np.searchsorted(known, decay))
    if right == len(known) or (right == 0 and decay < known[0]):
        return grid.test[min(right, len(known) - 1)], True
    if known[right] == decay:
        return grid.test[right], False
    low, high = known[right - 1 : right + 1]
    share = (decay - low) / (high - low) if low == 0 else np.log(decay / low) / np.log(high / low)
    return (1 - share) * grid.test[right - 1] + share * grid.test[right], False


def regrets(grid: Grid) -> list[dict[str, Any]]:
    """A row a rule."""
    best = int(grid.val.mean(1).argmin())
    rows = []
    for rule, decay in predictions(grid.plan).items():
        errors, outside = error_at(grid, decay)
        row = {name: getattr(grid, name) for name in ("source", "task", "setting", "seen")}
        row |= dict(rule=rule, weight_decay=decay, best=float(grid.decays[best]))
        gap = float((errors - grid.test[best]).mean())
        rows.append(row | dict(regret=gap, outside=outside, n=grid.test.shape[1]))
    return rows


def checked(home: Path) -> list[dict[str, Any]]:
    """Errors between the λ of a grid as they were trained, and as the grid says by interpolation.

    The regret experiment trained both; elsewhere nothing lies between the grid's λ.
    """
    return [
        dict(task=grid.task, setting=grid.setting, weight_decay=decay, trained=trained)
        | dict(interpolated=float(error_at(grid, decay)[0].mean()))
        for grid, found in with_trained_rules(home)
        for decay, trained in found.items()
    ]


def verdict(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """A line a rule: median and largest regret over settings, means over tasks with intervals."""
    by_setting: dict[Any, dict[str, Row]] = {}
    for row in rows:
        by_setting.setdefault((row["source"], row["task"], row["setting"]), {})[row["rule"]] = row
    rules = list(dict.fromkeys(row["rule"] for row in rows))
    gap = float(np.median([found["default"]["regret"] for found in by_setting.values()]))
    worst = [
        max((rule for rule in found if rule != "default"), key=lambda r: found[r]["regret"])
        for found in by_setting.values()
    ]
    lines = []
    for rule in rules:
        ours = [found[rule] for found in by_setting.values() if rule in found]
        values = [row["regret"] for row in ours]
        both = [
            (row["task"], row["regret"] - found["decay_budget"]["regret"])
            for found in by_setting.values()
            if (row := found.get(rule)) is not None
        ]
        own = over_tasks((row["task"], row["regret"]) for row in ours)
        apart = over_tasks(both)
        lines.append(
            dict(rule=rule, settings=len(ours), tasks=own.n)
            | dict(outside=sum(row["outside"] for row in ours), worst=worst.count(rule))
            | dict(median=float(np.median(values)), largest=max(values))
            | dict(mean=own.value, mean_low=own.low, mean_high=own.high)
            | dict(minus_budget=apart.value, minus_low=apart.low, minus_high=apart.high)
            | dict(trusted=_trusted(rule, values, gap, worst, len(by_setting)))
        )
    return lines


def _trusted(
    rule: str, values: Sequence[float], gap: float, worst: Sequence[str], settings: int
) -> bool:
    everywhere = len(values) == settings and rule != "default"
    return everywhere and float(np.median(values)) < gap / 4 and rule not in worst


def over_tasks(values: Iterable[tuple[str, float]]) -> Interval:
    """The mean over tasks of the mean over each task's settings; 95 % by bootstrap over tasks.

    >>> over_tasks([("a", 1.0), ("a", 3.0), ("b", 4.0)])[:3]
    (3.0, 2.0, 4.0)
    """
    by_task: dict[str, list[float]] = {}
    for task, value in values:
        by_task.setdefault(task, []).append(value)
    means = np.array([np.mean(found) for found in by_task.values()])
    return bootstrapped(lambda chosen: float(means[chosen].mean()), len(means))


def tables(rows: Sequence[Row]) -> list[Table]:
    """Every regret, then what they say: of all settings, and of those held out."""
    names = list(dict.fromkeys(row["rule"] for row in rows))
    found: dict[Any, dict[str, Row]] = {}
    for row in rows:
        found.setdefault((row["source"], row["task"], row["setting"]), {})[row["rule"]] = row
    lines = []
    for (source, task, setting), ours in found.items():
        first = next(iter(ours.values()))
        cells = [
            f"{ours[n]['regret']:+.1f}{'*' if ours[n]['outside'] else ''}" if n in ours else "–"
            for n in names
        ]
        seen = " (seen)" if first["seen"] else ""
        lines.append((f"{source}: {task}; {setting}{seen}", f"{first['best']:.2g}", *cells))
    made = [Table("regret in points; * outside of the grid", ("setting", "best λ", *names), lines)]
    for title, chosen in (("all settings", rows), ("held out", held_out(rows))):
        lines = [
            (
                line["rule"],
                *(str(line[name]) for name in ("settings", "tasks", "outside", "worst")),
                *(f"{line[name]:+.2f}" for name in ("median", "largest")),
                spoken(line, "mean", "mean"),
                spoken(line, "minus_budget", "minus"),
                "yes" if line["trusted"] else "no",
            )
            for line in verdict(chosen)
        ]
        head = ("rule", "settings", "tasks", "outside", "times worst", "median", "largest")
        last = ("mean over tasks (95 %)", "minus decay_budget (95 %)", "may be default")
        made.append(Table(title, (*head, *last), lines))
    return made


def spoken(line: Row, value: str, ends: str) -> str:
    """A number and its interval."""
    low, high = line[f"{ends}_low"], line[f"{ends}_high"]
    return f"{line[value]:+.2f} ({low:+.2f} to {high:+.2f})"


def held_out(rows: Sequence[Row]) -> list[Row]:
    """What the fitted rule has not seen and speaks of."""
    spoken_of = {
        (row["source"], row["task"], row["setting"]) for row in rows if row["rule"] == "fitted"
    }
    return [
        row
        for row in rows
        if not row["seen"] and (row["source"], row["task"], row["setting"]) in spoken_of
    ]


def main(
    evidence: Path = Path("docs/evidence"), out: Path = Path("docs/evidence/parttwo-e4")
) -> None:
    """Every rule on every kept grid: print the regrets, write them and their picture to ``out``.

    Args:
        evidence: Folder of the kept experiments.
        out: Folder for ``regrets.json`` and ``regrets.png``.
    """
    from etalambda.lab.console import print_table
    from etalambda.lab.figures.grid_regret import draw

    rows = [row for grid in kept_grids(evidence) for row in regrets(grid)]
    for table in tables(rows):
        print_table(table)
    judged = {"all": verdict(rows), "held_out": verdict(held_out(rows))}
    made = dict(regrets=columns(rows), checked=columns(checked(evidence)))
    made |= {f"verdict_{n}": columns(v) for n, v in judged.items()}
    out.mkdir(parents=True, exist_ok=True)
    write_tables("grid_regret", {}, made, out / "regrets.json")
    draw(rows).savefig(out / "regrets.png", dpi=80, metadata={"Software": None})


if __name__ == "__main__":
    import tyro

    tyro.cli(main)
