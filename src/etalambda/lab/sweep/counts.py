"""How far a sweep is: its units of work by state."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

MAX_DEATHS = 5  # of workers, over one unit, before it counts as failed


@dataclass(frozen=True)
class Counts:
    """Units by state, and the last trial of each that is open in no trial (``lost``)."""

    total: int
    done: int
    running: int
    waiting: int
    failed: tuple[Any, ...]
    lost: tuple[Any, ...]

    @property
    def over(self) -> bool:
        """Whether every unit is done or has failed for good."""
        return self.done + len(self.failed) == self.total

    @classmethod
    def of(cls, trials: list[Any]) -> Counts:
        """The counts of these trials; the best state of a unit's trials is the unit's."""
        units: dict[str, list[Any]] = {}
        for trial in trials:
            units.setdefault(trial.user_attrs["unit"], []).append(trial)
        number = dict.fromkeys(("COMPLETE", "RUNNING", "WAITING"), 0)
        failed, lost = [], []
        for tries in units.values():
            states = {trial.state.name for trial in tries}
            best = next((state for state in number if state in states), None)
            if best is not None:
                number[best] += 1
            elif _hopeless(tries[-1]):
                failed.append(tries[-1])
            else:
                lost.append(tries[-1])
        return cls(
            len(units),
            number["COMPLETE"],
            number["RUNNING"],
            number["WAITING"],
            tuple(failed),
            tuple(lost),
        )


def _hopeless(trial: Any) -> bool:
    """Whether trying once more would fail as it did: an error, or one death after the other."""
    return "error" in trial.user_attrs or trial.user_attrs.get("deaths", 0) >= MAX_DEATHS
