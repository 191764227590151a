"""Figures 6 and 12 of Xie et al. 2022: learning curves of all adaptive gradient methods.

It reads the run of `xie2022-table1`.

Departures from the paper: as there.
"""

from __future__ import annotations

from etalambda.lab.figures.xie2022._alone import better, draw_curves, measure
from etalambda.lab.figures.xie2022._maps import judged
from etalambda.lab.figures.xie2022.table1 import RECIPES
from etalambda.lab.reproduce import Figure

FIGURE = Figure(
    "xie2022-fig12",
    shows="Figures 6 and 12",
    claim="At the end of training vanilla Adam with stable weight decay is below the complex "
    "variants of Adam.",
    recipes=RECIPES,
    measure=measure,
    measured_by="xie2022-table1",
    draw=draw_curves,
    **judged(
        {
            name: claim
            for other in ("AMSGrad", "AdaBound", "Padam", "Yogi", "RAdam")
            for name, claim in better("AdamS", other).items()
        }
    ),
)
