"""Figure 4 of Xie et al. 2022: learning curves of AdamS, AdamW and Adam, each at its optimum.

It reads the run of Figure 8, whose reporting seeds are looked at after every epoch.

Departures from the paper: digits and small networks; the optimum is chosen on validation images of
other seeds than those that report.
"""

from __future__ import annotations

from functools import partial

from etalambda.lab.figures.xie2022 import _pictures
from etalambda.lab.figures.xie2022._maps import judged, late_gap, measure
from etalambda.lab.figures.xie2022.fig8 import ARMS, RECIPES
from etalambda.lab.reproduce import Figure, below

FIGURE = Figure(
    "xie2022-fig4",
    shows="Figure 4",
    claim="Towards the end of training AdamS has the lower test error, on every benchmark.",
    recipes=RECIPES,
    measure=measure,
    measured_by="xie2022-fig8",
    draw=partial(_pictures.curves, model="cnn", arms=ARMS),
    **judged(
        {
            f"late test error, {other}": (
                below(f"AdamS minus {other}, mean of the last fifth of epochs, points", 0.0),
                partial(late_gap, model="cnn", ours="AdamS", theirs=other, column="test"),
            )
            for other in ARMS[1:]
        }
    ),
)
