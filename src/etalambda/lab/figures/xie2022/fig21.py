"""Figure 21 of Xie et al. 2022: λ sweeps of vanilla SGD, SGD, SGDW and SGDS, with BatchNorm.

Departures from the paper: digits and small networks; the optimum is chosen on validation images of
other seeds than those that report.
"""

from __future__ import annotations

from functools import partial

from etalambda.lab.figures.xie2022 import _pictures
from etalambda.lab.figures.xie2022._maps import judged, measure
from etalambda.lab.figures.xie2022.fig19 import ARMS, RECIPES, claims
from etalambda.lab.reproduce import Figure

FIGURE = Figure(
    "xie2022-fig21",
    shows="Figure 21",
    claim="With BatchNorm too, SGDS and SGDW at their optima are better than SGD and vanilla SGD.",
    recipes=RECIPES,
    measure=measure,
    measured_by="xie2022-fig19",
    draw=partial(_pictures.sweeps, models=("cnn",), arms=ARMS),
    **judged(claims("cnn")),
)
