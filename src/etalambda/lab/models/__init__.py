"""Networks of the lab, and many of one shape as one."""

from etalambda.lab.models.nets import MLP, MODELS, Quadratic, SmallCNN, SmallResNet
from etalambda.lab.models.stacked import Stacked

__all__ = ["MLP", "MODELS", "Quadratic", "SmallCNN", "SmallResNet", "Stacked"]
