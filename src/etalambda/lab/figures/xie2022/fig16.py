"""Figure 16 of Xie et al. 2022: Rule 2 for Adam, AdamW and AdamS, without BatchNorm.

It reads the run of Figure 9.

Departures from the paper: as in `etalambda.lab.figures.xie2022.fig9`.
"""

from __future__ import annotations

from functools import partial

from etalambda.lab.figures.xie2022._batches import claims, draw, measure
from etalambda.lab.figures.xie2022._maps import judged
from etalambda.lab.figures.xie2022.fig9 import ARMS, RECIPES
from etalambda.lab.reproduce import Figure

FIGURE = Figure(
    "xie2022-fig16",
    shows="Figure 16",
    claim="Rule 2 holds for all of Adam, AdamW and AdamS without normalization too.",
    recipes=RECIPES,
    measure=measure,
    measured_by="xie2022-fig9",
    draw=partial(draw, pairs=[("mlp", arm) for arm in ARMS]),
    **judged({name: claim for arm in ARMS for name, claim in claims("mlp", arm).items()}),
)
