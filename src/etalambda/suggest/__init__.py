"""Which weight decay, and does it do anything? Audits, predictors and the doctor.

The room is also its main function: ``etalambda.suggest(optimizer="adamw", lr=3e-4, steps=20_000)``.
"""

import sys
from types import ModuleType
from typing import Any

from etalambda.diagnose.decay import decay_budget, stats
from etalambda.suggest.audit_table import Audit
from etalambda.suggest.auditing import audit
from etalambda.suggest.doctor import Doctor, Report, examine, examine_log
from etalambda.suggest.export import CannotExpress, export
from etalambda.suggest.findings import Finding
from etalambda.suggest.measure import (
    Coefficient,
    measure_coefficient,
    scale_with_batch,
    time_to_peak,
    weight_decay_for,
)
from etalambda.suggest.suggesting import suggest
from etalambda.suggest.suggestion import Prediction, Suggestion
from etalambda.suggest.trace import Trace
from etalambda.suggest.two_phase import TwoPhasePlan, two_phase_plan
from etalambda.theory.plan import DecayBudget

__all__ = [
    "Audit",
    "CannotExpress",
    "Coefficient",
    "DecayBudget",
    "Doctor",
    "Finding",
    "Prediction",
    "Report",
    "Suggestion",
    "Trace",
    "TwoPhasePlan",
    "audit",
    "decay_budget",
    "examine",
    "examine_log",
    "export",
    "measure_coefficient",
    "scale_with_batch",
    "stats",
    "suggest",
    "time_to_peak",
    "two_phase_plan",
    "weight_decay_for",
]
EXPERIMENTAL: frozenset[str] = frozenset(
    {"Finding", "Prediction", "Report", "Trace", "TwoPhasePlan", "examine", "two_phase_plan"}
)


class _CallableRoom(ModuleType):
    """A module that can be called: `suggest` names the room and its function."""

    def __call__(self, *args: Any, **options: Any) -> Any:
        return self.suggest(*args, **options)


sys.modules[__name__].__class__ = _CallableRoom
