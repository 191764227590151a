"""What a figure of a paper declares, and what its measurement is given."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from etalambda._common import unknown
from etalambda.lab.experiments.parts import Job, Tables
from etalambda.lab.reproduce.criteria import Criterion, Verdict, judge
from etalambda.lab.statistics import Interval

SCALES = ("smoke", "cpu", "gpu", "paper")
Jobs = Mapping[str, Job]
"""Name of a part -> a function of ``tick(share)`` that returns the part's tables."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What is run at one scale; a figure adds its own fields (numbers, strings, tuples of them).

    Attributes:
        minutes: What it costs: of one core at smoke and cpu, of one large GPU at gpu and paper.
        departures: Where it leaves the paper, one line each; they are printed on the figure.
        reckoned: What ``minutes`` was computed from, where it was not measured.

    Example:
        >>> from etalambda.lab.reproduce.example import Throws
        >>> recipe = Throws(minutes=0.01, seeds=5, throws=100, departures=("a computer's coin",))
        >>> recipe.config()  # one that only costs less, or says more, goes on with the same run
        {'seeds': 5, 'throws': 100}
    """

    minutes: float
    departures: tuple[str, ...] = ()
    reckoned: str = ""

    def config(self) -> dict[str, Any]:
        """What identifies a run: all fields but cost and departures."""
        about = ("minutes", "departures", "reckoned")
        names = [f.name for f in fields(self) if f.name not in about]
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True)
class Bench:
    """Where a measurement runs.

    Attributes:
        device: A torch device, by name.
        data: Folder of real data sets, if the user gave one.
        folder: The run's folder; ``scratch`` below it is for checkpoints inside a part.
        tables: Everything recorded so far, by table; call it between two stages.

    Example:
        >>> from etalambda.lab.reproduce.example import COIN
        >>> (stage,) = COIN.measure(COIN.recipe("smoke"), Bench(device="cpu"))
        >>> stage["seed=0"](lambda share: None)["coins"]["heads"].shape
        (1,)
    """

    device: str = "cpu"
    data: Path | None = None
    folder: Path = Path(".")
    tables: Callable[[], Tables] = field(default=dict)

    @property
    def scratch(self) -> Path:
        """A folder for what a part keeps while it runs; made here, removed when all is done."""
        made = self.folder / "scratch"
        made.mkdir(parents=True, exist_ok=True)
        return made


@dataclass(frozen=True)
class Figure:
    """A figure or table of a paper as a claim that a run can refute.

    Args:
        name: ``paper-figure``; its file is ``lab/figures/<paper>/<figure>.py``.
        shows: Which figure of the paper, as in ``"Figures 3 and 9"``.
        claim: What the paper says about it, in one sentence.
        criteria: Name -> what must be true of a number of the run, written before it was run.
        recipes: Scale -> recipe; ``smoke`` must be there.
        measure: (recipe, bench) -> stages, each a mapping of parts to jobs. The parts of a stage
            run side by side and are recorded as they end; a later stage may read `Bench.tables`.
        estimate: Tables -> one interval a criterion.
        draw: Tables -> a matplotlib Figure.
        measured_by: The figure whose measurement this one reads, if it has none of its own.
        compact: Tables -> those that are kept as evidence; what `estimate` and `draw` read.

    Raises:
        ValueError: If a scale is unknown or smoke is missing, or there is no criterion.

    Example:
        >>> from etalambda.lab.reproduce.example import COIN
        >>> COIN.claim, COIN.criteria["heads"].bounds
        ('A thrown coin shows heads half of the time.', '0.45 to 0.55')
        >>> COIN.judge({"coins": {"heads": [0.7, 0.71, 0.69]}}).outcome
        'fails'
    """

    name: str
    shows: str
    claim: str
    criteria: Mapping[str, Criterion]
    recipes: Mapping[str, Recipe]
    measure: Callable[[Any, Bench], Iterable[Jobs]]
    estimate: Callable[[Tables], Mapping[str, Interval]]
    draw: Callable[[Tables], Any]
    measured_by: str = ""
    compact: Callable[[Tables], Tables] = lambda tables: tables

    def __post_init__(self) -> None:
        for scale in self.recipes:
            if scale not in SCALES:
                raise unknown("scale", scale, SCALES)
        if "smoke" not in self.recipes or not self.criteria:
            raise ValueError(f"figure {self.name!r} needs a smoke recipe and a criterion")

    @property
    def run_name(self) -> str:
        """Whose run it reads: its own, or that of the figure that measures for it."""
        return self.measured_by or self.name

    def recipe(self, scale: str) -> Recipe:
        """The recipe of a scale.

        Raises:
            ValueError: If the figure has none at that scale.
        """
        if scale not in self.recipes:
            raise unknown(f"scale of {self.name}", scale, self.recipes)
        return self.recipes[scale]

    def judge(self, tables: Tables) -> Verdict:
        """The verdict that the tables give."""
        return judge(self.criteria, self.estimate(tables))
