"""Figure 17 of Xie et al. 2022: learning curves under a cosine with warm restarts.

It reads the run of Figure 18.

Departures from the paper: digits and small networks; the optimum is chosen on validation images of
other seeds than those that report.
"""

from __future__ import annotations

from functools import partial

from etalambda.lab.figures.xie2022 import _pictures
from etalambda.lab.figures.xie2022._maps import judged, late_gap, measure
from etalambda.lab.figures.xie2022.fig18 import ARMS, RECIPES
from etalambda.lab.reproduce import Figure, below

FIGURE = Figure(
    "xie2022-fig17",
    shows="Figure 17",
    claim="With restarts AdamS yields lower test errors and converges to lower training losses.",
    recipes=RECIPES,
    measure=measure,
    measured_by="xie2022-fig18",
    draw=partial(_pictures.curves, model="cnn", arms=ARMS),
    **judged(
        {
            f"{column}, {other}": (
                below(f"late {says}, AdamS {how} {other}", 0.0),
                partial(late_gap, model="cnn", ours="AdamS", theirs=other, column=column),
            )
            for column, says, how in (
                ("test", "test error, points", "minus"),
                ("train_loss", "log training loss", "over"),
            )
            for other in ARMS[1:]
        }
    ),
)
