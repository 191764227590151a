"""Weight decay over time and over tensors: rules, the one driver, ties to the lr, groups.

    tie(optimizer, "matched")                              follow the lr, nothing to call
    Scheduler(optimizer, weight_decay=cosine(10_000))      a shape; scheduler.step() after each step
    Scheduler(optimizer, weight_decay=MatchedAnnealing())  feedback; scheduler.step(loss=loss)

A rule is a factor on each group's own value, so groups at 0 stay at 0.
"""

from etalambda.schedule.autol2 import AutoL2
from etalambda.schedule.budgets import Recording, record, replay, rescale_to_budget, shuffle
from etalambda.schedule.compose import clip, join, times
from etalambda.schedule.coupling import COUPLINGS, CoupledToLR, inverse
from etalambda.schedule.driver import Scheduler
from etalambda.schedule.exponential import (
    ExponentialLR,
    limiting_ratio,
    shrinkage,
    to_exponential_lr,
)
from etalambda.schedule.feedback import MatchedAnnealing
from etalambda.schedule.groups import MuonSplit, ParamGroups, param_groups
from etalambda.schedule.published import from_label, table_1, two_phase
from etalambda.schedule.rule import fold
from etalambda.schedule.scale_invariance import scale_invariant_parameters
from etalambda.schedule.shapes import (
    constant,
    cosine,
    cosine_restarts,
    exponential,
    linear,
    log_time,
    piecewise,
    polynomial,
    power_law,
)
from etalambda.schedule.simulation import plot, simulate
from etalambda.schedule.stages import one_cycle, trapezoid, u_shape, warmup, window
from etalambda.schedule.stairs import multi_step, staircase
from etalambda.schedule.tie import Tie, tie
from etalambda.schedule.two_step import TwoStepAnnealing

__all__ = [
    "COUPLINGS",
    "AutoL2",
    "CoupledToLR",
    "ExponentialLR",
    "MatchedAnnealing",
    "MuonSplit",
    "ParamGroups",
    "Recording",
    "Scheduler",
    "Tie",
    "TwoStepAnnealing",
    "clip",
    "constant",
    "cosine",
    "cosine_restarts",
    "exponential",
    "fold",
    "from_label",
    "inverse",
    "join",
    "limiting_ratio",
    "linear",
    "log_time",
    "multi_step",
    "one_cycle",
    "param_groups",
    "piecewise",
    "plot",
    "polynomial",
    "power_law",
    "record",
    "replay",
    "rescale_to_budget",
    "scale_invariant_parameters",
    "shrinkage",
    "shuffle",
    "simulate",
    "staircase",
    "table_1",
    "tie",
    "times",
    "to_exponential_lr",
    "trapezoid",
    "two_phase",
    "u_shape",
    "warmup",
    "window",
]

EXPERIMENTAL = (
    "COUPLINGS",
    "ExponentialLR",
    "Recording",
    "Tie",
    "TwoStepAnnealing",
    "limiting_ratio",
    "plot",
    "shrinkage",
    "simulate",
)
