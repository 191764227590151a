"""What a sweep is told, as one value that a database can keep and a worker elsewhere can read."""

from __future__ import annotations

import json
from collections.abc import Mapping, Set
from dataclasses import asdict, dataclass, fields
from typing import Any

from etalambda._common import unknown
from etalambda.lab.configs import check_counts
from etalambda.lab.sweep.space import Axis, Cell, batches, cell, grid_cells, mark_of, random_cells
from etalambda.lab.sweep.targets import Target, target

SAMPLERS = ("grid", "random", "tpe")


@dataclass(frozen=True)
class Unit:
    """What one worker does at a time: cells by name, with what the sweep set in each.

    A unit of ``tpe`` has no cells yet: the sampler chooses them when it is claimed.
    """

    name: str
    cells: tuple[tuple[str, Mapping[str, Any]], ...]


@dataclass(frozen=True)
class Plan:
    """A sweep: the experiment, the config that its cells share, and the axes.

    Args:
        kind: The experiment, a name of `targets.TARGETS` or a module.
        base: Its config; an axis overrides a field.
        axes: The fields and their values; ``seed`` may be among them.
        sampler: ``grid``, ``random`` or ``tpe``.
        trials: Settings that random and tpe try, each with every seed.
        together: Cells of a unit, where the experiment can train many at once.
        seed: Of the sampler.

    Raises:
        ValueError: For an unknown sampler, or random and tpe without an axis or trials.

    Example:
        >>> from etalambda.lab.train import TrainConfig
        >>> axes = (Axis("lr", (0.01, 0.1)), Axis("seed", (0, 1, 2)))
        >>> plan = Plan("train", TrainConfig(steps=100), axes)
        >>> len(plan.cells()), plan.seeds, Plan.from_json(plan.to_json()) == plan
        (6, (0, 1, 2), True)
    """

    kind: str
    base: Any
    axes: tuple[Axis, ...]
    sampler: str = "grid"
    trials: int = 0
    together: int = 64
    seed: int = 0

    def __post_init__(self) -> None:
        if self.sampler not in SAMPLERS:
            raise unknown("sampler", self.sampler, SAMPLERS)
        check_counts(together=self.together)
        if self.sampler != "grid":
            check_counts(trials=self.trials)
            if not self.drawn:
                raise ValueError(f"{self.sampler} needs a field to choose: add --over lr=1e-3:1:7")

    @property
    def target(self) -> Target:
        """The experiment's places."""
        return target(self.kind)

    @property
    def drawn(self) -> tuple[Axis, ...]:
        """The axes but the seed's: what random and tpe choose."""
        return tuple(axis for axis in self.axes if axis.field != "seed")

    @property
    def seeds(self) -> tuple[int, ...]:
        """The values of the axis ``seed``; empty without one."""
        return next((axis.values for axis in self.axes if axis.field == "seed"), ())

    def cells(self) -> list[Cell]:
        """All cells, in order; none for tpe, which chooses as it goes."""
        if self.sampler == "tpe":
            return []
        if self.sampler == "random":
            return random_cells(
                self.kind, self.base, self.drawn, self.seeds, self.trials, self.seed
            )
        return grid_cells(self.kind, self.base, self.axes)

    def units(self, skip: Set[str] = frozenset()) -> list[Unit]:
        """The work, without the cells of these marks."""
        if self.sampler == "tpe":
            return [Unit(f"tpe-{i}", ()) for i in range(self.trials)]
        left = [found for found in self.cells() if mark_of(found.name) not in skip]
        if not left:
            return []
        many = self.target.run_many() is not None and self.together > 1
        if many:
            grouped = batches(left, self.together, self.target.group())
        else:
            grouped = ([found] for found in left)
        return [_unit(together) for together in grouped]

    def cell(self, values: Mapping[str, Any]) -> Cell:
        """The cell of these values; lists become tuples, as JSON has no others."""
        return cell(self.kind, self.base, _tuples(values))

    def to_json(self) -> str:
        """The plan as text."""
        return json.dumps(asdict(self) | {"base": asdict(self.base)}, sort_keys=True)

    @classmethod
    def from_json(cls, text: str, *, trusted: str = "") -> Plan:
        """The plan of `to_json`.

        Args:
            text: What a database holds.
            trusted: The module whose experiment may be imported although it is not ours.

        Raises:
            ValueError: For an experiment that is not ours and not trusted, or fields that this
                version does not know.
        """
        raw = json.loads(text)
        kind = raw["kind"]
        config_class = target(kind, trusted=kind == trusted).config_class()
        known = {field.name for field in fields(config_class)}
        if strange := sorted(set(raw["base"]) - known):
            raise ValueError(
                f"the sweep's config has fields that this version does not know: {strange}; "
                "use the version of etalambda that began it"
            )
        base = config_class(**_tuples(raw["base"]))
        axes = tuple(Axis(a["field"], _hashable(a["values"])) for a in raw["axes"])
        return cls(**raw | {"base": base, "axes": axes})


def _unit(together: list[Cell]) -> Unit:
    first = together[0].name
    name = first if len(together) == 1 else f"{first}+{len(together) - 1}"
    return Unit(name, tuple((found.name, found.values) for found in together))


def _tuples(values: Mapping[str, Any]) -> dict[str, Any]:
    return {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}


def _hashable(values: list[Any]) -> tuple[Any, ...]:
    return tuple(tuple(value) if isinstance(value, list) else value for value in values)
