"""Which weight decay, and does it do anything? Audits, predictors and the doctor.

The room is also its main function: ``etalambda.suggest(optimizer="adamw", lr=3e-4, steps=20_000)``.
"""

import sys
from types import ModuleType
from typing import Any

from etalambda.diagnose.decay import decay_budget, stats
from etalambda.suggest.audit_table import Audit
from etalambda.suggest.auditing import audit
from etalambda.suggest.findings import Finding
from etalambda.suggest.suggesting import suggest
from etalambda.suggest.suggestion import Prediction, Suggestion
from etalambda.theory.plan import DecayBudget

__all__ = [
    "Audit",
    "DecayBudget",
    "Finding",
    "Prediction",
    "Suggestion",
    "audit",
    "decay_budget",
    "stats",
    "suggest",
]
EXPERIMENTAL: frozenset[str] = frozenset({"Finding", "Prediction"})


class _CallableRoom(ModuleType):
    """A module that can be called: `suggest` names the room and its function."""

    def __call__(self, *args: Any, **options: Any) -> Any:
        return self.suggest(*args, **options)


sys.modules[__name__].__class__ = _CallableRoom
