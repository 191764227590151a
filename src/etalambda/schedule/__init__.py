"""The schedule room: weight decay over time, and over which tensors."""

from etalambda.schedule.groups import MuonSplit, ParamGroups, param_groups

__all__ = ["MuonSplit", "ParamGroups", "param_groups"]

EXPERIMENTAL = ()
