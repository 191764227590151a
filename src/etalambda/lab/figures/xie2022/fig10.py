"""Figure 10 of Xie et al. 2022: ResNet50 on ImageNet, a folder of pictures by class.

Declared, not run here: the paper scale needs ImageNet's folder as ``--data-dir`` and weeks of a
GPU. The smoke scale runs the same comparison on digits.

Departures from the paper: pictures as the task ``folder`` serves them, without crops of random size
and aspect; the lr falls at 0.4 and 0.8 of the run in place of 30 and 60 of 90 epochs.
"""

from __future__ import annotations

from etalambda.lab.figures.xie2022._alone import Alone, better, draw, measure
from etalambda.lab.figures.xie2022._maps import judged
from etalambda.lab.reproduce import Figure, rates

ARMS = ("AdamS", "AdamW", "Adam")

FIGURE = Figure(
    "xie2022-fig10",
    shows="Figure 10",
    claim="On ImageNet AdamS has the lowest top-1 test error, a little below AdamW's.",
    recipes={
        "smoke": Alone(
            minutes=0.1, arms=ARMS, task="digits", model="mlp", epochs=1, batch_size=50,
            validation=0, lr=3e-3, decays=(5e-4,), seeds=3,
            departures=("digits and an MLP in place of ImageNet and ResNet50", "one epoch, one λ"),
        ),
        "paper": Alone(
            minutes=15_000, arms=ARMS, task="folder", model="resnet50", epochs=90, batch_size=256,
            validation=50_000, lr=1e-3, decays=(5e-6, 5e-5, 5e-4, 5e-3, 5e-2), seeds=3, amp="bf16",
            departures=("no crops of random size", "lr falls at 36 and 72 of 90 epochs"),
            reckoned=f"45 runs of 90 epochs {rates.IMAGENET}",
        ),
    },
    measure=measure,
    draw=draw,
    **judged(better("AdamS", "AdamW") | better("AdamS", "Adam")),
)  # fmt: skip
