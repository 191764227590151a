"""Figure 3 of Li, Lyu & Arora 2020: three schedules, one distribution over functions.

`etalambda.lab.reproduce.distances` says how it is measured.

Departures from the paper: at cpu scale a BatchNorm network on digits with 20 % wrong labels, not a
CNN on MNIST; fewer trials and steps; an arm that must fail is added.
"""

from __future__ import annotations

from etalambda.lab.reproduce import Figure, rates
from etalambda.lab.reproduce.distances import Trials, criteria, draw, estimate, measure

DIGITS = (
    "digits with 20 % wrong labels and a {} network with BatchNorm in place of a CNN on MNIST; {} "
    "trials in place of 500; {} steps stand for 40 epochs; a dead start is added as a control"
)
CLAIM = (
    "Schedules that end at one ηλ predict alike on every test input: the total variation falls "
    "with the number of trials."
)
SMOKE = dict(minutes=0.06, seeds=16, hidden=(16,), phase=20)
CPU = dict(minutes=3.0, seeds=200, phase=200)
SHORT, LONG = DIGITS.format("64-16-10", 16, 20), DIGITS.format("64-32-32-10", 200, 200)

FIGURE = Figure(
    name="li2020-fig3",
    shows="Figure 3",
    claim=CLAIM,
    criteria=criteria(),
    recipes={
        "smoke": Trials(**SMOKE, departures=(SHORT,)),
        "cpu": Trials(**CPU, departures=(LONG,)),
        "gpu": Trials(
            minutes=13.0,
            seeds=100,
            phase=200,
            batch_size=128,
            data="mnist",
            zoo="mnist-cnn",
            departures=(
                "100 trials in place of 500; 200 steps stand for 40 epochs; the CNN has 32 "
                "channels; predictions on 2000 test pictures; a dead start is added as a control",
            ),
            reckoned=f"500 networks of 1000 steps; {rates.CNN}",
        ),
        "paper": Trials(
            minutes=6250.0,
            seeds=500,
            phase=40 * 469,
            batch_size=128,
            data="mnist",
            zoo="mnist-cnn",
            departures=("predictions on 2000 test pictures; a dead start is added as a control",),
            reckoned=f"2500 networks of 93 800 steps; {rates.CNN}",
        ),
    },
    measure=measure,
    estimate=estimate,
    draw=draw,
)
