"""Figure 23 of Xie et al. 2022: learning curves of AdaiS and Adai.

It reads the run of Table 4.

Departures from the paper: digits and small networks; the optimum is chosen on validation images of
other seeds than those that report.
"""

from __future__ import annotations

from functools import partial

from etalambda.lab.figures.xie2022 import _pictures
from etalambda.lab.figures.xie2022._maps import judged, late_gap, measure
from etalambda.lab.figures.xie2022.table4 import MODELS, PAIRS, RECIPES
from etalambda.lab.reproduce import Figure, below

OURS, THEIRS = PAIRS[1]

FIGURE = Figure(
    "xie2022-fig23",
    shows="Figure 23",
    claim="Towards the end of training AdaiS has a lower test error than Adai with L2.",
    recipes=RECIPES,
    measure=measure,
    measured_by="xie2022-table4",
    draw=partial(_pictures.curves, model="cnn", arms=PAIRS[1]),
    **judged(
        {
            f"late test error, {model}": (
                below(f"{OURS} minus {THEIRS}, {model}, last fifth of epochs, points", 0.0),
                partial(late_gap, model=model, ours=OURS, theirs=THEIRS, column="test"),
            )
            for model in MODELS
        }
    ),
)
