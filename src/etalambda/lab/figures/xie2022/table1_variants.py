"""Table 1 of Xie et al. 2022 with its other columns: variants of Adam, all with L2.

It reads the run of `xie2022-table1`, as do Figures 6 and 12.

Departures from the paper: digits; each optimizer takes the best of five λ, where the paper has one.
"""

from __future__ import annotations

from etalambda.lab.figures.xie2022._alone import ARMS, better, draw, measure
from etalambda.lab.figures.xie2022._maps import judged
from etalambda.lab.figures.xie2022.table1 import RECIPES
from etalambda.lab.reproduce import Figure

OTHERS = tuple(arm for arm in ARMS if arm not in ("AdamS", "SGD"))
FIGURE = Figure(
    "xie2022-table1-variants",
    shows="Table 1, all columns",
    claim="Adam with stable weight decay outperforms complex variants of Adam.",
    recipes=RECIPES,
    measure=measure,
    measured_by="xie2022-table1",
    draw=draw,
    **judged({name: claim for other in OTHERS for name, claim in better("AdamS", other).items()}),
)
