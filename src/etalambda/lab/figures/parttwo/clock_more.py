"""Experiment 5, more of it: the decay clock under Muon, smaller batches, and few digits.

As in `clock`, whose base is trained again here so that every ratio is of one run. Muon is torch's
own class on both matrices of the network, with updates scaled as AdamW's (`match_rms_adamw`); its
lr, λ and length are from pilot runs on a seed that reports nothing. Digits are another task: 100 or
200 clean images train an MLP whose weights start at six times their usual size, under squared
error, every image at every step; arrival is 85 % of the other images, at 100 images 75 %, about ten
points below what pilots with other seeds ended at. Their top λ and length are the base's.

Departures from the paper: none of the papers tested this. Muon is meant for hidden matrices; here
the first reads one-hot inputs and the second writes the classes, and no third is left for AdamW.
"""

from __future__ import annotations

from functools import partial

from etalambda.lab.figures.parttwo import _clock
from etalambda.lab.figures.parttwo._clock import Clocks
from etalambda.lab.figures.parttwo._clock_runs import Condition
from etalambda.lab.figures.parttwo._conditions import Addition, FewDigits, squared_error
from etalambda.lab.reproduce import Figure

MUON = dict(adjust_lr_fn="match_rms_adamw")
CONDITIONS: dict[str, Condition] = {
    "base": Addition(),
    "Muon": Addition(optimizer="muon", hyper=MUON, lr=0.01, top=0.4, steps=8000, looks=320),
    "quarter batches": Addition(batches=4, steps=8800, looks=320),
    "eighth batches": Addition(batches=8, steps=8800, looks=320),
    "200 digits": FewDigits(images=200, loss=squared_error, there=0.85, looks=320),
    "100 digits": FewDigits(images=100, loss=squared_error, there=0.75, looks=320),
}

FIGURE = Figure(
    "parttwo-clock-more",
    shows="Part II, the decay clock: Muon, batches, few digits",
    claim="Generalization comes after a fixed decay budget, also under Muon, with smaller batches "
    "and on digits of which few are known.",
    criteria=_clock.criteria(CONDITIONS),
    recipes={
        "smoke": Clocks(
            minutes=0.1, seeds=2, share=1e-3, departures=("a thousandth of the steps, two seeds",)
        ),
        "cpu": Clocks(
            minutes=20, seeds=5, departures=("modular addition and digits, small networks",)
        ),
    },
    measure=partial(_clock.measure, CONDITIONS),
    estimate=partial(_clock.estimate, CONDITIONS),
    draw=partial(_clock.draw, CONDITIONS, height=4.6),
)
