"""The cells of a sweep: which fields take which values, and what each combination is called.

``lr=1e-3:1:7`` are seven values, equal steps on a log scale; ``optimizer=sgd,adamw`` a list. What a
value may be follows from the field's type in the experiment's config, and every cell is a whole
config, checked before anything runs.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from itertools import product
from typing import Any, get_args, get_origin, get_type_hints

from etalambda._common import unknown
from etalambda.lab.configs import parse_grid

_PLAIN = re.compile(r"[^A-Za-z0-9._=+-]")
LONGEST = 120  # characters of a cell's name; file systems take 255


@dataclass(frozen=True)
class Axis:
    """A field and its values, in the order they were given.

    >>> from etalambda.lab.configs import MapConfig
    >>> axes = [Axis("epochs", (10, 40)), Axis("model", ("mlp", "cnn"))]
    >>> [cell.values for cell in grid_cells("map", MapConfig(), axes)][1]
    {'epochs': 10, 'model': 'cnn'}
    """

    field: str
    values: tuple[Any, ...]


@dataclass(frozen=True)
class Cell:
    """One configuration: its name (a folder's), what the sweep set, and the whole config.

    >>> from etalambda.lab.configs import MapConfig
    >>> made = cell("map", MapConfig(), {"epochs": 10})
    >>> made.name == f"epochs=10-{mark_of(made.name)}", made.config.epochs, made.config.model
    (True, 10, 'mlp')
    """

    name: str
    values: Mapping[str, Any]
    config: Any


def parse_axis(text: str, config: Any) -> Axis:
    """``FIELD=GRID`` as an axis of this config.

    Raises:
        ValueError: For an unknown field, a value of the wrong type, or a value given twice.

    >>> from etalambda.lab.configs import MapConfig
    >>> parse_axis("epochs=10,40", MapConfig())
    Axis(field='epochs', values=(10, 40))
    """
    name, sign, grid = text.partition("=")
    name = name.strip().replace("-", "_")
    if not sign:
        raise ValueError(f"over must be FIELD=VALUES, as in lr=1e-3:1:7, got {text!r}")
    known = [field.name for field in fields(config)]
    if name not in known:
        raise unknown("field", name, known)
    values = _values(name, grid, get_type_hints(type(config))[name])
    if len(set(values)) < len(values):
        raise ValueError(f"{name} has a value twice in {grid!r}; give each one once")
    return Axis(name, values)


def _values(name: str, grid: str, kind: Any) -> tuple[Any, ...]:
    while get_origin(kind) is not None and hasattr(kind, "__metadata__"):
        kind = get_args(kind)[0]
    try:
        if kind is float:
            return parse_grid(grid)
        if kind is int:
            return tuple(map(_whole, parse_grid(grid)))
        if kind is bool:
            return tuple({"true": True, "false": False}[word] for word in grid.lower().split(","))
        if kind is str:
            return tuple(word.strip() for word in grid.split(","))
        if get_origin(kind) is tuple:
            element = get_args(kind)[0]
            return tuple(tuple(map(element, part.split("+"))) for part in grid.split(","))
    except KeyError:
        raise ValueError(f"{name} is true or false, got {grid!r}") from None
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
    raise ValueError(f"{name} cannot be swept: its values are {kind}")


def _whole(value: float) -> int:
    if value != int(value) and value < 100:
        raise ValueError(f"{value:g} is no whole number; write a list, as in 1,2,4")
    return round(value)


def grid_cells(kind: str, base: Any, axes: Sequence[Axis]) -> list[Cell]:
    """Every combination, the last axis fastest.

    Raises:
        ValueError: If a field is there twice, or a combination is no valid config: which, and why.
    """
    names = [axis.field for axis in axes]
    if twice := [name for name in dict.fromkeys(names) if names.count(name) > 1]:
        raise ValueError(f"{twice[0]} is swept over twice; write all its values in one --over")
    combinations = product(*(axis.values for axis in axes))
    return [cell(kind, base, dict(zip(names, values))) for values in combinations]


def random_cells(
    kind: str, base: Any, axes: Sequence[Axis], seeds: Sequence[int], count: int, seed: int
) -> list[Cell]:
    """``count`` random settings, each with every seed, the same ones each time.

    A float axis of positive ends is drawn between its first and last value on a log scale, another
    one from its list.
    """
    from random import Random

    draw = Random(seed)
    made: dict[str, Cell] = {}
    for _ in range(count):
        values = {axis.field: _drawn(axis, draw) for axis in axes}
        for one in seeds or [None]:
            found = cell(kind, base, values if one is None else values | {"seed": one})
            made[found.name] = found
    return list(made.values())


def _drawn(axis: Axis, draw: Any) -> Any:
    if is_continuous(axis):
        low, high = min(axis.values), max(axis.values)
        return float(f"{low * (high / low) ** draw.random():.4g}")
    return draw.choice(axis.values)


def is_continuous(axis: Axis) -> bool:
    """Whether random and TPE draw between the axis' ends: three or more positive floats."""
    floats = all(isinstance(v, float) and v > 0 for v in axis.values)
    return floats and len(axis.values) > 2


def cell(kind: str, base: Any, values: Mapping[str, Any]) -> Cell:
    """The cell of these values.

    Raises:
        ValueError: If the values do not make a config: the values and the config's own reason.
    """
    try:
        config = replace(base, **values)
    except ValueError as error:
        listed = " ".join(f"{name}={value}" for name, value in values.items())
        raise ValueError(f"the cell {listed or 'of no values'} is not possible: {error}") from error
    return Cell(cell_name(kind, config, values), dict(values), config)


def cell_name(kind: str, config: Any, values: Mapping[str, Any]) -> str:
    """A folder name that tells the values and ends with the config's own mark, `mark_of`.

    >>> from etalambda.lab.configs import MapConfig
    >>> cell_name("map", MapConfig(), {"epochs": 40, "model": "../x"})
    'epochs=40_model=..-x-8b24dc032702'
    """
    told = "_".join(f"{name}={_short(value)}" for name, value in values.items())
    plain = _PLAIN.sub("-", told)[:LONGEST].lstrip("._=+-") or kind
    text = json.dumps([kind, asdict(config)], sort_keys=True)
    return f"{plain}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def mark_of(name: str) -> str:
    """What tells a cell from all others, whatever its sweep has told of it in the name."""
    return name.rpartition("-")[2]


def _short(value: Any) -> str:
    if isinstance(value, tuple | list):
        return "+".join(map(_short, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def batches(cells: Iterable[Cell], most: int, group: Any) -> Iterator[list[Cell]]:
    """Cells that can be trained together, at most so many at a time.

    Args:
        cells: In any order; it is kept within a group.
        most: Cells of a batch.
        group: Config -> what must be equal in a batch.
    """
    waiting: dict[Any, list[Cell]] = {}
    for one in cells:
        waiting.setdefault(group(one.config), []).append(one)
    for together in waiting.values():
        for start in range(0, len(together), most):
            yield together[start : start + most]
