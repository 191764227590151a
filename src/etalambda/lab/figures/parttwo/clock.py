"""Experiment 5: where is the decay budget at generalization, K, a constant, and where is it not?

On modular addition a network fits its training half at once and generalizes once K = Σ ηλ has been
spent. Here one thing at a time is changed: lr, optimizer, width, modulus, loss, labels, batches.
Within each condition six plans decay to the same top λ: constant at a quarter, a half and all of
it, linearly down, linearly up, and cosine restarts. A plan's K is the median over seeds of K at
95 % accuracy on clean test labels; `_clock` says how it is judged.

K holds each optimizer's own gain (`theory.budget.gain`): 1/(1 - μ) for SGD with L2, the mean of v̂
to the -1/2 for AdamS. λ and the length of AdamS and SGD, whose decay has other units, are from
pilot runs on seeds that report nothing. Muon, fewer labels and other batches: `clock_more`.
"""

from __future__ import annotations

from functools import partial

from etalambda.lab.figures.parttwo import _clock
from etalambda.lab.figures.parttwo._clock import Clocks
from etalambda.lab.figures.parttwo._conditions import CONDITIONS
from etalambda.lab.reproduce import Figure

FIGURE = Figure(
    "parttwo-clock",
    shows="Part II, the decay clock",
    claim="Generalization comes after a fixed decay budget, whatever the schedule, λ, lr, "
    "optimizer, width, modulus, loss, labels and batches.",
    criteria=_clock.criteria(CONDITIONS),
    recipes={
        "smoke": Clocks(
            minutes=0.1, seeds=2, share=1e-3, departures=("a thousandth of the steps, two seeds",)
        ),
        "cpu": Clocks(
            minutes=12, seeds=5, departures=("one task, modular addition, and one small network",)
        ),
    },
    measure=partial(_clock.measure, CONDITIONS),
    estimate=partial(_clock.estimate, CONDITIONS),
    draw=partial(_clock.draw, CONDITIONS),
)
