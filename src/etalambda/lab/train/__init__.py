"""One network on one task: any optimizer, schedule and sphere, one loop, resumed exactly.

``TrainConfig`` says what is trained and imports no torch; ``run(config, record, progress)`` trains
it into a run folder, `fit` without one. A file here is an idea: `tasks`, `parts` (model, optimizer,
schedules), `measure`, `checkpoint`, `distributed`, and the `loop` that composes them.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from etalambda.lab.train.config import TrainConfig

if TYPE_CHECKING:
    from etalambda.lab.train.loop import Result, fit
    from etalambda.lab.train.recorded import run

__all__ = ["Result", "TrainConfig", "fit", "run"]
_HOME = {"Result": "loop", "fit": "loop", "run": "recorded"}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"etalambda.lab.train.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {__all__}")
