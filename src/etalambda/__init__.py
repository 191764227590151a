"""etalambda (ηλ): schedule weight decay the way everyone schedules the learning rate.

    import etalambda as el

    el.audit(model, optimizer, steps=10_000)  # does my weight decay do anything?
    el.suggest(optimizer="adamw", lr=3e-4, steps=10_000)  # which number?
    el.param_groups(model, weight_decay=0.1)  # which tensors?
    el.tie(optimizer, "matched")  # keep it in step with the learning rate

Every name below takes one optimizer or an iterable of them (Muon + AdamW). Nothing is imported
before it is used: this package alone costs a millisecond, the command line's help needs no torch.
"""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from etalambda.diagnose import Monitor, decay_budget, stats
    from etalambda.optim import AdamS
    from etalambda.schedule import Scheduler, param_groups, tie
    from etalambda.suggest import audit, suggest

try:
    __version__ = version("etalambda")
except PackageNotFoundError:  # a checkout that was never installed
    __version__ = "0+unknown"

# Public name -> the room that defines it. All are stable: they change only with a deprecation.
_HOME = {
    "tie": "schedule",
    "Scheduler": "schedule",
    "param_groups": "schedule",
    "AdamS": "optim",
    "Monitor": "diagnose",
    "decay_budget": "diagnose",
    "stats": "diagnose",
    "audit": "suggest",
    "suggest": "suggest",
}
_ROOMS = ("optim", "schedule", "theory", "diagnose", "suggest", "integrations", "lab")

__all__ = [
    "AdamS",
    "Monitor",
    "Scheduler",
    "audit",
    "decay_budget",
    "param_groups",
    "stats",
    "suggest",
    "tie",
]


def __getattr__(name: str) -> Any:
    if name == "suggest":  # a room and a function: the room is callable, see suggest/__init__.py
        return import_module("etalambda.suggest")
    if name in _HOME:
        return getattr(import_module(f"etalambda.{_HOME[name]}"), name)
    if name in _ROOMS:
        return import_module(f"etalambda.{name}")
    raise AttributeError(f"module 'etalambda' has no attribute {name!r}; it has {__all__}")


def __dir__() -> list[str]:
    return sorted([*__all__, *_ROOMS, "__version__"])
