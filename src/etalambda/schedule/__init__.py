"""Weight decay over time and over tensors: rules, the one driver, ties to the lr, groups.

    tie(optimizer, "matched")                              follow the lr, nothing to call
    Scheduler(optimizer, weight_decay=cosine(10_000))      a shape; scheduler.step() after each step
    Scheduler(optimizer, weight_decay=MatchedAnnealing())  feedback; scheduler.step(loss=loss)

A rule is a factor on each group's own value, so groups at 0 stay at 0.
"""

from etalambda.schedule.coupling import COUPLINGS, CoupledToLR, inverse
from etalambda.schedule.driver import Scheduler
from etalambda.schedule.feedback import MatchedAnnealing
from etalambda.schedule.groups import MuonSplit, ParamGroups, param_groups
from etalambda.schedule.rule import fold
from etalambda.schedule.scale_invariance import scale_invariant_parameters
from etalambda.schedule.shapes import (
    constant,
    cosine,
    cosine_restarts,
    linear,
    piecewise,
    power_law,
)
from etalambda.schedule.tie import Tie, tie
from etalambda.schedule.two_step import TwoStepAnnealing

__all__ = [
    "COUPLINGS",
    "CoupledToLR",
    "MatchedAnnealing",
    "MuonSplit",
    "ParamGroups",
    "Scheduler",
    "Tie",
    "TwoStepAnnealing",
    "constant",
    "cosine",
    "cosine_restarts",
    "fold",
    "inverse",
    "linear",
    "param_groups",
    "piecewise",
    "power_law",
    "scale_invariant_parameters",
    "tie",
]

EXPERIMENTAL = ("COUPLINGS", "Tie", "TwoStepAnnealing")
