"""Appendix C.2 of Li, Lyu & Arora 2020: Figure 3 with AdamW.

The intrinsic lr is torch's lr · weight_decay; both schedules reach the same product.

Departures from the paper: those of `etalambda.lab.figures.li2020.fig3`; the paper shows no figure.
"""

from __future__ import annotations

from etalambda.lab.figures.li2020.fig3 import CPU, LONG, SHORT, SMOKE
from etalambda.lab.reproduce import Figure
from etalambda.lab.reproduce.distances import Trials, criteria, draw, estimate, measure

ADAMW = dict(optimizer="adamw", lr=3e-3, weight_decay=3.0)

FIGURE = Figure(
    name="li2020-fig3-adamw",
    shows="Appendix C.2, as Figure 3",
    claim="With AdamW too, schedules that end at one ηλ predict alike on every test input.",
    criteria=criteria(),
    recipes={
        "smoke": Trials(**SMOKE, **ADAMW, departures=(SHORT,)),
        "cpu": Trials(**CPU, **ADAMW, departures=(LONG,)),
    },
    measure=measure,
    estimate=estimate,
    draw=draw,
)
