"""The few statistics that the lab reports, each with its n and its interval."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike


class Interval(NamedTuple):
    """A number, the ends of its 95 % interval, how many observations made it, and their spread.

    >>> found = Interval(0.3, low=-0.1, high=0.7, n=8)
    >>> found.low <= 0 <= found.high  # eight seeds do not tell it from 0
    True
    """

    value: float
    low: float
    high: float
    n: int
    sd: float = float("nan")

    @property
    def whiskers(self) -> list[list[float]]:
        """How far the ends lie below and above, as matplotlib's ``errorbar`` takes them.

        >>> Interval(0.5, low=0.25, high=1.0, n=8).whiskers
        [[0.25], [0.5]]
        """
        return [[self.value - self.low], [self.high - self.value]]


def _t95(freedom: int) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(freedom, 0.975))


def mean_sd(values: ArrayLike) -> tuple[float, float, int]:
    """Mean and standard deviation (n - 1) of the finite values, and their number.

    >>> mean_sd([1.0, 3.0, float("nan")])
    (2.0, 1.4142135623730951, 2)
    """
    there = np.asarray(values, dtype=float)
    there = there[np.isfinite(there)]
    mean = float(there.mean()) if there.size else float("nan")
    sd = float(there.std(ddof=1)) if there.size > 1 else float("nan")
    return mean, sd, int(there.size)


def paired_difference(ours: ArrayLike, theirs: ArrayLike) -> Interval:
    """Mean of ours - theirs with its 95 % t-interval; entry i of both is the same seed.

    Pairs with a value that is not finite are left out; the interval needs two pairs.

    Raises:
        ValueError: If the two differ in length.

    Example:
        >>> paired_difference([1.0, 2.0, 3.0], [0.0, 1.0, 3.0])._replace(low=0, high=0, sd=0)
        Interval(value=0.6666666666666666, low=0, high=0, n=3, sd=0)
    """
    a, b = np.asarray(ours, dtype=float), np.asarray(theirs, dtype=float)
    if a.shape != b.shape:
        raise ValueError(f"ours and theirs must be paired, got shapes {a.shape} and {b.shape}")
    return mean_interval(a - b)


def mean_interval(values: ArrayLike) -> Interval:
    """Mean of the finite values with its 95 % t-interval, which needs two of them.

    >>> [round(x, 3) for x in mean_interval([1.0, 2.0, 3.0])]
    [2.0, -0.484, 4.484, 3, 1.0]
    """
    mean, sd, n = mean_sd(values)
    half = _t95(n - 1) * sd / n**0.5 if n > 1 else float("nan")
    return Interval(mean, mean - half, mean + half, n, sd)


def exact(value: float, n: int) -> Interval:
    """A number without spread, such as the largest of ``n`` differences.

    >>> differences = [1e-16, 3e-16, 2e-16]
    >>> exact(max(differences), n=len(differences)).high
    3e-16
    """
    return Interval(float(value), float(value), float(value), n, 0.0)


def slope(x: ArrayLike, y: ArrayLike) -> Interval:
    """Least-squares slope of y on x with its 95 % t-interval; NaN from fewer than 3 points.

    >>> slope([0, 1, 2, 3], [1, -1, -3, -5]).value
    -2.0
    """
    a, b = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    both = np.isfinite(a) & np.isfinite(b)
    a, b, n = a[both], b[both], int(both.sum())
    if n < 3 or np.ptp(a) == 0:
        return Interval(*(float("nan"),) * 3, n)
    centred = a - a.mean()
    value = float(centred @ b / (centred @ centred))
    residuals = b - b.mean() - value * centred
    half = _t95(n - 2) * float(np.sqrt(residuals @ residuals / (n - 2) / (centred @ centred)))
    return Interval(value, value - half, value + half, n)


def r_squared(x: ArrayLike, y: ArrayLike, degree: int = 3) -> tuple[float, int]:
    """Share of y's variance that a polynomial in log x explains, and n; x <= 0 is left out.

    NaN where fewer than degree + 2 points or no variance are left.

    >>> r_squared([1, 10, 100, 1000, 1e4, 1e5], [0, 1, 2, 3, 4, 5])
    (1.0, 6)
    """
    a, b = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    both = np.isfinite(a) & np.isfinite(b) & (a > 0)
    logs, b, n = np.log(a[both]), b[both], int(both.sum())
    if n < degree + 2 or np.ptp(b) == 0 or np.ptp(logs) == 0:
        return float("nan"), n
    terms = np.vander((logs - logs.mean()) / logs.std(), degree + 1)
    fitted = terms @ np.linalg.lstsq(terms, b, rcond=None)[0]
    return round(float(1 - ((b - fitted) ** 2).sum() / ((b - b.mean()) ** 2).sum()), 12), n


def holm(found: Iterable[Interval], level: float = 0.05) -> list[bool]:
    """Which of several paired differences are not 0, by Holm's step-down t-tests.

    >>> near, far = Interval(0.1, -1, 1.2, 8, 1.0), Interval(5.0, 4, 6, 8, 1.0)
    >>> holm([near, far])
    [False, True]
    """
    from scipy.stats import t

    each = list(found)
    p = np.array(
        [2 * t.sf(abs(f.value) / (f.sd / f.n**0.5), f.n - 1) if f.sd > 0 else 1.0 for f in each],
        dtype=float,
    )
    order, differs = np.argsort(p), [False] * len(each)
    for rank, index in enumerate(order):
        if p[index] > level / (len(each) - rank):
            break
        differs[index] = True
    return differs


def bootstrapped(
    statistic: Callable[[np.ndarray], float], n: int, *, draws: int = 1000
) -> Interval:
    """A statistic of chosen observations with the 95 % percentiles of a bootstrap over them.

    Args:
        statistic: Of indices into the ``n`` observations, some of them more than once.
        n: Observations, seeds for most of what the lab reports.
        draws: Resamples, always the same ones.

    Example:
        >>> values = np.array([1.0, 2.0, 3.0])
        >>> found = bootstrapped(lambda chosen: float(values[chosen].mean()), 3)
        >>> found.value, found.low <= 2 <= found.high
        (2.0, True)
    """
    random = np.random.RandomState(0)  # numpy promises that its stream never changes
    drawn = [statistic(random.randint(n, size=n)) for _ in range(draws)]
    low, high = np.percentile(drawn, [2.5, 97.5])
    return Interval(statistic(np.arange(n)), float(low), float(high), n, float(np.std(drawn)))


def ranks(values: ArrayLike) -> np.ndarray:
    """Ranks from 0, equal values sharing their mean rank.

    >>> ranks([3.0, 1.0, 3.0]).tolist()
    [1.5, 0.0, 1.5]
    """
    there = np.asarray(values, dtype=float)
    _, place, count = np.unique(there, return_inverse=True, return_counts=True)
    return (np.cumsum(count) - (count + 1) / 2)[place]


def spearman(x: ArrayLike, y: ArrayLike, *, draws: int = 2000, seed: int = 0) -> Interval:
    """Spearman's rank correlation with its 95 % bootstrap interval over pairs.

    >>> spearman([1, 2, 3, 4, 5], [1, 4, 9, 16, 25]).value
    1.0
    """
    a, b = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    both = np.isfinite(a) & np.isfinite(b)
    a, b, n = a[both], b[both], int(both.sum())
    if n < 3 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return Interval(*(float("nan"),) * 3, n)
    low, high = np.nanquantile(spearman_draws(a, b, draws=draws, seed=seed), [0.025, 0.975])
    return Interval(_correlation(ranks(a), ranks(b)), float(low), float(high), n)


def spearman_draws(x: np.ndarray, y: np.ndarray, *, draws: int = 2000, seed: int = 0) -> np.ndarray:
    """Bootstrap draws of the rank correlation; equal seeds draw equal pairs, so draws compare.

    >>> x, y = np.arange(20.0), np.random.default_rng(0).normal(size=20)
    >>> ours, theirs = (spearman_draws(x, x + c * y, draws=200) for c in (3, 30))
    >>> bool((ours - theirs > 0).mean() > 0.9)  # draw by draw: the same pairs in both
    True
    """
    random = np.random.default_rng(seed)
    chosen = random.integers(len(x), size=(draws, len(x)))
    return np.array([_correlation(ranks(x[rows]), ranks(y[rows])) for rows in chosen])


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    a, b = a - a.mean(), b - b.mean()
    size = float(np.sqrt((a @ a) * (b @ b)))
    return round(float(a @ b) / size, 12) if size > 0 else float("nan")
