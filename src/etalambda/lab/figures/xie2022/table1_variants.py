"""Table 1 of Xie et al. 2022 with its other columns: variants of Adam, all with L2.

AMSGrad and RAdam are torch's, AdaBound, Padam and Yogi pytorch_optimizer's, which is not needed
elsewhere. Figures 6 and 12 are learning curves of the same run.

Departures from the paper: digits; each optimizer takes the best of five λ, where the paper has one.
"""

from __future__ import annotations

from etalambda.lab.figures.xie2022._alone import ARMS, Alone, better, draw, measure
from etalambda.lab.figures.xie2022._maps import NOISE, judged
from etalambda.lab.figures.xie2022.table1 import MLP, ON_DIGITS
from etalambda.lab.reproduce import Figure

FROM_TORCH = ("SGD", "AdamS", "Adam", "AMSGrad", "AdamW", "RAdam")
OTHERS = tuple(arm for arm in ARMS if arm not in ("AdamS", "SGD"))
RECIPES = {
    "smoke": Alone(
        minutes=0.1, arms=FROM_TORCH, task="digits", model="mlp", epochs=1, batch_size=50,
        validation=0, lr=3e-3, sgd=17.0, decays=(5e-4,), seeds=3,
        departures=("600 digits", MLP, "one epoch, one λ; AdaBound, Padam and Yogi left out"),
    ),
    "cpu": Alone(
        minutes=8, arms=tuple(ARMS), task="digits", model="mlp", epochs=30, batch_size=50,
        validation=0, lr=3e-3, sgd=17.0, decays=ON_DIGITS, seeds=12, label_noise=0.2,
        departures=(NOISE, MLP, "Padam's lr 0.03", "30 epochs, λ from five values"),
    ),
}  # fmt: skip

FIGURE = Figure(
    "xie2022-table1-variants",
    shows="Table 1, all columns",
    claim="Adam with stable weight decay outperforms complex variants of Adam.",
    recipes=RECIPES,
    measure=measure,
    draw=draw,
    **judged({name: claim for other in OTHERS for name, claim in better("AdamS", other).items()}),
)
