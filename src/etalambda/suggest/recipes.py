"""Published recipes on one scale, the decay budget K: what people who tuned it have spent.

Each row is computed from the recipe's published hyperparameters by `etalambda.theory.budget`.
``schedule_mean`` is the mean over the run of (lr factor x λ factor); where a recipe's schedule is a
formula it is computed here too, where it is only described it is a reading, and ``note`` says so.
"""

import math
from dataclasses import dataclass

from etalambda.theory import budget


def cosine_mean(end: float = 0.0) -> float:
    """The mean of half a cosine from 1 to ``end``.

    Example:
        >>> cosine_mean(0.1)
        0.55
    """
    return (1 + end) / 2


def steps_mean(*lengths: float, factor: float = 0.1) -> float:
    """The mean of a step schedule: ``factor`` once more after each of the given shares of the run.

    Example:
        >>> round(steps_mean(0.4, 0.4, 0.2), 3)
        0.442
    """
    return sum(share * factor**phase for phase, share in enumerate(lengths))


@dataclass(frozen=True)
class Recipe:
    """One published training run, as far as its weight decay is concerned."""

    name: str
    optimizer: str
    lr: float
    weight_decay: float
    steps: float
    passes: float
    schedule_mean: float
    source: str
    momentum: float = 0.0
    note: str = ""

    @property
    def rate(self) -> float:
        """r = ηλ · gain at the peak lr, per step."""
        rates = budget.decay_rates(
            self.lr, self.weight_decay, self.optimizer, momentum=self.momentum
        )
        return rates.item()

    @property
    def tau(self) -> float:
        """τ at the peak lr, in steps."""
        return 1 / self.rate

    @property
    def peak_budget(self) -> float:
        """K had the lr and λ stayed at their peak."""
        return self.rate * self.steps

    @property
    def budget(self) -> float:
        """K over the recipe's own schedule: what the ruler shows."""
        return self.peak_budget * self.schedule_mean


def _images(dataset_size: int, batch_size: int, epochs: int) -> int:
    return math.ceil(dataset_size / batch_size) * epochs


_CIFAR = _images(50_000, 128, 200)
_DROPS = steps_mean(0.4, 0.4, 0.2)
_NANOCHAT_MEAN = 0.45  # λ: half a cosine; lr: 1, then linear to 0 over the last half
_READ = "mean of the schedule read off its description"

RECIPES: tuple[Recipe, ...] = (
    Recipe("ResNet, CIFAR, SGD", "sgd", 0.1, 5e-4, _CIFAR, 200, _DROPS, "Xie et al. B.1", 0.9),
    Recipe("ResNet, CIFAR, AdamW", "adamw", 1e-3, 0.5, _CIFAR, 200, _DROPS, "Xie et al. B.1"),
    Recipe(
        "ResNet-50, ImageNet, SGD",
        "sgd",
        0.1,
        1e-4,
        _images(1_281_167, 256, 90),
        90,
        steps_mean(1 / 3, 1 / 3, 1 / 3),
        "Goyal et al. 2017",
        0.9,
    ),
    Recipe(
        "DeiT-S, ImageNet",
        "adamw",
        1e-3,
        0.05,
        _images(1_281_167, 1024, 300),
        300,
        cosine_mean(),
        "Touvron et al. 2021",
    ),
    Recipe("slowrun, 11 passes", "muon", 0.04, 1.3, 2098, 11, 0.64, "qlabs slowrun 1h", note=_READ),
    Recipe("Llama-2 7B", "adamw", 3e-4, 0.1, 500_000, 1, cosine_mean(0.1), "Touvron et al. 2023b"),
    Recipe("Llama-1 7B", "adamw", 3e-4, 0.1, 250_000, 1, cosine_mean(0.1), "Touvron et al. 2023a"),
    Recipe("nanochat d12", "muon", 0.02, 0.28, 2520, 1, _NANOCHAT_MEAN, "nanochat", note=_READ),
    Recipe("Track-3 Muon", "muon", 0.025, 0.05, 3250, 1, 0.57, "modded-nanogpt", note=_READ),
    Recipe(
        "modded-nanogpt, lr² rule",
        "adamw",
        0.023,
        1.2 * 0.023,
        1500,
        1,
        0.63,
        "modded-nanogpt f411b3d",
        note=_READ,
    ),
    Recipe("GPT-3 175B", "adamw", 6e-5, 0.1, 93_750, 1, cosine_mean(0.1), "Brown et al. 2020"),
    Recipe(
        "torch AdamW default, CIFAR",
        "adamw",
        1e-3,
        1e-2,
        _CIFAR,
        200,
        cosine_mean(),
        "torch's defaults, 200 epochs of 128",
    ),
)
"""The rows, as far as possible in falling K. None is an endorsement: the last one decays little."""


def power_lines_timescale(tokens_per_parameter: float) -> float:
    """τ/T at the optimum of one-pass language models, as a function of tokens per parameter.

    Bergsma et al. 2025 (Power Lines): τ/T = 1.084 · TPP^(-0.527), fitted on models of 111M to 3.3B.
    The exponent is published; the constant 1.084 is quoted from memory and not verified here.

    Example:
        >>> [round(power_lines_timescale(tpp), 2) for tpp in (5, 20, 100)]
        [0.46, 0.22, 0.1]
    """
    return 1.084 * tokens_per_parameter**-0.527
