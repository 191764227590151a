"""Tables 1 and 2 of Xie et al. 2022, stable decay against SGD, AdamW and Adam.

The paper sets λ to 0.0005 (Table 1) or 0.0001 (2); here each optimizer takes the best of five.

AMSGrad and RAdam are torch's, AdaBound, Padam and Yogi pytorch_optimizer's: the cpu scale needs it.

Departures from the paper: the gpu scale trains 30 epochs in place of 200, in bfloat16, and holds
5000 pictures out to choose λ; the smaller ones train on digits. The spread is over seeds.
"""

from __future__ import annotations

from etalambda.lab.figures.xie2022._alone import ARMS, Alone, better, draw, measure
from etalambda.lab.figures.xie2022._maps import NOISE, judged
from etalambda.lab.reproduce import Figure, rates

FOUR = ("SGD", "AdamS", "Adam", "AdamW")
FROM_TORCH = (*FOUR, "AMSGrad", "RAdam")
GRID = (5e-5, 1.6e-4, 5e-4, 1.6e-3, 5e-3)
ON_DIGITS = (1e-4, 5e-4, 2.5e-3, 1.25e-2, 6.25e-2)
MLP = "an MLP in place of ResNet18 and VGG16, the lr 0.003, SGD's 0.05"
CIFAR = dict(
    arms=FOUR, task="cifar10", model="resnet18", batch_size=128, validation=5000, lr=1e-3,
    decays=GRID, amp="bf16",
)  # fmt: skip
HELD = "5000 training pictures choose λ from five values; bfloat16"
RECIPES = {
    "smoke": Alone(
        minutes=0.1, arms=FROM_TORCH, task="digits", model="mlp", epochs=1, batch_size=50,
        validation=0, lr=3e-3, sgd=17.0, decays=(5e-4,), seeds=3,
        departures=("600 digits", MLP, "one epoch, one λ; AdaBound, Padam and Yogi left out"),
    ),
    "cpu": Alone(
        minutes=7, arms=tuple(ARMS), task="digits", model="mlp", epochs=30, batch_size=50,
        validation=0, lr=3e-3, sgd=17.0, decays=ON_DIGITS, seeds=12, label_noise=0.2,
        departures=(NOISE, MLP, "Padam's lr 0.03", "30 epochs, λ from five values"),
    ),
}  # fmt: skip
ON_CIFAR = {
    "gpu": Alone(
        minutes=160, **CIFAR, epochs=30, seeds=3, departures=(HELD, "30 epochs in place of 200"),
        reckoned=f"60 runs of 30 epochs; {rates.RESNET18}",
    ),
    "paper": Alone(
        minutes=1080, **CIFAR, epochs=200, seeds=3, departures=(HELD,),
        reckoned=f"60 runs of 200 epochs; {rates.RESNET18}",
    ),
}  # fmt: skip

FIGURE = Figure(
    "xie2022-table1",
    shows="Tables 1 and 2",
    claim="Stable weight decay makes Adam generalize as well as SGD, and better than AdamW and "
    "Adam with L2.",
    recipes=RECIPES | ON_CIFAR,
    measure=measure,
    draw=draw,
    **judged(
        better("AdamS", "AdamW") | better("AdamS", "Adam") | better("AdamS", "SGD", margin=0.5)
    ),
)
