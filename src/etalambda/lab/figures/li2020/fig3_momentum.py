"""Conjecture C.1 of Li, Lyu & Arora 2020: Figure 3 with momentum 0.9.

η/(1 - β) takes the place of η, so η is a tenth of Figure 3's.

Departures from the paper: those of `etalambda.lab.figures.li2020.fig3`; the paper shows no figure.
"""

from __future__ import annotations

from etalambda.lab.figures.li2020.fig3 import CPU, LONG, SHORT, SMOKE
from etalambda.lab.reproduce import Figure
from etalambda.lab.reproduce.distances import Trials, criteria, draw, estimate, measure

MOMENTUM = dict(momentum=0.9, lr=0.01, weight_decay=0.1)

FIGURE = Figure(
    name="li2020-fig3-momentum",
    shows="Conjecture C.1, as Figure 3",
    claim="With momentum too, schedules that end at one ηλ predict alike on every test input.",
    criteria=criteria(),
    recipes={
        "smoke": Trials(**SMOKE, **MOMENTUM, departures=(SHORT,)),
        "cpu": Trials(**CPU, **MOMENTUM, departures=(LONG,)),
    },
    measure=measure,
    estimate=estimate,
    draw=draw,
)
