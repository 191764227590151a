"""Figure 11 of Xie et al. 2022: an LSTM on words, where L2 is said to beat both decoupled forms.

The paper's limitation: on the Penn Treebank Adam with L2 has a lower perplexity than AdamW and
AdamS. Differences are of 100 times the log perplexity, so of percent.

Departures from the paper: the gpu scale has the treebank's validation file to train on (the
training file is not free), 20 epochs; the smoke scale has characters of Python's own sources.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

from etalambda.lab.figures.xie2022._alone import Alone, better, draw, measure
from etalambda.lab.figures.xie2022._maps import judged
from etalambda.lab.reproduce import Figure

ARMS = ("AdamS", "AdamW", "Adam")
UNIT = "percent of perplexity"


@dataclass(frozen=True, kw_only=True)
class OnText(Alone):
    """``width`` of the LSTM; ``steps`` in place of epochs if not 0."""

    width: int
    steps: int = 0

    scored: ClassVar[tuple[str, str]] = ("val_loss", "test_loss")

    def more(self) -> dict[str, Any]:
        """35 steps through time, gradients clipped at 1, as appendix B.4 has it."""
        return dict(context=35, clip=1.0, width=self.width, steps=self.steps)


FIGURE = Figure(
    "xie2022-fig11",
    shows="Figure 11",
    claim="For an LSTM on the Penn Treebank L2 has a lower test perplexity than decoupled and "
    "stable weight decay.",
    recipes={
        "smoke": OnText(
            minutes=0.1, arms=ARMS, task="text", model="lstm", epochs=1, batch_size=20,
            validation=0, lr=3e-3, decays=(1e-5,), seeds=3, width=16, steps=3,
            departures=("characters of Python's sources", "width 16, 3 steps, one λ"),
        ),
        "gpu": OnText(
            minutes=25, arms=ARMS, task="ptb-small", model="lstm", epochs=20, batch_size=20,
            validation=0, lr=1e-3, decays=(1e-7, 1e-6, 5e-6, 1e-5, 5e-5, 1e-4), seeds=3, width=512,
            departures=("trained on the validation file, 20 epochs",),
            reckoned="54 runs of 2000 steps of 14 ms, a guess: no LSTM was timed",
        ),
    },
    measure=measure,
    draw=partial(draw, label="100 times the log of test perplexity"),
    **judged(better("Adam", "AdamW", unit=UNIT) | better("Adam", "AdamS", unit=UNIT)),
)  # fmt: skip
