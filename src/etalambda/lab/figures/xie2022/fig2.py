"""Figure 2 of Xie et al. 2022: λ at a fixed length has an optimum; at c/λ epochs less is better.

It reads the run of Table 3: the base sweep, and the predicted λ at every length.

Departures from the paper: as in `etalambda.lab.figures.xie2022.table3`; c from the base optimum.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from etalambda.lab.experiments.parts import Tables
from etalambda.lab.figures.style import OKABE_ITO, figure, house_style, plain_log_ticks
from etalambda.lab.figures.xie2022.table3 import RECIPES, measure, table
from etalambda.lab.reproduce import Figure, above, below
from etalambda.lab.statistics import Interval, bootstrapped, mean_interval, paired_difference


def sweep(tables: Tables) -> tuple[np.ndarray, np.ndarray]:
    """λ, and test errors of the base sweep in points, (λs, seeds)."""
    rows = tables["map"]
    decays = np.unique(rows["decay"])
    ours = [rows["decay"] == decay for decay in decays]
    return decays, np.array([100 * rows["test"][o][np.argsort(rows["seed"][o])] for o in ours])


def estimate(tables: Tables) -> Mapping[str, Interval]:
    """Both ends of the sweep against its best; the slope of the error per doubling of epochs."""
    lengths, errors = table(tables)
    _, base = sweep(tables)
    rows = tables["map"]
    decays = np.unique(rows["decay"])
    best = int(np.argmin([rows["val"][rows["decay"] == decay].mean() for decay in decays]))
    x = np.log2(lengths) - np.log2(lengths).mean()
    slopes = x @ errors[:, 1] / (x @ x)
    return {
        "smallest": paired_difference(base[0], base[best]),
        "largest": paired_difference(base[-1], base[best]),
        "doubling": mean_interval(slopes),
        "worst doubling": bootstrapped(
            lambda chosen: float(np.diff(errors[:, 1, chosen].mean(-1)).max()), errors.shape[-1]
        ),
    }


@house_style
def draw(tables: Tables) -> Any:
    """Test error against λ: at the base length, and at c/λ epochs."""
    fig, (axis,) = figure(6.5, 4.0)
    decays, base = sweep(tables)
    lengths, errors = table(tables)
    cells = tables["cells"]
    predicted = [np.unique(cells["decay"][cells["epochs"] == length])[1] for length in lengths]
    both = (("at the base length", decays, base), ("at c/λ epochs", predicted, errors[:, 1]))
    for (name, x, y), color in zip(both, OKABE_ITO):
        mean, sd = y.mean(-1), y.std(-1, ddof=1)
        axis.plot(x, mean, "o-", color=color, label=f"{name}, n = {y.shape[-1]}")
        axis.fill_between(x, mean - sd, mean + sd, color=color, alpha=0.15, lw=0)
    axis.set(xscale="log", yscale="log", xlabel="weight decay", ylabel="test error, %")
    plain_log_ticks(axis.yaxis, (1, 1.5, 2, 3, 5, 7))
    axis.set_title("SGD, CNN with BatchNorm")
    axis.legend()
    return fig


FIGURE = Figure(
    "xie2022-fig2",
    shows="Figure 2",
    claim="At a fixed number of epochs the best weight decay is inside the grid; with epochs in "
    "inverse proportion to it, less weight decay gives a lower test error.",
    criteria={
        "smallest": above("smallest λ of the sweep minus the best, points", 0.0),
        "largest": above("largest λ of the sweep minus the best, points", 0.0),
        "doubling": below("points of test error a doubling of epochs at c/λ epochs", 0.0),
        "worst doubling": below("the same, the worst of the doublings: is it monotone?", 0.0),
    },
    recipes=RECIPES,
    measure=measure,
    measured_by="xie2022-table3",
    estimate=estimate,
    draw=draw,
)
