"""What stands below every figure: scale, verdict, and where the recipe departs from the paper."""

from __future__ import annotations

import textwrap
from typing import Any

from etalambda.lab.figures.style import MUTED, house_style
from etalambda.lab.reproduce.criteria import Verdict
from etalambda.lab.reproduce.figure import Figure

_POINTS, _SIZE = 72, 8.5


@house_style
def captioned(picture: Any, figure: Figure, scale: str, verdict: Verdict) -> Any:
    """The picture, higher by the lines of its caption."""
    recipe = figure.recipe(scale)
    width, height = picture.get_size_inches()
    head = f"{figure.name} · {scale} scale · the claim {_words(verdict)}"
    departures = "; ".join(recipe.departures)
    text = [head, *([f"Departs from the paper: {departures}."] if departures else [])]
    columns = int(width * _POINTS / (0.53 * _SIZE))
    lines = [line for part in text for line in textwrap.wrap(part, columns)]
    room = (len(lines) * 1.35 * _SIZE + 6) / _POINTS
    picture.set_size_inches(width, height + room)
    share = room / (height + room)
    picture.get_layout_engine().set(rect=(0, share, 1, 1 - share))
    place = dict(x=0.008, y=0.01, va="bottom", fontsize=_SIZE, linespacing=1.3, color=MUTED)
    picture.text(s="\n".join(lines), **place)
    return picture


def _words(verdict: Verdict) -> str:
    outcome = verdict.outcome
    return "is undecided" if outcome == "undecided" else outcome
