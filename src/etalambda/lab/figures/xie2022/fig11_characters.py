"""Figure 11 of Xie et al. 2022 on characters: the same LSTM and optimizers on Shakespeare's plays.

Departures from the paper: characters in place of the Penn Treebank's words; width 64 and 500 steps
of an lr three times the paper's; λ chosen from five values by validation loss.
"""

from __future__ import annotations

from functools import partial

from etalambda.lab.figures.xie2022._alone import better, draw, measure
from etalambda.lab.figures.xie2022._maps import judged
from etalambda.lab.figures.xie2022.fig11 import ARMS, UNIT, OnText
from etalambda.lab.figures.xie2022.fig11 import FIGURE as WORDS
from etalambda.lab.reproduce import Figure

FIGURE = Figure(
    "xie2022-fig11-characters",
    shows="Figure 11, on characters",
    claim="For an LSTM on characters too, L2 has a lower test perplexity than decoupled and stable "
    "weight decay.",
    recipes={
        "smoke": WORDS.recipes["smoke"],
        "cpu": OnText(
            minutes=9, arms=ARMS, task="tinyshakespeare", model="lstm", epochs=1, batch_size=20,
            validation=0, lr=3e-3, decays=(1e-7, 1e-6, 1e-5, 1e-4, 1e-3), seeds=5, width=64,
            steps=500,
            departures=("characters of Shakespeare's plays", "width 64, lr 0.003, 500 steps"),
        ),
    },
    measure=measure,
    draw=partial(draw, label="100 times the log of test perplexity"),
    **judged(better("Adam", "AdamW", unit=UNIT) | better("Adam", "AdamS", unit=UNIT)),
)  # fmt: skip
