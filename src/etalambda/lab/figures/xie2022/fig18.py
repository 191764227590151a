"""Figure 18 of Xie et al. 2022: the sweeps of λ under a cosine with warm restarts.

Departures from the paper: digits and small networks; the optimum is chosen on validation images of
other seeds than those that report.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from etalambda.lab.figures.xie2022 import _pictures
from etalambda.lab.figures.xie2022._maps import CNN, better, judged, measure
from etalambda.lab.figures.xie2022.fig7 import ARMS
from etalambda.lab.figures.xie2022.fig7 import RECIPES as STEPPED
from etalambda.lab.reproduce import Figure

MODELS = ("mlp", "cnn")
RECIPES = {
    scale: replace(
        recipe, shape="cosine-restarts", models=MODELS, departures=(CNN, *recipe.departures),
        minutes=4 if scale == "cpu" else recipe.minutes,
    )
    for scale, recipe in STEPPED.items()
}  # fmt: skip

FIGURE = Figure(
    "xie2022-fig18",
    shows="Figure 18",
    claim="Under cosine annealing with warm restarts too, AdamS has significantly better optima.",
    recipes=RECIPES,
    measure=measure,
    draw=partial(_pictures.sweeps, models=MODELS, arms=ARMS),
    **judged(
        {
            name: claim
            for model in MODELS
            for other in ARMS[1:]
            for name, claim in better(model, "AdamS", other).items()
        }
    ),
)
