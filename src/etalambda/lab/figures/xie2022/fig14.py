"""Figure 14 of Xie et al. 2022: test error against λ for AdamS, AdamW and Adam, with BatchNorm.

Departures from the paper: digits and small networks; the optimum is chosen on validation images of
other seeds than those that report.
"""

from __future__ import annotations

from functools import partial

from etalambda.lab.figures.xie2022 import _pictures
from etalambda.lab.figures.xie2022._maps import judged, measure
from etalambda.lab.figures.xie2022.fig7 import ARMS, RECIPES, claims
from etalambda.lab.reproduce import Figure

FIGURE = Figure(
    "xie2022-fig14",
    shows="Figure 14",
    claim="The optimal test performance of AdamS is significantly better than that of AdamW and "
    "Adam.",
    recipes=RECIPES,
    measure=measure,
    measured_by="xie2022-fig7",
    draw=partial(_pictures.sweeps, models=("cnn",), arms=ARMS),
    **judged(claims("cnn")),
)
