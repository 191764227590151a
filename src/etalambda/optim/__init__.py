"""Optimizers with stable weight decay, decay as a hook, and weights kept on a sphere.

`functional` holds one pure update rule per algorithm; the classes hold buffers and settings.
"""

from etalambda.optim import functional
from etalambda.optim.adai import Adai, AdaiS
from etalambda.optim.adams import AdamS
from etalambda.optim.convert import equivalent_weight_decay
from etalambda.optim.hooks import DecayHook, WeightHook
from etalambda.optim.hyperball import hyperball
from etalambda.optim.lazy_sphere import LazySphere, lazy_sphere
from etalambda.optim.noise import weight_noise
from etalambda.optim.norm_control import constrained_decay, target_norm_decay
from etalambda.optim.sgds import SGDS, SGDW
from etalambda.optim.sphere import SphereHandle, keep_on_sphere, project_, sphere_lr
from etalambda.optim.stable import cautious_decay, l1_decay, stable_decay

AdamSWD = AdamS
"""`AdamS` under an unambiguous name: arXiv 2505.16363 calls another optimizer AdamS."""

__all__ = [
    "SGDS",
    "SGDW",
    "Adai",
    "AdaiS",
    "AdamS",
    "AdamSWD",
    "DecayHook",
    "LazySphere",
    "SphereHandle",
    "WeightHook",
    "cautious_decay",
    "constrained_decay",
    "equivalent_weight_decay",
    "functional",
    "hyperball",
    "keep_on_sphere",
    "l1_decay",
    "lazy_sphere",
    "project_",
    "sphere_lr",
    "stable_decay",
    "target_norm_decay",
    "weight_noise",
]
EXPERIMENTAL: frozenset[str] = frozenset(
    {"DecayHook", "LazySphere", "SphereHandle", "WeightHook", "functional"}
)
