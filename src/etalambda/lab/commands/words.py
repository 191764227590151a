"""The command line that asks for a config: what a user types to get the same result again."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any

from etalambda.lab.configs import ClockConfig, CompareConfig, MapConfig
from etalambda.lab.experiments.cell_config import CellConfig
from etalambda.lab.train.config import TrainConfig

CONFIGS: dict[str, Any] = {
    "clock": ClockConfig,
    "map": MapConfig,
    "compare": CompareConfig,
    "train": TrainConfig,
    "cell": CellConfig,
}
COMMANDS = {"cell": ("sweep", "cell")}
POSITIONAL = {("map", "task"), ("compare", "task")}
GRIDS = ("lrs", "weight_decays")


def words_of(kind: str, config: Mapping[str, Any], out: str = "") -> str:
    """The command of a run: its name and every flag that is not at its default.

    >>> words_of("map", {"task": "digits", "seeds": 5, "lrs": [0.1]})
    'etalambda map digits --lrs 0.1 --seeds 5'
    >>> words_of("train", {"task": "digits", "scale_invariant": True, "lr": 0.2})
    'etalambda train --scale-invariant --lr 0.2'
    """
    words = ["etalambda", *COMMANDS.get(kind, (kind,))]
    for f in fields(CONFIGS[kind]):
        value = config.get(f.name, f.default)
        value = tuple(value) if isinstance(value, list) else value
        flag = f.name.replace("_", "-")
        if (kind, f.name) in POSITIONAL:
            words.insert(2, str(value))
        elif f.default is not MISSING and value == f.default:
            continue
        elif isinstance(value, bool):
            words.append(f"--{flag}" if value else f"--no-{flag}")
        else:
            words += [f"--{flag}", *_flag(f.name, value)]
    return shlex.join(words + (["--out", out] if out else []))


def _flag(name: str, value: Any) -> list[str]:
    if name in GRIDS:
        return [",".join(f"{v:g}" for v in value)]
    if isinstance(value, tuple):
        return [str(v) for v in value]
    return [f"{value:g}" if isinstance(value, float) else str(value)]
