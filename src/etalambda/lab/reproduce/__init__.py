"""Reproduce: every figure of the papers as a command, with a verdict.

How to add a figure: write one file, ``lab/figures/<paper>/<figure>.py``, with five things in it;
the smallest one that has them all is ``lab/reproduce/example.py``.

1. A frozen `Recipe` with the figure's numbers; one instance a scale. ``smoke`` takes at most 4
   seconds, with sizes of the same family; ``cpu`` about 3 minutes of one core at most and n >= 3;
   ``gpu`` and ``paper`` name a large GPU's minutes, and in ``reckoned`` what those rest on until
   they are measured (`rates`). ``departures`` says, line by line, where it leaves the paper; the
   lines are printed on the figure::

       @dataclass(frozen=True, kw_only=True)
       class Decay(Recipe):
           seeds: int
           lrs: tuple[float, ...]

2. ``measure(recipe, bench)``: return a list of stages, each a mapping of part name -> job (or yield
   them, to read ``bench.tables()`` between stages). A job takes ``tick``, calls ``tick(share)``
   every second or so, and returns ``{table: columns}``; `experiments.parts.columns` makes columns
   of rows. Parts run side by side and are recorded as they end: a kill loses only those at work. A
   GPU part should stay below two minutes. Seeds are paired: the same in every arm.

3. ``estimate(tables)``: one `Interval` a criterion, from `lab.statistics` (`mean_interval`,
   `paired_difference`, `slope`, `exact`).

4. ``draw(tables)``: a matplotlib Figure, by `figures.style` (`house_style`, `figure`, `palette`).

5. ``FIGURE = Figure("<paper>-<figure>", shows="Figure 3", claim=..., criteria={name:
   within("log-log slope of t on ηλ", -1.2, -0.8), ...}, recipes={"smoke": ..., "cpu": ...},
   measure=measure, estimate=estimate, draw=draw)``. Write the margins before the first run at the
   scale, and say so in LOG.md. A control that must fail is an `above` criterion of its own.

A figure that reads another's run passes that one's ``recipes`` and ``measure`` and ``measured_by``.
Then: ``etalambda reproduce <name> --scale cpu --evidence docs/evidence``, look at the picture, and
``python -m etalambda.lab.reproduce.summary docs``. Shared ideas: `classifiers` (networks that train
many at once on digits or pictures), `settling` (how long until equilibrium),
`cells` (tuned on some seeds, compared on others).
"""

from etalambda.lab.reproduce.criteria import (
    Criterion,
    Finding,
    Verdict,
    above,
    below,
    judge,
    within,
)
from etalambda.lab.reproduce.figure import SCALES, Bench, Figure, Jobs, Recipe
from etalambda.lab.reproduce.registry import find, names
from etalambda.lab.reproduce.running import Outcome, measure, outcome, said

__all__ = [
    "SCALES",
    "Bench",
    "Criterion",
    "Figure",
    "Finding",
    "Jobs",
    "Outcome",
    "Recipe",
    "Verdict",
    "above",
    "below",
    "find",
    "judge",
    "measure",
    "names",
    "outcome",
    "said",
    "within",
]
