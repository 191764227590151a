"""The comparison's part of the page: the table of paired differences, and curves to switch."""

from __future__ import annotations

from typing import Any

import numpy as np

from etalambda.lab.figures.compare import method_panel
from etalambda.lab.figures.style import by_group, palette
from etalambda.lab.records import RunData
from etalambda.lab.report.curves import chips, curve_charts, tuned_curves
from etalambda.lab.report.html import Section, paragraph
from etalambda.lab.report.labels import labels_of
from etalambda.lab.report.tables import NotYet, Table, mean_sd, number
from etalambda.lab.statistics import paired_difference

REFERENCE = "constant"


def tables(run: RunData) -> list[Table]:
    """Each method at its own best λ, and all at one λ."""
    return [table(run, "tuned"), table(run, "common")]


def picture(run: RunData) -> Any:
    """Test error of every method, for a file."""
    return method_panel(run.tables["summary"])


def table(run: RunData, role: str) -> Table:
    """Test error, paired difference to constant λ with its 95 % interval, K and final norm."""
    methods = _methods(run, role)
    base = reference(list(methods))
    rows = [
        _row(name, rows, methods[base] if name != base else None) for name, rows in methods.items()
    ]
    columns = ("method", "λ", "test error %", f"minus {base}", "95 % interval", "n", "K", "norm")
    title = "Each at its own best λ" if role == "tuned" else "All at one λ"
    choice = (
        f"λ chosen by validation error from {len(run.config.get('weight_decays', ()))} values, for "
        "each method alone, on other seeds. "
        if role == "tuned"
        else "No choice: one λ for every method. "
    )
    note = (
        f"{choice}Mean ± sd over paired seeds of networks that chose nothing; differences in "
        "points of test error, negative is better; a diverged network is left out of n. The "
        "sphere has a radius to choose, in initial norms."
    )
    errors = np.nan_to_num([_error(rows) for rows in methods.values()], nan=np.inf)
    best = int(errors.argmin()) if np.isfinite(errors).any() else -1
    return Table(title, columns, rows, note, bold=best)


def reference(methods: list[str]) -> str:
    """The method that the others are compared with: constant decay, else the first."""
    named = [name for name in methods if name.startswith(REFERENCE)]
    return named[0] if named else methods[0]


def _methods(run: RunData, role: str) -> dict[str, dict[str, np.ndarray]]:
    summary = run.tables["summary"]
    if role not in summary["role"]:
        raise NotYet(f"networks at the {role} λ")
    ours = {key: column[summary["role"] == role] for key, column in summary.items()}
    return {name: rows for (name,), rows in by_group(ours, "method").items()}


def _error(rows: dict[str, np.ndarray]) -> float:
    there = rows["test_error"][np.isfinite(rows["test_error"])]
    return float(there.mean()) if there.size else np.nan


def _row(name: str, rows: dict[str, np.ndarray], base: dict[str, np.ndarray] | None) -> list[str]:
    n = str(int(np.isfinite(rows["test_error"]).sum()))
    decay = number(float(rows["weight_decay"][0]))
    if "radius" in rows and np.isfinite(rows["radius"][0]):
        decay = f"radius {rows['radius'][0]:g}"
    tail = [n, number(_mean(rows["K"])), number(_mean(rows["norm"]))]
    if base is None:
        return [name, decay, mean_sd(rows["test_error"]), "", "", *tail]
    middle, low, high = paired(rows, base)
    interval = f"{low:+.2f} to {high:+.2f}" if np.isfinite(low) else "–"
    shift = f"{middle:+.2f}" if np.isfinite(middle) else "–"
    return [name, decay, mean_sd(rows["test_error"]), shift, interval, *tail]


def _mean(values: np.ndarray) -> float:
    there = values[np.isfinite(values)]
    return float(there.mean()) if there.size else np.nan


def paired(rows: dict[str, np.ndarray], base: dict[str, np.ndarray]) -> tuple[float, float, float]:
    """Mean difference of test error over the seeds that both have, and its 95 % t-interval.

    In points of percent; NaN where fewer than two seeds are left.
    """
    _, mine, theirs = np.intersect1d(rows["seed"], base["seed"], return_indices=True)
    a, b = 100 * rows["test_error"][mine], 100 * base["test_error"][theirs]
    found = paired_difference(a, b)
    return found.value, found.low, found.high


def findings(run: RunData) -> list[str]:
    """Who differs from constant decay beyond the interval, and who cannot be told from it."""
    methods = _methods(run, "tuned")
    base = reference(list(methods))
    better, worse, same = [], [], []
    for name, rows in methods.items():
        middle, low, high = paired(rows, methods[base]) if name != base else (np.nan,) * 3
        if np.isfinite(middle):
            pile = better if high < 0 else worse if low > 0 else same
            pile.append(f"{name} ({middle:+.1f})")
    n = len(np.unique(methods[base]["seed"]))
    said = [f"{base}: test error {mean_sd(methods[base]['test_error'])} % (n = {n})."]
    for label, pile in (("Better", better), ("Worse", worse), ("Not told apart", same)):
        if pile:
            said.append(f"{label}, in points of test error against it: {', '.join(pile)}.")
    tested = len(better) + len(worse) + len(same)
    if tested > 1:
        said.append(f"{tested} intervals at 95 % each: about one in twenty misses by chance.")
    ends = at_the_end(run)
    if ends:
        said.append(f"ALARM: chosen at the end of its grid, and perhaps better beyond: {ends}.")
    return said


def at_the_end(run: RunData) -> str:
    """The methods whose λ, or radius, is the lowest or highest that was tried, in words."""
    summary, said = run.tables["summary"], []
    if "grid" not in summary["role"]:
        return ""
    tried = _methods(run, "grid")
    for name, rows in _methods(run, "tuned").items():
        for what, column in (("λ", "weight_decay"), ("radius", "radius")):
            values = tried.get(name, {}).get(column, np.zeros(0))
            values = np.unique(values[np.isfinite(values)])
            if len(values) > 1 and rows[column][0] in values[[0, -1]]:
                said.append(f"{name} ({what} {number(float(rows[column][0]))})")
    return ", ".join(said)


def section(run: RunData, name: str) -> Section:
    """The comparison's part of the page."""
    methods = list(_methods(run, "tuned"))
    colours = palette(methods)
    intro = (
        f"One network, lr {run.config.get('lr')}, and each way of scheduling weight decay at the λ "
        "that suits it best. Lines are means over seeds, bands one standard deviation. Switch "
        "methods on and off:"
    )
    shown = "".join(made.to_html() for made in tables(run))
    curves = tuned_curves(run.tables)
    body = [shown, paragraph(intro), chips(colours), curve_charts(curves, colours, name)]
    return Section(name, _title(run), "".join(body), findings(run))


def _title(run: RunData) -> str:
    config = run.config
    return (
        f"Ways of scheduling: {config.get('task', '')} {config.get('model', '')}, {labels_of(run)}"
    )
