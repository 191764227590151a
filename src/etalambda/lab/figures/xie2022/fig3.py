"""Figure 3 of Xie et al. 2022: at a large batch lr times k (Rule 1) fails, λ times k (2) works.

It reads the run of Figure 9. Section 3 says SGD, appendix B.2 "always Adam": Adam is taken.

Departures from the paper: as in `etalambda.lab.figures.xie2022.fig9`.
"""

from __future__ import annotations

from functools import partial

from etalambda.lab.figures.xie2022._batches import claims, draw, measure
from etalambda.lab.figures.xie2022._maps import judged
from etalambda.lab.figures.xie2022.fig9 import RECIPES
from etalambda.lab.reproduce import Figure

FIGURE = Figure(
    "xie2022-fig3",
    shows="Figure 3",
    claim="With a batch k times larger, multiplying weight decay by k is better than multiplying "
    "the learning rate by k, and than neither.",
    recipes=RECIPES,
    measure=measure,
    measured_by="xie2022-fig9",
    draw=partial(draw, pairs=[("cnn", "Adam")]),
    **judged(claims("cnn", "Adam")),
)
