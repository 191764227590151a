"""A table of strings that the terminal and the page both show, and the numbers in it as text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from etalambda.lab import statistics
from etalambda.lab.numbers import number


class NotYet(LookupError):
    """A run does not hold, so far, what a table or figure of it needs."""


@dataclass(frozen=True)
class Table:
    """Rows of text: the first column names the row. ``bold`` is the row that stands out."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""
    bold: int = -1

    def to_html(self) -> str:
        """The table as escaped HTML that scrolls by itself on a narrow screen."""
        head = "".join(f'<th scope="col">{escape(column)}</th>' for column in self.columns)
        body = "".join(self._row(i, row) for i, row in enumerate(self.rows))
        note = f'<p class="note">{escape(self.note)}</p>' if self.note else ""
        return (
            f'<div class="scroll"><table><caption>{escape(self.title)}</caption>'
            f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>{note}"
        )

    def _row(self, i: int, row: Sequence[str]) -> str:
        name, *cells = row
        bold = ' class="best"' if i == self.bold else ""
        tail = "".join(f"<td>{escape(cell)}</td>" for cell in cells)
        return f'<tr{bold}><th scope="row">{escape(name)}</th>{tail}</tr>'


def percent(value: float, digits: int = 1) -> str:
    """A share as percent.

    >>> percent(0.0812), percent(float("nan"))
    ('8.1', '–')
    """
    return f"{100 * value:.{digits}f}" if np.isfinite(value) else "–"


def span(values: np.ndarray, digits: int = 3) -> str:
    """Median and range of what there is.

    >>> span(np.array([1.0, 2.0, 4.0])), span(np.array([np.nan]))
    ('2 (1 to 4)', '–')
    """
    there = np.asarray(values, dtype=float)
    there = there[np.isfinite(there)]
    if not there.size:
        return "–"
    low, middle, high = (number(v, digits) for v in np.quantile(there, [0, 0.5, 1]))
    return f"{middle} ({low} to {high})" if low != high else middle


def mean_sd(values: np.ndarray, digits: int = 1) -> str:
    """Mean ± standard deviation over seeds, of shares, in percent.

    >>> mean_sd(np.array([0.08, 0.09])), mean_sd(np.array([0.08]))
    ('8.5 ± 0.7', '8.0')
    """
    mean, sd, n = statistics.mean_sd(values)
    if not n:
        return "–"
    spread = f" ± {100 * sd:.{digits}f}" if n > 1 else ""
    return f"{100 * mean:.{digits}f}{spread}"
