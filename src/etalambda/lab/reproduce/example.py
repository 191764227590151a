"""The smallest figure: all that a file of ``lab/figures`` must hold, and nothing else.

The claim is that a coin is fair, the measurement throws it, the criterion was written before. No
command lists it; the docstrings of this room use it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

import numpy as np

from etalambda.lab.experiments.parts import Job, Tables
from etalambda.lab.figures.style import INK, figure, house_style
from etalambda.lab.reproduce.criteria import within
from etalambda.lab.reproduce.figure import Bench, Figure, Jobs, Recipe
from etalambda.lab.statistics import Interval, mean_interval


@dataclass(frozen=True, kw_only=True)
class Throws(Recipe):
    """How many coins, one a seed, and how often each is thrown."""

    seeds: int
    throws: int


def measure(recipe: Throws, bench: Bench) -> list[Jobs]:
    """One stage, a part a seed."""
    return [{f"seed={seed}": _thrown(seed, recipe.throws) for seed in range(recipe.seeds)}]


def _thrown(seed: int, throws: int) -> Job:
    def job(tick: Callable[[float], None]) -> Tables:
        coin = Random(seed)
        heads = sum(coin.random() < 0.5 for _ in range(throws))
        tick(1.0)
        return {"coins": {"seed": np.array([seed]), "heads": np.array([heads / throws])}}

    return job


def estimate(tables: Tables) -> dict[str, Interval]:
    """The mean over coins, with its interval."""
    return {"heads": mean_interval(tables["coins"]["heads"])}


@house_style
def draw(tables: Tables) -> Any:
    """A dot a coin."""
    made, (axis,) = figure(5, 3)
    axis.plot(tables["coins"]["seed"], tables["coins"]["heads"], "o", color=INK)
    axis.set(xlabel="seed", ylabel="share of heads", ylim=(0, 1))
    return made


COIN = Figure(
    "example-coin",
    shows="no paper's",
    claim="A thrown coin shows heads half of the time.",
    criteria={"heads": within("share of heads", 0.45, 0.55)},
    recipes={
        "smoke": Throws(
            minutes=0.01, seeds=5, throws=1000, departures=("a computer throws the coin",)
        )
    },
    measure=measure,
    estimate=estimate,
    draw=draw,
)
