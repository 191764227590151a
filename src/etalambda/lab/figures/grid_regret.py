"""The regret of every rule on every grid: what each setting cost, and each task's mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from etalambda.lab.figures.style import FAINT, INK, OKABE_ITO, figure, house_style


@house_style
def draw(rows: Sequence[Mapping[str, Any]]) -> Any:
    """A line a rule: settings in the colour of their task, grey if the fitted rule has seen them.

    Args:
        rows: Of `etalambda.lab.experiments.grid_regret`.

    Returns:
        A matplotlib Figure.
    """
    rules = list(dict.fromkeys(row["rule"] for row in rows))
    tasks = list(dict.fromkeys(row["task"] for row in rows))
    made, (axis,) = figure(9.5, 0.75 * len(rules) + 1.6)
    axis.grid(axis="y", visible=False)
    for place, rule in enumerate(rules):
        axis.axhline(place + 0.5, color=FAINT, lw=0.6)
        for row, (task, color) in enumerate(zip(tasks, OKABE_ITO)):
            ours = [r for r in rows if r["rule"] == rule and r["task"] == task]
            height = place + (row - (len(tasks) - 1) / 2) * 0.1
            for kind in (True, False):
                points = [r for r in ours if r["seen"] == kind]
                _points(axis, points, height, FAINT if kind else color)
    for task, color in zip(tasks, OKABE_ITO):
        axis.plot([], [], "o", ms=4, color=color, label=task)
    axis.plot([], [], "o", ms=4, color=FAINT, label="settings that “fitted” was made from")
    axis.plot([], [], "o", ms=5, mfc="none", color=INK, label="λ outside of the grid")
    axis.axvline(0, color=INK, lw=0.8)
    axis.set_xscale("symlog", linthresh=1.0)
    axis.set_xlim(right=1.2 * max(40.0, *(row["regret"] for row in rows)))
    ticks = (-1, 0, 1, 2, 5, 10, 20, 40)
    axis.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axis.minorticks_off()
    axis.set_yticks(range(len(rules)), rules)
    axis.invert_yaxis()
    axis.set_xlabel("test error at the rule's λ minus at the grid's best, points")
    made.legend(loc="outside lower center", ncols=3, fontsize=8.5)
    return made


def _points(axis: Any, rows: Sequence[Mapping[str, Any]], height: float, color: str) -> None:
    """The settings of a task, hollow where the rule's λ lies outside of the grid."""
    values = np.array([r["regret"] for r in rows])
    outside = np.array([r["outside"] for r in rows], dtype=bool)
    for chosen, fill in ((~outside, color), (outside, "none")):
        if chosen.any():
            heights = np.full(chosen.sum(), height)
            axis.plot(values[chosen], heights, "o", ms=4.5, color=color, mfc=fill)
