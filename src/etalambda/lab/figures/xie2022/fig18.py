"""Figure 18 of Xie et al. 2022: the sweeps of λ under a cosine with warm restarts.

Departures from the paper: digits and small networks; the optimum is chosen on validation images of
other seeds than those that report.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from etalambda.lab.figures.xie2022 import _pictures
from etalambda.lab.figures.xie2022._maps import better, judged, measure
from etalambda.lab.figures.xie2022.fig7 import ARMS
from etalambda.lab.figures.xie2022.fig7 import RECIPES as STEPPED
from etalambda.lab.reproduce import Figure

RECIPES = {scale: replace(recipe, shape="cosine-restarts") for scale, recipe in STEPPED.items()}

FIGURE = Figure(
    "xie2022-fig18",
    shows="Figure 18",
    claim="Under cosine annealing with warm restarts too, AdamS has significantly better optima.",
    recipes=RECIPES,
    measure=measure,
    draw=partial(_pictures.sweeps, models=("mlp", "cnn"), arms=ARMS),
    **judged(
        {
            name: claim
            for model in ("mlp", "cnn")
            for other in ARMS[1:]
            for name, claim in better(model, "AdamS", other).items()
        }
    ),
)
