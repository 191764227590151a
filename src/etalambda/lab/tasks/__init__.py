"""Tasks: data that need no download, split and ordered by seeds."""

from etalambda.lab.tasks.digits import Digits
from etalambda.lab.tasks.modular import Modular

__all__ = ["Digits", "Modular"]
