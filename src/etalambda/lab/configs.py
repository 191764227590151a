"""What an experiment is told: plain frozen dataclasses, the same for Python, flags and records.

A field is a flag of the command (``lr`` is ``--lr``), its docstring the flag's help, and its value
a line of the run's ``config.toml``. An experiment is ``run(config, run, progress)``: the config, an
open record (`records.Run`) and a callback ``progress(done, total, text)``. Where a run is kept is
no part of it: two folders with one config hold the same result.

Nothing here imports torch, so ``etalambda map --help`` answers at once. The names that a field may
take are listed here for the same reason; a test compares them with the lab's own tables.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

from tyro.conf import Positional, arg
from tyro.constructors import PrimitiveConstructorSpec

from etalambda._common import check_nonnegative, check_positive, unknown

TASKS = ("digits",)
MODELS = ("mlp", "cnn", "resnet")
OPTIMIZERS = ("sgd", "sgdw", "sgds", "adam", "adamw", "adams")


def parse_grid(text: str) -> tuple[float, ...]:
    """A grid from ``low:high:count`` (equal steps on a log scale) or ``a,b,c``.

    Raises:
        ValueError: If the text is neither, or a log grid touches 0.

    >>> parse_grid("0.01:1:3")
    (0.01, 0.1, 1.0)
    >>> parse_grid("0,0.5")
    (0.0, 0.5)
    """
    form = "write low:high:count (log-spaced, as in 1e-3:1:12) or a comma list (0,1e-3,1e-2)"
    try:
        if ":" not in text:
            return tuple(float(part) for part in text.split(","))
        low, high, count = text.split(":")
        return log_grid(float(low), float(high), int(count))
    except ValueError as error:
        raise ValueError(f"{text!r} is no grid ({error}); {form}") from None


def log_grid(low: float, high: float, count: int) -> tuple[float, ...]:
    """``count`` values from ``low`` to ``high``, equal ratios, rounded to 4 digits.

    >>> log_grid(0.1, 10, 3)
    (0.1, 1.0, 10.0)
    """
    check_positive(low=low, high=high)
    if count < 1:
        raise ValueError(f"count must be at least 1, got {count}")
    ratio = math.log(high / low) / max(count - 1, 1)
    return tuple(float(f"{low * math.exp(i * ratio):.4g}") for i in range(count))


_GRID = PrimitiveConstructorSpec(
    nargs=1,
    metavar="LOW:HIGH:COUNT|A,B,..",
    instance_from_str=lambda words: parse_grid(words[0]),
    is_instance=lambda value: isinstance(value, tuple),
    str_from_instance=lambda grid: [",".join(f"{value:g}" for value in grid)],
)
Grid = Annotated[tuple[float, ...], _GRID]
MAP_LRS = log_grid(0.01, 1, 12)
MAP_WEIGHT_DECAYS = log_grid(1e-4, 0.3, 12)
COMPARE_WEIGHT_DECAYS = log_grid(1e-3, 0.1, 5)


def check_counts(**values: int) -> None:
    """Raise a ValueError that names the first count below 1.

    >>> check_counts(seeds=3, steps=0)
    Traceback (most recent call last):
    ValueError: steps must be at least 1, got 0
    """
    for name, value in values.items():
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")


def check_known(kind: str, name: str, known: tuple[str, ...]) -> None:
    """Raise the error that lists the known names and the nearest one.

    >>> check_known("optimizer", "adamz", OPTIMIZERS)
    Traceback (most recent call last):
    ValueError: unknown optimizer 'adamz'; did you mean 'adam'?...
    """
    if name not in known:
        raise unknown(kind, name, known)


@dataclass(frozen=True)
class ClockConfig:
    """The decay clock: one network, many weight-decay plans, one budget K = Σ lr · weight_decay.

    Task ``modular``: predict (a + b) mod p from two one-hot inputs, half of all pairs for
    training. The training half is fitted within about 100 steps whatever the plan; the other
    half follows once K has reached about 2.

    >>> config = ClockConfig(optimizer="sgdw", steps=500)
    >>> config.p, config.width  # what is not said is the command's default
    (31, 128)
    """

    seeds: int = 5
    """How many networks a plan; each seed draws its own weights and its own half of the pairs."""
    steps: int = 3500
    """Full-batch steps of the plans."""
    p: int = 31
    """The modulus, 5 to 97. The budget that is needed depends on it."""
    lr: float = 3e-3
    """Peak learning rate. At 1e-2 and above the clock stops being one, and the page says so."""
    optimizer: str = "adamw"
    """Who takes the steps: sgd, sgdw, sgds, adam, adamw or adams."""
    width: int = 128
    """Hidden width of z = W2 (W1 x)²."""
    every: int = 25
    """Steps between two measurements of accuracy."""
    device: str = "cpu"
    """torch device of the networks, as in cpu or cuda:0."""

    def __post_init__(self) -> None:
        counts = dict(seeds=self.seeds, steps=self.steps, width=self.width, every=self.every)
        check_counts(**counts)
        check_positive(lr=self.lr)
        check_known("optimizer", self.optimizer, OPTIMIZERS)
        if not 5 <= self.p <= 97:
            raise ValueError(f"p must lie between 5 and 97, got {self.p}")


@dataclass(frozen=True)
class DigitsConfig:
    """What map and compare share: the task, the network and how long it is trained.

    >>> DigitsConfig(label_noise=1.5)
    Traceback (most recent call last):
    ValueError: label_noise must lie in [0, 1), got 1.5
    """

    task: Positional[str] = "digits"
    """The task: digits (1797 real images; 600 train, 400 validate, 797 test)."""
    model: Annotated[str, arg(metavar="{mlp,cnn,resnet}")] = "mlp"
    """The network: mlp, cnn or resnet (both small, with BatchNorm)."""
    epochs: int = 40
    """Passes over the training images."""
    batch_size: int = 50
    """Images a step."""
    label_noise: float = 0.2
    """Share of the training labels that are wrong, drawn once. Validation and test stay clean."""
    device: str = "cpu"
    """torch device of the networks, as in cpu or cuda:0."""

    def __post_init__(self) -> None:
        check_known("task", self.task, TASKS)
        check_known("model", self.model, MODELS)
        check_counts(epochs=self.epochs, batch_size=self.batch_size)
        if not 0 <= self.label_noise < 1:
            raise ValueError(f"label_noise must lie in [0, 1), got {self.label_noise}")


@dataclass(frozen=True)
class MapConfig(DigitsConfig):
    """The lr x weight_decay map: one network a cell and seed, all trained together.

    >>> config = MapConfig(lrs=parse_grid("0.01:1:3"), weight_decays=(0.0, 1e-3), seeds=2)
    >>> len(config.lrs) * len(config.weight_decays) * config.seeds  # networks of the map
    12
    """

    optimizer: str = "sgd"
    """Who takes the steps: sgd, sgdw, sgds, adam, adamw or adams."""
    lrs: Grid = MAP_LRS
    """Learning rates, one row each."""
    weight_decays: Grid = MAP_WEIGHT_DECAYS
    """Weight decays, one column each."""
    seeds: int = 3
    """Networks a cell."""
    lengths: tuple[int, ...] = (10, 40, 160)
    """Epochs of the second panel: error against λ and against K at the map's best lr."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_known("optimizer", self.optimizer, OPTIMIZERS)
        check_counts(seeds=self.seeds, **{f"lengths[{i}]": n for i, n in enumerate(self.lengths)})
        check_positive(**{f"lrs[{i}]": lr for i, lr in enumerate(self.lrs)})
        check_nonnegative(**{f"weight_decays[{i}]": w for i, w in enumerate(self.weight_decays)})


@dataclass(frozen=True)
class CompareConfig(DigitsConfig):
    """Ways of scheduling weight decay at one lr, each with its own λ from one grid, equal K.

    >>> from dataclasses import replace
    >>> config = CompareConfig(lr=0.05, seeds=4)
    >>> replace(config, model="cnn").lr
    0.05
    """

    lr: float = 0.1
    """Learning rate of the SGD family. The command takes the map's best when there is one."""
    adam_lr: float = 1e-3
    """Learning rate of AdamW and AdamS."""
    weight_decays: Grid = COMPARE_WEIGHT_DECAYS
    """The grid on which each method's λ is chosen, by validation error."""
    seeds: int = 8
    """Paired seeds of the report; they are not the seeds that choose λ."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_counts(seeds=self.seeds)
        check_positive(lr=self.lr, adam_lr=self.adam_lr)
        check_nonnegative(**{f"weight_decays[{i}]": w for i, w in enumerate(self.weight_decays)})
