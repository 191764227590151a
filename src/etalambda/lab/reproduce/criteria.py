"""Claims as criteria: a margin written beforehand, an interval from the run, a verdict from both.

A criterion holds if the whole 95 % interval lies where it should, fails if none of it does, and is
undecided otherwise, or when fewer than three observations made the interval.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from etalambda.lab.numbers import number
from etalambda.lab.statistics import Interval

HOLDS, FAILS, UNDECIDED = "holds", "fails", "undecided"
FEWEST = 3  # observations that an interval needs to decide anything


@dataclass(frozen=True)
class Criterion:
    """What must be true of one number: that it lies in [low, high].

    Args:
        says: The claim in words, as in ``"log-log slope of settling time on ηλ"``.
        low, high: The margin; infinite where there is no bound.

    Example:
        >>> slope = Criterion("slope", -1.2, -0.8)
        >>> slope.outcome(Interval(-1.0, -1.1, -0.9, n=5))
        'holds'
        >>> slope.outcome(Interval(-0.7, -0.9, -0.5, n=5)), slope.bounds
        ('undecided', '-1.2 to -0.8')
    """

    says: str
    low: float = -math.inf
    high: float = math.inf

    def __post_init__(self) -> None:
        if not self.low < self.high or (math.isinf(self.low) and math.isinf(self.high)):
            raise ValueError(
                f"criterion {self.says!r} has the margin [{self.low}, {self.high}]; "
                "give low, high or both, low < high"
            )

    def outcome(self, found: Interval) -> str:
        """``holds``, ``fails`` or ``undecided``."""
        if found.n < FEWEST or math.isnan(found.low) or math.isnan(found.high):
            return UNDECIDED
        if self.low <= found.low and found.high <= self.high:
            return HOLDS
        return FAILS if found.high < self.low or found.low > self.high else UNDECIDED

    @property
    def bounds(self) -> str:
        """The margin in words."""
        if math.isinf(self.low):
            return f"at most {number(self.high)}"
        if math.isinf(self.high):
            return f"at least {number(self.low)}"
        return f"{number(self.low)} to {number(self.high)}"


def above(says: str, low: float) -> Criterion:
    """The number must be at least ``low``.

    >>> slower = above("steps without decay over steps with it", 2)
    >>> slower.outcome(Interval(3.1, 2.4, 3.8, n=8)), slower.bounds
    ('holds', 'at least 2')
    """
    return Criterion(says, low=low)


def below(says: str, high: float) -> Criterion:
    """The number must be at most ``high``.

    >>> below("largest error", 1e-9).outcome(Interval(3e-16, 3e-16, 3e-16, n=82))
    'holds'
    """
    return Criterion(says, high=high)


def within(says: str, low: float, high: float) -> Criterion:
    """The number must lie in [low, high].

    >>> within("slope", -1.2, -0.8).outcome(Interval(-1.0, -1.1, -0.9, n=2))  # too few seeds
    'undecided'
    """
    return Criterion(says, low, high)


@dataclass(frozen=True)
class Finding:
    """One criterion beside what was found.

    >>> print(Finding("slope", within("the slope", -1.2, -0.8), Interval(-0.7, -0.75, -0.65, n=5)))
    the slope: -0.7 (-0.75 to -0.65), n = 5; asked -1.2 to -0.8: fails
    """

    name: str
    criterion: Criterion
    found: Interval

    @property
    def outcome(self) -> str:
        """``holds``, ``fails`` or ``undecided``."""
        return self.criterion.outcome(self.found)

    def __str__(self) -> str:
        f = self.found
        ends = f" ({number(f.low)} to {number(f.high)})" if f.low != f.high else ""
        sd = f", sd {number(f.sd)}" if f.sd > 0 else ""
        return (
            f"{self.criterion.says}: {number(f.value)}{ends}, n = {f.n}{sd}; "
            f"asked {self.criterion.bounds}: {self.outcome}"
        )


@dataclass(frozen=True)
class Verdict:
    """What a run says about a figure's claim: every finding, and all of them together.

    >>> rule = above("gain", 0)
    >>> sure = Finding("text", rule, Interval(2, 1, 3, n=4))
    >>> unsure = Finding("images", rule, Interval(2, -1, 5, n=4))
    >>> Verdict((sure,)).outcome, Verdict((sure, unsure)).outcome
    ('holds', 'undecided')
    """

    findings: tuple[Finding, ...]

    @property
    def outcome(self) -> str:
        """``fails`` if one finding does, ``holds`` if all do, ``undecided`` otherwise."""
        found = {finding.outcome for finding in self.findings}
        if FAILS in found:
            return FAILS
        return HOLDS if found == {HOLDS} else UNDECIDED


def judge(criteria: Mapping[str, Criterion], found: Mapping[str, Interval]) -> Verdict:
    """The verdict; ``found`` must answer every criterion and nothing else.

    Raises:
        ValueError: If the names differ.

    >>> judge({"a": above("a", 0)}, {"a": Interval(2, 1, 3, n=4)}).outcome
    'holds'
    """
    if set(criteria) != set(found):
        raise ValueError(f"criteria are {sorted(criteria)}, but estimated were {sorted(found)}")
    return Verdict(tuple(Finding(name, rule, found[name]) for name, rule in criteria.items()))
