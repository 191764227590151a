"""Figures 5 and 13 of Xie et al. 2022: training loss against test error, late in training.

"Even if with similar or higher training losses, AdamS still generalizes better": similar is taken
as at least nine tenths. It reads the run of Figure 8.

Departures from the paper: digits and small networks; the optimum is chosen on validation images of
other seeds than those that report.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from etalambda.lab.figures.xie2022 import _pictures
from etalambda.lab.figures.xie2022._maps import judged, late_gap, measure
from etalambda.lab.figures.xie2022.fig8 import ARMS, RECIPES
from etalambda.lab.reproduce import Figure, above, below

FIGURE = Figure(
    "xie2022-fig5",
    shows="Figures 5 and 13",
    claim="Even with similar or higher training losses AdamS generalizes better than AdamW.",
    recipes=RECIPES,
    measure=measure,
    measured_by="xie2022-fig8",
    draw=partial(_pictures.curves, model="cnn", arms=ARMS),
    **judged(
        {
            "test error": (
                below("AdamS minus AdamW, late test error, points", 0.0),
                partial(late_gap, model="cnn", ours="AdamS", theirs="AdamW", column="test"),
            ),
            "training loss": (
                above("log of the late training loss, AdamS over AdamW", float(np.log(0.9))),
                partial(late_gap, model="cnn", ours="AdamS", theirs="AdamW", column="train_loss"),
            ),
        }
    ),
)
