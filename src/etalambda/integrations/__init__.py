"""Other people's training loops: one import for each, and nothing is imported before it is used.

    from etalambda.integrations import LRSchedulerAdapter                    any loop that wants an
                                                                             LRScheduler
    from etalambda.integrations.lightning import WeightDecayCallback         Lightning
    from etalambda.integrations.transformers import WeightDecayCallback      Hugging Face Trainer

Accelerate, schedule-free, timm and torch's Muon need nothing from here; ``docs/recipes`` has the
lines.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from etalambda.integrations.lr_scheduler import LRSchedulerAdapter

__all__ = ["LRSchedulerAdapter"]

EXPERIMENTAL = ()


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(import_module("etalambda.integrations.lr_scheduler"), name)
    raise AttributeError(f"module 'etalambda.integrations' has no attribute {name!r}")
