"""Sweeps: many configs of one experiment, on any number of processes and machines.

No cell twice, none lost: a queue in a database hands out the work, heartbeats tell who lives, and
each cell's own record tells what is done.
"""

from etalambda.lab.sweep.plan import Plan
from etalambda.lab.sweep.run import run_sweep
from etalambda.lab.sweep.space import Axis, Cell, parse_axis
from etalambda.lab.sweep.targets import TARGETS, Target

__all__ = ["TARGETS", "Axis", "Cell", "Plan", "Target", "parse_axis", "run_sweep"]
