"""The part of the page about a set of runs, a sweep or any others of one kind."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from etalambda.lab.commands.words import words_of
from etalambda.lab.figures.arms import arm_curves, arm_errors
from etalambda.lab.figures.map import arm_maps, colour_limits
from etalambda.lab.figures.mechanism import mechanism
from etalambda.lab.figures.style import palette, to_svg
from etalambda.lab.report.arms import Arm, Arms, panel_rows
from etalambda.lab.report.curves import chips, curve_charts
from etalambda.lab.report.heatmap import heatmap
from etalambda.lab.report.html import Section, details, figures, paragraph
from etalambda.lab.report.tables import Table, mean_sd, number, percent
from etalambda.lab.results import Line, Results

MOST_MAPS = 6  # that the page draws to hover over; of more it shows one picture
MOST_CURVES = 12


def sets_of(lines: Iterable[Line]) -> dict[str, Results]:
    """The runs of each sweep together, the others by kind, task and model; title -> runs."""
    found: dict[str, list[Line]] = {}
    for line in lines:
        what = [line.kind, str(line.config.get("task", "")), str(line.config.get("model", ""))]
        title = (
            f"Sweep {line.sweep.name}" if line.sweep else f"Runs: {' '.join(filter(None, what))}"
        )
        found.setdefault(title, []).append(line)
    return {title: Results(tuple(ours)) for title, ours in found.items()}


def section(title: str, results: Results, name: str) -> Section:
    """Maps, curves and the table of a set of runs."""
    arms = Arms.of(results)
    if not arms.arms:
        text = f"None of the {len(results.lines)} runs has finished yet."
        return Section(name, title, paragraph(text))
    body = [paragraph(_intro(arms)), _maps(arms, name), table(arms).to_html(), _curves(arms, name)]
    return Section(name, title, "".join(body), findings(arms))


def _intro(arms: Arms) -> str:
    count = len(arms.results.lines)
    fields = ", ".join(name.replace("_", " ") for name in arms.results.varying) or "nothing"
    shared = {k: v for k, v in arms.results.common.items() if k in ("task", "model", "optimizer")}
    told = ", ".join(f"{name} {value}" for name, value in shared.items())
    return f"{count} runs that differ in {fields}; all have {told or 'different settings'}."


def _maps(arms: Arms, name: str) -> str:
    grids = arms.maps
    if not grids:
        return ""
    text = (
        "Mean validation error of every pair of lr and weight_decay, one colour scale for all. "
        "Star: the best cell. Line: the basin within half a point of it; its share of the cells "
        "says how exactly lr and weight_decay must be known. Dashed: equal lr · λ. Hatched: a seed "
        "diverged. Hover for numbers; click a cell for the command that trains it alone."
    )
    if len(grids) > MOST_MAPS:
        return paragraph(text) + to_svg(arm_maps(grids), f"{name}-maps", "maps of all arms")
    limits = colour_limits(grids.values())
    charts = [
        heatmap(
            grid, f"{name}-map{i}", _command(arms.arms[arm]), title=arm, limits=limits, height=410
        )
        if grid.any
        else paragraph(f"{arm}: every cell diverged.")
        for i, (arm, grid) in enumerate(grids.items())
    ]
    return paragraph(text) + figures(charts)


def _command(arm: Arm) -> Any:
    """(lr, weight_decay) -> the command of the first run of that cell."""

    def command(lr: float, weight_decay: float) -> str:
        here = (arm.table["lr"] == lr) & (arm.table["weight_decay"] == weight_decay)
        if not here.any():
            return ""
        return _words(str(arm.table["kind"][here][0]), arm.configs[int(np.flatnonzero(here)[0])])

    return command


def _words(kind: str, config: Any) -> str:
    try:
        return words_of(kind, config)
    except KeyError:  # a module of the user's own
        return f"etalambda sweep {kind}"


def table(arms: Arms) -> Table:
    """Every arm at its own best cell, and its paired difference to the first arm."""
    first = next(iter(arms.arms.values()))
    rows = [_row(arm, first) for arm in arms.arms.values()]
    columns = (
        "arm", "lr", "λ", "cells", "basin %", "validation %", "test error %",
        f"minus {first.name}", "95 % interval", "n", "K", "norm",
    )  # fmt: skip
    note = (
        "Each arm at its own best cell, chosen by validation error on these same runs: of more "
        "cells the luckiest is luckier, so compare arms of equal grids. Mean ± sd over seeds; "
        "differences in points of test error over paired seeds, negative is better; n: pairs."
    )
    means = [arm.best["test_error"].mean() if len(arm.best["seed"]) else np.inf for arm in
             arms.arms.values()]  # fmt: skip
    bold = int(np.argmin(np.nan_to_num(means, nan=np.inf))) if len(rows) > 1 else -1
    return Table("Every arm at its own best cell", columns, rows, note, bold=bold)


def _row(arm: Arm, first: Arm) -> list[str]:
    best, grid = arm.best, arm.grid
    cells = str(int(np.isfinite(grid.val).sum() + grid.diverged.sum()))
    if not len(best["seed"]):
        return [arm.name, "–", "–", cells, "0", "diverged", "–", "–", "–", "0", "–", "–"]
    basin = percent(float(grid.basin().mean()), 0) if arm.is_map else "–"
    tail = [number(_mean(best, "K")), number(_mean(best, "norm"))]
    told = [arm.name, number(best["lr"][0]), number(best["weight_decay"][0]), cells, basin]
    errors = [mean_sd(best["val_error"].astype(float)), mean_sd(best["test_error"].astype(float))]
    if arm is first:
        return [*told, *errors, "", "", str(len(best["seed"])), *tail]
    found = arm.minus(first)
    ends = f"{found.low:+.2f} to {found.high:+.2f}" if found.n > 1 else "–"
    shift = f"{found.value:+.2f}" if found.n else "–"
    return [*told, *errors, shift, ends, str(found.n), *tail]


def _mean(rows: Any, name: str) -> float:
    if name not in rows:
        return float("nan")
    values = rows[name].astype(float)
    return float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")


def findings(arms: Arms) -> list[str]:
    """What the runs say in sentences, and what is wrong with them."""
    said = []
    first, *others = arms.arms.values()
    for arm in others:
        found = arm.minus(first)
        if found.n > 1 and not found.low <= 0 <= found.high:
            side = "better" if found.value < 0 else "worse"
            said.append(
                f"{arm.name} is {abs(found.value):.2f} points {side} than {first.name} on the test "
                f"set (95 % interval {found.low:+.2f} to {found.high:+.2f}, n = {found.n})."
            )
    if others and not said:
        said.append(f"No arm can be told from {first.name}: every interval holds 0.")
    for name, grid in arms.maps.items():
        if grid.any and (sides := grid.border("lr", "weight_decay")):
            advice = " and ".join(sides)
            said.append(f"ALARM: {name}: the best cell is on the border; {advice}.")
    if not arms.validated:
        said.append(
            "ALARM: these runs held no validation data out, so cells were chosen by test error, "
            "which is then too good; train with --validation."
        )
    if arms.left_out:
        said.append(f"ALARM: {arms.left_out} of {len(arms.results.lines)} runs are not finished.")
    return said


def _curves(arms: Arms, name: str) -> str:
    curves = dict(list(arms.curves().items())[:MOST_CURVES])
    if not curves:
        return ""
    text = (
        "The best cell of each arm: mean over seeds, the band is one standard deviation. Below the "
        "errors, what drives them: λ and lr as shares of their base, the norm and the effective "
        "learning rate."
    )
    colours = palette(list(curves))
    shown = chips(colours) if len(curves) > 1 else ""
    charts = paragraph(text) + shown + curve_charts(curves, colours, name)
    return charts + "".join(
        _mechanism(a, c, f"{name}-m{i}") for i, (a, c) in enumerate(curves.items())
    )


def _mechanism(arm: str, curve: Any, name: str) -> str:
    """What lr and λ did to the weights of one seed of an arm's best cell, to open on a click."""
    if not {"lr", "weight_decay", "norm"} <= set(curve):
        return ""
    drawn = mechanism(panel_rows(curve), turn="angle of a step, radians")
    return details(f"Mechanism: {arm}, one seed", to_svg(drawn, name, f"mechanism of {arm}"))


def pictures(results: Results) -> dict[str, Any]:
    """The set's static figures, by name: for a paper."""
    arms = Arms.of(results)
    made: dict[str, Any] = {}
    if arms.maps:
        made["maps"] = arm_maps(arms.maps)
    if curves := dict(list(arms.curves().items())[:MOST_CURVES]):
        made["curves"] = arm_curves(curves)
    for arm, curve in curves.items():
        if {"lr", "weight_decay", "norm"} <= set(curve):
            slug = re.sub(r"[^A-Za-z0-9._=+-]+", "-", arm)
            made[f"mechanism-{slug}"] = mechanism(panel_rows(curve), turn="angle of a step")
    if len(arms.arms) > 1:
        made["arms"] = arm_errors({name: arm.best for name, arm in arms.arms.items()})
    return made


def sweep_command(folder: Path) -> str:
    """The command of a sweep, from what its folder says it was asked; empty if that is not there.

    Workers elsewhere, engine and storage are left out: they change nothing in the results.
    """
    try:
        plan = json.loads((folder / "sweep.json").read_text(encoding="utf-8"))
        base = _words(plan["kind"], plan["base"]).removeprefix("etalambda ").split(" ", 1)
    except (OSError, ValueError, KeyError, TypeError):
        return ""
    words = [f"etalambda sweep {plan['kind']}"]
    words += [f"--over {axis['field']}={_grid(axis['values'])}" for axis in plan["axes"]]
    if plan["sampler"] != "grid":
        words += [f"--sampler {plan['sampler']} --trials {plan['trials']}"]
    rest = base[1].removeprefix(f"{plan['kind']} ") if len(base) > 1 else ""
    rest = "" if rest == plan["kind"] else rest
    return " ".join([*words, *([rest] if rest else []), f"--out {folder}"])


def _grid(values: list[Any]) -> str:
    return ",".join("+".join(map(_item, v)) if isinstance(v, list) else _item(v) for v in values)


def _item(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)
