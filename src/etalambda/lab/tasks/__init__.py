"""Tasks: data that need no download, split and ordered by seeds."""

from etalambda.lab.tasks.digits import Digits
from etalambda.lab.tasks.modular import Modular
from etalambda.lab.tasks.passes import Passes

__all__ = ["Digits", "Modular", "Passes"]
