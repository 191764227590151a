"""Figure 9 of Li, Lyu & Arora 2020: Figure 3 from one and the same w₀.

Departures from the paper: those of `etalambda.lab.figures.li2020.fig3`.
"""

from __future__ import annotations

from etalambda.lab.figures.li2020.fig3 import CPU, LONG, SHORT, SMOKE
from etalambda.lab.reproduce import Figure
from etalambda.lab.reproduce.distances import Trials, criteria, draw, estimate, measure

FIGURE = Figure(
    name="li2020-fig9",
    shows="Figure 9",
    claim="The same holds when all trials start from one w₀: the randomness of SGD suffices.",
    criteria=criteria(),
    recipes={
        "smoke": Trials(**SMOKE, start="fixed", departures=(SHORT,)),
        "cpu": Trials(**CPU, start="fixed", departures=(LONG,)),
    },
    measure=measure,
    estimate=estimate,
    draw=draw,
)
