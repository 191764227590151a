"""One look for every figure: colours that colour-blind readers tell apart, text that stays text.

The eight colours are those of Okabe and Ito; what runs from little to much uses viridis or
cividis; what did not happen is grey.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from functools import wraps
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from etalambda._common import need

OKABE_ITO = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#E69F00",
    "#56B4E9",
    "#7A4FA3",
    "#8A6D1B",
    "#B22222",
    "#3B7D7D",
    "#F0E442",
    "#000000",
)
DASHES = ("-", "--", "-.", ":")
INK, MUTED, FAINT, GRID = "#1f2933", "#616e7c", "#c3cad3", "#e7eaee"
SUFFIXES = (".svg", ".png", ".pdf")

_RC = {
    "font.size": 11,
    "axes.titlesize": 12,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "text.color": INK,
    "legend.frameon": False,
    "legend.fontsize": 9.5,
    "lines.linewidth": 1.6,
    "svg.fonttype": "none",
    "svg.hashsalt": "etalambda",
    "font.sans-serif": ["DejaVu Sans", "Helvetica", "Arial"],
    "hatch.linewidth": 0.8,
}


def house_style(draw: Callable[..., Any]) -> Callable[..., Any]:
    """Run a drawing function under the house's settings, which leave no trace outside it."""

    @wraps(draw)
    def styled(*args: Any, **kwargs: Any) -> Any:
        with need("matplotlib", "lab").rc_context(_RC):
            return draw(*args, **kwargs)

    return styled


def figure(
    width: float, height: float, columns: int = 1, rows: int = 1, **kwargs: Any
) -> tuple[Any, list[Any]]:
    """A Figure of ``width`` x ``height`` inches and its axes, row by row."""
    made = need("matplotlib.figure", "lab").Figure((width, height), layout="constrained")
    return made, list(made.subplots(rows, columns, squeeze=False, **kwargs).flat)


def plain_log_ticks(axis: Any, steps: Sequence[float] = (1,)) -> None:
    """0.01, 0.1, 1 in place of powers of ten on a logarithmic axis; ``steps`` a decade."""
    ticker = need("matplotlib.ticker", "lab")
    axis.set_major_locator(ticker.LogLocator(subs=steps))
    axis.set_major_formatter(lambda value, _: f"{value:g}")
    axis.set_minor_formatter(ticker.NullFormatter())


def palette(names: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Name -> (colour, dash). Twelve colours, then the same ones dashed.

    >>> palette(["constant", "cosine"])
    {'constant': ('#0072B2', '-'), 'cosine': ('#D55E00', '-')}
    """
    n = len(OKABE_ITO)
    return {name: (OKABE_ITO[i % n], DASHES[i // n % len(DASHES)]) for i, name in enumerate(names)}


def shades(count: int, low: float = 0.0, high: float = 0.88) -> list[str]:
    """``count`` colours of viridis, dark to light, as hex."""
    colors = need("matplotlib.colors", "lab")
    viridis = need("matplotlib", "lab").colormaps["viridis"]
    return [colors.to_hex(viridis(x)) for x in np.linspace(low, high, count)]


def strip(axis: Any, place: float, values: np.ndarray, color: str) -> None:
    """One value a seed as dots side by side around ``place``, and a line at their mean."""
    axis.plot(place + np.linspace(-0.2, 0.2, len(values)), values, ".", color=color)
    axis.plot([place - 0.3, place + 0.3], [values.mean()] * 2, color=INK, lw=1.5)


@house_style
def to_svg(figure: Any, name: str, label: str) -> str:
    """The figure as an ``<svg>`` element that scales with the page.

    Args:
        figure: A matplotlib Figure.
        name: Prefix of every id inside, so that many figures fit one page.
        label: What a screen reader says.
    """
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None}, transparent=True)
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.S)
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = re.sub(r'(href="|url\()#', rf"\1#{name}-", svg)
    head, body = svg.split(">", 1)
    head = re.sub(r' (?:width|height|xmlns:xlink|version)="[^"]*"', "", head)
    body = body.replace("xlink:href", "href")
    return f'{head} role="img" aria-label="{escape(label)}">{body}'


@house_style
def save(figure: Any, path: Path) -> Path:
    """Write the figure as SVG, PNG or PDF, by the suffix; renamed into place when complete.

    Raises:
        ValueError: For another suffix.
    """
    if path.suffix not in SUFFIXES:
        raise ValueError(f"picture must end in {', '.join(SUFFIXES)}, got {str(path)!r}")
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.tmp")
    part.unlink(missing_ok=True)  # never through a link
    metadata = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}.get(path.suffix)
    figure.savefig(part, format=path.suffix[1:], dpi=120, metadata=metadata)
    part.replace(path)
    return path


def by_group(table: dict[str, np.ndarray], *keys: str) -> dict[tuple, dict[str, np.ndarray]]:
    """The rows of a table, split by the values of ``keys``, in order of first appearance.

    >>> table = {"plan": np.array(["a", "b", "a"]), "K": np.array([1, 2, 3])}
    >>> [(key, rows["K"].tolist()) for key, rows in by_group(table, "plan").items()]
    [(('a',), [1, 3]), (('b',), [2])]
    """
    groups: dict[tuple, list[int]] = {}
    for i, key in enumerate(zip(*(table[key].tolist() for key in keys))):
        groups.setdefault(key, []).append(i)
    return {key: {c: v[rows] for c, v in table.items()} for key, rows in groups.items()}
