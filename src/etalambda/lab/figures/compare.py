"""Test error of every method at its own best λ: one dot a seed, the mean and its interval."""

from __future__ import annotations

from typing import Any

import numpy as np

from etalambda.lab.figures.style import INK, by_group, figure, house_style, palette


@house_style
def method_panel(summary: dict[str, np.ndarray]) -> Any:
    """One row a method; the dots are seeds, the bar is mean ± one standard deviation.

    Args:
        summary: The table of a compare run.

    Returns:
        A matplotlib Figure.
    """
    tuned = {key: column[summary["role"] == "tuned"] for key, column in summary.items()}
    methods = {name: rows for (name,), rows in by_group(tuned, "method").items()}
    made, (axis,) = figure(7.0, 0.9 + 0.36 * len(methods))
    colours = palette(list(methods))
    for i, (name, rows) in enumerate(methods.items()):
        errors = 100 * rows["test_error"][np.isfinite(rows["test_error"])]
        axis.plot(errors, np.full(errors.shape, i), "o", ms=5, alpha=0.5, color=colours[name][0])
        if errors.size > 1:
            axis.errorbar(errors.mean(), i, xerr=errors.std(ddof=1), color=INK, capsize=3, lw=1.4)
    axis.set_yticks(range(len(methods)), list(methods))
    axis.set(xlabel="test error %", title="Each at its own best λ: seeds, mean ± sd")
    axis.invert_yaxis()
    return made
