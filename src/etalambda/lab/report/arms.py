"""A set of runs as arms: every way of training that is not lr, weight_decay or seed.

An arm has a map of its own, a best cell chosen by validation error, and seeds that pair it with the
other arms.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from etalambda.lab.figures.grid import MapGrid, map_grid
from etalambda.lab.results import Results
from etalambda.lab.statistics import Interval, paired_difference

GRID = ("lr", "weight_decay")
PLACES = ("device", "data_dir", "log")  # fields that say where, not what
NEEDED = ("lr", "weight_decay", "val_error", "test_error")


@dataclass(frozen=True)
class Arm:
    """One way of training: its name, its finished runs as a table, and their configs."""

    name: str
    table: Mapping[str, np.ndarray]
    configs: tuple[Mapping[str, Any], ...] = ()

    @cached_property
    def grid(self) -> MapGrid:
        """The arm's lr x weight_decay map."""
        return map_grid(dict(self.table))

    @property
    def is_map(self) -> bool:
        """Whether there are several lrs and several weight decays to compare."""
        return all(len(np.unique(self.table[name])) > 1 for name in GRID)

    @cached_property
    def best(self) -> dict[str, np.ndarray]:
        """The rows of the best cell, by mean validation error; empty if all diverged."""
        if not self.grid.any:
            return {name: column[:0] for name, column in self.table.items()}
        row, column = self.grid.best
        lr, decay = self.grid.lrs[row], self.grid.weight_decays[column]
        here = (self.table["lr"] == lr) & (self.table["weight_decay"] == decay)
        return {name: values[here] for name, values in self.table.items()}

    def minus(self, other: Arm) -> Interval:
        """Test error of this arm's best cell minus the other's, over the seeds that both have."""
        mine, theirs = self.best, other.best
        _, i, j = np.intersect1d(mine["seed"], theirs["seed"], return_indices=True)
        return paired_difference(100 * mine["test_error"][i], 100 * theirs["test_error"][j])


@dataclass(frozen=True)
class Arms:
    """The arms of a set of runs, in the order of their first run.

    Attributes:
        fields: The config fields whose values name the arms.
        arms: By name.
        validated: Whether cells could be chosen by validation error; else test error had to do.
        left_out: How many runs are unfinished, or lack an error.
    """

    results: Results
    fields: tuple[str, ...]
    arms: dict[str, Arm]
    validated: bool
    left_out: int

    @classmethod
    def of(cls, results: Results) -> Arms:
        """Sort finished runs into arms; fields that name places tell no arms apart."""
        aside = (*GRID, "seed", *PLACES)
        names = tuple(name for name in results.varying if name not in aside)
        table = dict(results.table)
        count = len(results.lines)
        for name in NEEDED:
            table.setdefault(name, np.full(count, np.nan))
        table.setdefault("seed", np.zeros(count, dtype=int))
        table.setdefault("K", np.full(count, np.nan))
        told = table.get("diverged", np.full(count, None, dtype=object))
        diverged = [value is True for value in told.tolist()]
        whole = table["finished"] & (np.isfinite(table["test_error"].astype(float)) | diverged)
        validated = bool(np.isfinite(table["val_error"][whole].astype(float)).any())
        if not validated:
            table["val_error"] = table["test_error"]
        table["diverged"] = np.array(diverged)
        arms: dict[str, list[int]] = {}
        for i in np.flatnonzero(whole):
            arms.setdefault(arm_name(results.lines[i].config, names), []).append(int(i))
        sorted_in = {
            name: Arm(
                name,
                {key: column[rows] for key, column in table.items()},
                tuple(results.lines[i].config for i in rows),
            )
            for name, rows in arms.items()
        }
        return cls(results, names, sorted_in, validated, int(count - whole.sum()))

    @property
    def maps(self) -> dict[str, MapGrid]:
        """The arms that are maps."""
        return {name: arm.grid for name, arm in self.arms.items() if arm.is_map}

    def curves(self) -> dict[str, dict[str, np.ndarray]]:
        """Arm -> rows of ``metrics`` of its best cell, with λ and lr as shares of their base."""
        wanted = {run: n for n, arm in self.arms.items() for run in arm.best["run"].tolist()}
        chosen = self.results.of(line.folder.name in wanted for line in self.results.lines)
        metrics = chosen.metrics()
        if not metrics:
            return {}
        owners = np.array([wanted[run] for run in metrics["run"]], dtype=object)
        found = {}
        for name in self.arms:
            rows = {key: column[owners == name] for key, column in metrics.items()}
            if len(rows["step"]):
                base = float(self.arms[name].best["weight_decay"][0])
                found[name] = _with_shares(rows, base)
        return found


def _with_shares(rows: dict[str, np.ndarray], base: float) -> dict[str, np.ndarray]:
    """The rows under the names that the charts know."""
    made = dict(rows)
    if "loss" in made:
        made.setdefault("train_loss", made["loss"])
    if GRID[0] in made and GRID[1] in made:
        decay, peak = made["weight_decay"].astype(float), np.nanmax(made["lr"].astype(float))
        made["decay_share"] = decay / base if base else np.zeros(decay.shape)
        made["lr_share"] = made["lr"] / max(float(peak), 1e-300)
    return made


def panel_rows(curve: Mapping[str, np.ndarray]) -> list[dict[str, Any]]:
    """One seed's rows of a curve as the rows of a `Panel`, which `figures.mechanism` draws."""
    first = curve["run"] == curve["run"][0]
    names = {
        "lr": "lr/0",
        "weight_decay": "weight_decay/0",
        "norm": "norm/total",
        "angle": "angle/total",
        "gradient_norm": "gradient/total",
    }
    columns = {new: curve[old][first].astype(float) for old, new in names.items() if old in curve}
    columns["intrinsic_lr/0"] = columns["lr/0"] * columns["weight_decay/0"]
    rows = []
    for i, step in enumerate(curve["step"][first]):
        told = {f"panel/{n}": v[i] for n, v in columns.items() if np.isfinite(v[i])}
        rows.append({"step": int(step)} | told)
    return rows


def arm_name(config: Mapping[str, Any], names: tuple[str, ...]) -> str:
    """What tells this arm from the others, in words.

    >>> arm_name({"optimizer": "sgd", "clip": 1.0}, ("optimizer", "clip"))
    'sgd, clip 1'
    """
    said = []
    for name in names:
        value = config.get(name)
        text = f"{value:g}" if isinstance(value, float) else str(value)
        said.append(text if isinstance(value, str) and value else f"{name} {text}")
    return ", ".join(said) or "all runs"
