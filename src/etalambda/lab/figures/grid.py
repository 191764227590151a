"""An lr x weight_decay grid as matrices: means over seeds, the best cell, its basin, its border.

Rows are learning rates, columns weight decays, both rising. Positions are log10 of the value, so
lines of equal lr · weight_decay are straight; a weight decay of 0 stands one step left of the rest.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

MARGIN = 0.005  # the basin: cells within half a point of the best


@dataclass(frozen=True)
class MapGrid:
    """Matrices of shape (lrs, weight_decays); errors are shares, NaN where a seed diverged."""

    lrs: np.ndarray
    weight_decays: np.ndarray
    val: np.ndarray
    val_sd: np.ndarray
    test: np.ndarray
    test_sd: np.ndarray
    budget: np.ndarray
    diverged: np.ndarray
    seeds: int

    @property
    def any(self) -> bool:
        """Whether any cell has an error to show."""
        return bool(np.isfinite(self.val).any())

    @property
    def best(self) -> tuple[int, int]:
        """Row and column of the lowest validation error.

        Raises:
            ValueError: If every cell diverged.
        """
        if not self.any:
            raise ValueError("every cell of the map diverged; use smaller values in --lrs")
        row, column = np.unravel_index(np.nanargmin(self.val), self.val.shape)
        return int(row), int(column)

    def basin(self, margin: float = MARGIN) -> np.ndarray:
        """Cells whose validation error is within ``margin`` of the best."""
        return np.nan_to_num(self.val, nan=np.inf) <= self.val[self.best] + margin

    def border(self, lr: str = "--lrs", weight_decay: str = "--weight-decays") -> list[str]:
        """The sides of the grid that the best cell lies on, as advice; empty when inside.

        ``lr`` and ``weight_decay`` are what the advice calls the two.
        """
        row, column = self.best
        said = []
        for flag, place, values in (
            (lr, row, self.lrs),
            (weight_decay, column, self.weight_decays),
        ):
            if len(values) > 1 and place in (0, len(values) - 1):
                side = "below" if place == 0 else "above"
                said.append(f"extend {flag} {side} {values[place]:g}")
        return said


def map_grid(metrics: dict[str, np.ndarray]) -> MapGrid:
    """The grid of a map run's ``metrics``; cells that are not trained yet are NaN."""
    lrs, row = np.unique(metrics["lr"], return_inverse=True)
    decays, column = np.unique(metrics["weight_decay"], return_inverse=True)
    shape = (len(lrs), len(decays))
    cells = row * len(decays) + column
    diverged = _total(cells, metrics["diverged"].astype(float), shape) > 0

    def moments(name: str) -> tuple[np.ndarray, np.ndarray]:
        mean, sd = _moments(cells, metrics[name].astype(float), shape)
        return np.where(diverged, np.nan, mean), np.where(diverged, np.nan, sd)

    val, val_sd = moments("val_error")
    test, test_sd = moments("test_error")
    budget, _ = _moments(cells, metrics["K"].astype(float), shape)
    seeds = len(np.unique(metrics["seed"]))
    return MapGrid(lrs, decays, val, val_sd, test, test_sd, budget, diverged, seeds)


def _total(cells: np.ndarray, values: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    return np.bincount(cells, weights=values, minlength=shape[0] * shape[1]).reshape(shape)


def _moments(
    cells: np.ndarray, values: np.ndarray, shape: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and sample standard deviation of each cell; NaN with no, or one, value."""
    with np.errstate(invalid="ignore", divide="ignore"):
        n = _total(cells, np.ones_like(values), shape)
        mean = _total(cells, values, shape) / n
        rest = (values - mean.ravel()[cells]) ** 2
        sd = np.sqrt(_total(cells, rest, shape) / (n - 1))
    return mean, np.where(n > 1, sd, np.nan)


def positions(values: np.ndarray) -> np.ndarray:
    """log10 of the values; 0 stands one median step left of the smallest other.

    >>> positions(np.array([0.0, 0.01, 0.1, 1.0])).tolist()
    [-3.0, -2.0, -1.0, 0.0]
    """
    values = np.asarray(values, dtype=float)
    logs = np.log10(values, where=values > 0, out=np.full(values.shape, np.nan))
    there = logs[np.isfinite(logs)]
    step = np.median(np.diff(there)) if len(there) > 1 else 1.0
    lowest = there.min() - step if there.size else 0.0
    return np.where(np.isfinite(logs), logs, lowest)


def edges(places: np.ndarray) -> np.ndarray:
    """The borders of cells centred at ``places``: one more than there are cells.

    >>> edges(np.array([0.0, 1.0, 2.0])).tolist()
    [-0.5, 0.5, 1.5, 2.5]
    """
    if len(places) == 1:
        return places[0] + np.array([-0.5, 0.5])
    middle = (places[1:] + places[:-1]) / 2
    ends = 2 * places[0] - middle[0], 2 * places[-1] - middle[-1]
    return np.array([ends[0], *middle, ends[1]])


def outline(mask: np.ndarray, x: np.ndarray, y: np.ndarray) -> list[tuple[tuple, tuple]]:
    """The line segments around the cells of ``mask``, between edges ``x`` and ``y``.

    >>> len(outline(np.ones((1, 2), bool), np.arange(3.0), np.arange(2.0)))
    6
    """
    padded = np.pad(mask, 1)
    upright = [
        ((x[j], x[j]), (y[i], y[i + 1]))
        for i, j in np.argwhere(padded[1:-1, 1:] != padded[1:-1, :-1])
    ]
    level = [
        ((x[j], x[j + 1]), (y[i], y[i]))
        for i, j in np.argwhere(padded[1:, 1:-1] != padded[:-1, 1:-1])
    ]
    return upright + level


def iso_lines(x: np.ndarray, y: np.ndarray) -> list[tuple[float, tuple, tuple]]:
    """Lines of equal lr · weight_decay inside the box of edges: (log10 of it, xs, ys).

    >>> iso_lines(np.array([-2.0, 0.0]), np.array([-1.0, 0.5]))[0]
    (-2.0, (-2.0, -1.0), (0.0, -1.0))
    """
    lines = []
    for level in np.arange(np.ceil(x[0] + y[0] + 0.2), x[-1] + y[-1] - 0.2):
        left, right = max(x[0], level - y[-1]), min(x[-1], level - y[0])
        if right > left:
            ends = (float(left), float(right)), (float(level - left), float(level - right))
            lines.append((float(level), *ends))
    return lines
