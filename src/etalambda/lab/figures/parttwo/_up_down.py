"""What E2 says: up against down by regime, every course against constant, and the picture."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from etalambda.lab.experiments.parts import Tables
from etalambda.lab.figures.parttwo._cells import rows_where
from etalambda.lab.figures.parttwo._courses import COURSES
from etalambda.lab.figures.style import INK, OKABE_ITO, figure, house_style
from etalambda.lab.reproduce import above, below
from etalambda.lab.statistics import Interval, holm, paired_difference


def score(cells: Mapping[str, np.ndarray], passes: int, name: str) -> np.ndarray:
    """``test`` of a course in a regime, by seed."""
    rows = rows_where(cells, passes=passes, course=name)
    return rows["test"][np.argsort(rows["seed"])]


def up_minus_down(cells: Mapping[str, np.ndarray], passes: int) -> np.ndarray:
    """The mean of the rising courses minus that of the falling ones, by seed."""
    means = {
        way: np.mean(
            [score(cells, passes, n) for n, c in COURSES.items() if c.direction == way], axis=0
        )
        for way in ("up", "down")
    }
    return means["up"] - means["down"]


def estimate(tables: Tables) -> Mapping[str, Interval]:
    """The interaction and its two parts."""
    cells = tables["cells"]
    one, many = (up_minus_down(cells, int(p)) for p in np.unique(cells["passes"]))
    zero = np.zeros_like(one)
    return {
        "interaction": paired_difference(one, many),
        "one pass": paired_difference(one, zero),
        "many passes": paired_difference(many, zero),
    }


def criteria(unit: str) -> dict[str, Any]:
    """Down wins where data are new, up where they recur (D'Angelo et al. 2024 and practice)."""
    return {
        "interaction": above(f"(up - down) at one pass minus at many, {unit}", 0.0),
        "one pass": above(f"up - down at one pass, {unit}", 0.0),
        "many passes": below(f"up - down at many passes, {unit}", 0.0),
    }


def against_constant(
    cells: Mapping[str, np.ndarray], passes: int
) -> dict[str, tuple[Interval, bool]]:
    """Every course minus constant, and whether it differs by Holm's test at 5 %."""
    base, ours = score(cells, passes, "constant"), rows_where(cells, passes=passes)
    names = [name for name in dict.fromkeys(ours["course"]) if name != "constant"]
    found = {name: paired_difference(score(cells, passes, name), base) for name in names}
    return {name: (found[name], differs) for name, differs in zip(names, holm(found.values()))}


def drawing(unit: str) -> Callable[[Tables], Any]:
    """The picture: K of constant decay, and every course minus constant in both regimes."""

    @house_style
    def draw(tables: Tables) -> Any:
        grid, cells = tables["grid"], tables["cells"]
        fig, axes = figure(13.0, 4.6, 3)
        regimes = [int(p) for p in np.unique(cells["passes"])]
        for passes, color in zip(regimes, OKABE_ITO):
            rows = rows_where(grid, passes=passes)
            budgets = np.unique(rows["budget"])
            values = [rows_where(rows, budget=b)["val"] for b in budgets]
            x = np.where(budgets > 0, budgets, budgets[budgets > 0].min() / 3)
            means = [v.mean() for v in values]
            axes[0].plot(x, means, "o-", color=color, label=f"{passes} passes")
        axes[0].set(xscale="log", xlabel="K of constant decay (left: 0)", ylabel=f"val, {unit}")
        axes[0].legend()
        for axis, passes in zip(axes[1:], regimes):
            _courses_minus_constant(axis, cells, passes)
            axis.set_xlabel(f"test minus constant's, {unit}; blue: Holm, 5 %")
        return fig

    return draw


def _courses_minus_constant(axis: Any, cells: Mapping[str, np.ndarray], passes: int) -> None:
    found = against_constant(cells, passes)
    for place, (difference, differs) in enumerate(found.values()):
        ends = [[difference.value - difference.low], [difference.high - difference.value]]
        color = OKABE_ITO[0] if differs else "0.6"
        axis.errorbar([difference.value], [-place], xerr=ends, fmt="o", ms=4, color=color)
    spent = {n: rows_where(cells, passes=passes, course=n)["K"].mean() for n in found}
    names = [f"{name}, K {K:.2g}" for name, K in spent.items()]
    axis.set_yticks([-i for i in range(len(names))], names, fontsize=8)
    axis.axvline(0, color=INK, lw=0.8)
    n = len(score(cells, passes, "constant"))
    axis.set_title(f"{passes} pass{'es' * (passes > 1)}, n = {n}")
