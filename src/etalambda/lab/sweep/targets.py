"""What can be swept over: every experiment that is ``run(config, run, progress)``.

A target is a config class, the function that trains one config into one record, and, where many
can be trained at once, ``run_many(configs, runs, progress)`` with ``group(config)``, which says
what must be equal among them. An experiment of your own is a module with ``Config`` and ``run``
(and perhaps ``run_many`` and ``group``): ``etalambda sweep my_package.my_experiment``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, is_dataclass
from importlib import import_module
from typing import Any

from etalambda._common import unknown


@dataclass(frozen=True)
class Target:
    """An experiment: places of its config class and its module, and the field that is minimized.

    >>> found = target("clock")
    >>> found.config_class().__name__, found.run().__module__, found.value
    ('ClockConfig', 'etalambda.lab.experiments.clock', 'K95')
    >>> found.run_many() is None  # a clock trains its own networks together
    True
    """

    config: str
    module: str
    value: str = "val_error"

    def config_class(self) -> type:
        """The config class; importing it costs no torch."""
        return _load(self.config)

    def run(self) -> Callable[..., None]:
        """``run(config, run, progress)``."""
        return import_module(self.module).run

    def run_many(self) -> Callable[..., None] | None:
        """``run_many(configs, runs, progress)``, or None where one is trained at a time."""
        return getattr(import_module(self.module), "run_many", None)

    def group(self) -> Callable[[Any], Any]:
        """Config -> what must be equal among configs that are trained together."""
        return getattr(import_module(self.module), "group", lambda config: config)


_EXPERIMENTS = "etalambda.lab.experiments"
_CONFIGS = "etalambda.lab.configs"
TARGETS: dict[str, Target] = {
    "train": Target("etalambda.lab.train.config:TrainConfig", "etalambda.lab.train"),
    "cell": Target(f"{_EXPERIMENTS}.cell_config:CellConfig", f"{_EXPERIMENTS}.cell"),
    "map": Target(f"{_CONFIGS}:MapConfig", f"{_EXPERIMENTS}.map"),
    "compare": Target(f"{_CONFIGS}:CompareConfig", f"{_EXPERIMENTS}.compare"),
    "clock": Target(f"{_CONFIGS}:ClockConfig", f"{_EXPERIMENTS}.clock", "K95"),
}


def target(name: str, *, trusted: bool = True) -> Target:
    """The target of this name.

    Args:
        name: One of `TARGETS`, or a module of yours as ``package.module``.
        trusted: Whether a module may be imported by its name: names that come from a database are
            not trusted.

    Raises:
        ValueError: For an unknown name, or a module without ``Config`` and ``run``.
    """
    if name in TARGETS:
        return TARGETS[name]
    if "." not in name or not all(part.isidentifier() for part in name.split(".")):
        raise unknown("experiment", name, TARGETS)
    if not trusted:
        raise ValueError(
            f"this sweep is of the module {name}, which is not ours; if you trust it, name it: "
            f"etalambda worker {name} ..."
        )
    module = import_module(name)
    if not is_dataclass(getattr(module, "Config", None)) or not hasattr(module, "run"):
        raise ValueError(f"{name} must have a dataclass Config and run(config, run, progress)")
    return Target(f"{name}:Config", name, getattr(module, "VALUE", "val_error"))


def _load(place: str) -> Any:
    module, name = place.split(":")
    return getattr(import_module(module), name)
