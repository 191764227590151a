"""Arms beside a reference arm, seed by seed: are they the same within a margin?"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from etalambda.lab.statistics import Interval, paired_difference

Table = dict[str, np.ndarray]
Tables = dict[str, Table]


def rows(table: Table, low: float = -np.inf, high: float = np.inf, **equal: object) -> Table:
    """The rows with ``low < step <= high`` and the given values.

    >>> table = {"arm": np.array(["a", "b"]), "step": np.array([1, 2])}
    >>> rows(table, arm="b")["step"].tolist(), rows(table, high=1)["step"].tolist()
    ([2], [1])
    """
    ours = np.ones(len(next(iter(table.values()))), dtype=bool)
    if np.isfinite([low, high]).any():
        ours &= (table["step"] > low) & (table["step"] <= high)
    for name, value in equal.items():
        ours &= table[name] == value
    return {key: column[ours] for key, column in table.items()}


def keeping(*names: str) -> Callable[[Tables], Tables]:
    """A figure's ``compact`` that keeps these columns of its curves, and all other tables."""

    def kept(tables: Tables) -> Tables:
        return tables | {"curves": {name: tables["curves"][name] for name in names}}

    return kept


def a_seed(table: Table, column: str, reduce: Callable[..., float] = np.nanmean) -> np.ndarray:
    """One number a seed, in the order of seeds: the mean over its rows, or another reduction."""
    seeds = np.unique(table["seed"])
    with np.errstate(all="ignore"):
        return np.array([reduce(table[column][table["seed"] == seed]) for seed in seeds])


def apart(
    table: Table,
    reference: str,
    column: str,
    *,
    reduce: Callable[..., float] = np.nanmean,
    log: bool = False,
) -> Interval:
    """How far any arm is from the reference: the hull of the arms' paired intervals.

    Args:
        table: Columns ``arm``, ``seed`` and ``column``; the window is already cut.
        reference: The arm that the others are compared with.
        column: What is compared.
        reduce: Rows of one seed to one number.
        log: Compare logarithms, so that the difference is a relative one.
    """
    by_arm = {
        str(arm): a_seed(rows(table, arm=arm), column, reduce) for arm in np.unique(table["arm"])
    }
    if log:
        by_arm = {arm: np.log(values) for arm, values in by_arm.items()}
    ours = by_arm.pop(reference)
    return hull(paired_difference(values, ours) for values in by_arm.values())


def hull(intervals: Iterable[Interval]) -> Interval:
    """The interval that holds all; its value is the one furthest from 0, its n the smallest.

    >>> hull([Interval(0.1, 0.0, 0.2, 5), Interval(-0.3, -0.4, -0.2, 4)])[:4]
    (-0.3, -0.4, 0.2, 4)
    """
    found = list(intervals)
    worst = max(found, key=lambda one: abs(one.value))
    low, high = min(one.low for one in found), max(one.high for one in found)
    return Interval(worst.value, low, high, min(one.n for one in found), worst.sd)


def mean_curve(table: Table, column: str) -> tuple[np.ndarray, np.ndarray]:
    """Steps and the mean over seeds at each, for a line of a figure."""
    steps = np.unique(table["step"])
    return steps, np.array([np.nanmean(table[column][table["step"] == step]) for step in steps])
