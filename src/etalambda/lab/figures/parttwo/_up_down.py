"""What E2 says: up against down by regime, every course against constant, and the picture."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from etalambda.lab.experiments.parts import Tables
from etalambda.lab.figures.parttwo._courses import COURSES
from etalambda.lab.figures.style import INK, OKABE_ITO, figure, house_style
from etalambda.lab.reproduce import above, below
from etalambda.lab.reproduce.cells import by_seed, rows_where
from etalambda.lab.statistics import Interval, holm, paired_difference


def score(
    cells: Mapping[str, np.ndarray], passes: int, name: str, multiple: float = 1.0
) -> np.ndarray:
    """``test`` of a course in a regime at a multiple of K, by seed."""
    rows = rows_where(cells, passes=passes, course=name, multiple=multiple)
    return by_seed(rows)


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
    cells: Mapping[str, np.ndarray], passes: int, multiple: float = 1.0
) -> dict[str, tuple[Interval, bool]]:
    """Every course minus constant at one budget, and whether it differs by Holm's test at 5 %."""
    ours = rows_where(cells, passes=passes, multiple=multiple)
    base = score(cells, passes, "constant", multiple)
    names = [name for name in dict.fromkeys(ours["course"]) if name != "constant"]
    found = {n: paired_difference(score(cells, passes, n, multiple), base) for n in names}
    return {name: (found[name], differs) for name, differs in zip(names, holm(found.values()))}


def drawing(unit: str) -> Callable[[Tables], Any]:
    """The picture: K of constant decay, and every course minus constant in both regimes."""

    @house_style
    def draw(tables: Tables) -> Any:
        grid, cells = tables["grid"], tables["cells"]
        fig, axes = figure(14.0, 5.4, 3)
        regimes = [int(p) for p in np.unique(cells["passes"])]
        for passes, color in zip(regimes, OKABE_ITO):
            rows = rows_where(grid, passes=passes)
            budgets = np.unique(rows["budget"])
            means = [rows_where(rows, budget=b)["val"].mean() for b in budgets]
            x = np.where(budgets > 0, budgets, budgets[budgets > 0].min() / 3)
            axes[0].plot(x, means, "o-", color=color, label=_passes(passes))
        axes[0].set(xscale="log", xlabel="K of constant decay (left: 0)", ylabel=f"val, {unit}")
        axes[0].legend()
        for axis, passes in zip(axes[1:], regimes):
            _courses_minus_constant(axis, cells, passes)
            axis.set_xlabel(f"test minus constant's, {unit}\nfull: differs by Holm's test, 5 %")
        axes[1].legend(fontsize=8, title="K")
        return fig

    return draw


def _passes(count: int) -> str:
    return f"{count} pass{'es' * (count > 1)}"


def _courses_minus_constant(axis: Any, cells: Mapping[str, np.ndarray], passes: int) -> None:
    colors = dict(zip(np.unique(cells["multiple"]), OKABE_ITO))
    multiples = np.unique(rows_where(cells, passes=passes)["multiple"])
    names: list[str] = []
    for index, multiple in enumerate(multiples):
        found = against_constant(cells, passes, multiple)
        names = names or list(against_constant(cells, passes))
        for name, (difference, differs) in found.items():
            place = -names.index(name) - 0.18 * (index - (len(multiples) - 1) / 2)
            look: dict[str, Any] = dict(color=colors[multiple], fmt="o", ms=4)
            face = {} if differs else dict(mfc="white")
            axis.errorbar([difference.value], [place], xerr=difference.whiskers, **look, **face)
        spent = rows_where(cells, passes=passes, course="constant", multiple=multiple)["K"].mean()
        axis.plot([], [], "o", color=colors[multiple], label=f"{spent:.2g}")
    axis.set_yticks([-i for i in range(len(names))], names, fontsize=8)
    axis.axvline(0, color=INK, lw=0.8)
    largest = max(
        abs(d.value) for m in multiples for d, _ in against_constant(cells, passes, m).values()
    )
    near = np.median([d.sd for d, _ in against_constant(cells, passes).values()])
    axis.set_xscale("symlog", linthresh=float(4 * near) or 1.0)
    axis.set_xlim(-1.3 * largest - 1e-9, 1.3 * largest + 1e-9)
    axis.set_title(f"{_passes(passes)}, n = {len(score(cells, passes, 'constant'))}")
