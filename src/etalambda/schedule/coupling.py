"""How weight decay follows the learning rate: factors on torch's ``weight_decay``, by name.

The optimizer multiplies by η itself (θ ← θ - η w θ), so a factor f makes one step's decay η f w.

    name                f                                             decay of a step
    decoupled           1                                             η w
    independent         1/η_max                                       w η/η_max
    matched             η/η_max                                       w η²/η_max
    palm                η                                             w η²
    constant_product    η_max/η                                       w η_max
    inverse             a + (1 - a)(1 - η/η_max)/(1 - η_min/η_max)    rises as η falls

``matched`` is dε/ε = dλ/λ of Richemond & Guo 2019, eq. (17), with the learning rate for ε; the
same rule is AdamC's (Defazio 2025). ``independent`` is Loshchilov & Hutter's 2019 form,
``constant_product`` Hanson & Pratt's 1988 decay, which the learning rate does not touch.

η_max is declared, one number a group, never a running maximum: in a warm-up the coupling holds
from the first step on. It is the ``peak_lr`` that is given, else what torch's schedulers declare.

Departures from the paper: at η = 0 ``constant_product`` is 0; a step without η cannot decay.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from etalambda._common import check_nonnegative, check_positive, unknown
from etalambda.schedule.rule import Readable

Coupling = Callable[[Any, float], Any]
"""(η, η_max) -> factor; η may be a 0-d tensor, and then so is the factor."""


def decoupled(lr: Any, peak_lr: float) -> float:
    """1: torch's AdamW."""
    return 1.0


def independent(lr: Any, peak_lr: float) -> float:
    """1/η_max: the decay of a step is w at the peak, and follows the shape of the schedule."""
    return 1.0 / peak_lr


def matched(lr: Any, peak_lr: float) -> Any:
    """η/η_max: AdamC, and Richemond & Guo 2019, eq. (17), with ε := η."""
    return lr / peak_lr


def palm(lr: Any, peak_lr: float) -> Any:
    """η: the decay of a step is w η², as PaLM has it."""
    return lr


def constant_product(lr: Any, peak_lr: float) -> Any:
    """η_max/η: ηλ stays at its peak value; Hanson & Pratt 1988. 0 at η = 0."""
    if isinstance(lr, Tensor):
        return (peak_lr / lr).nan_to_num(posinf=0.0)
    return peak_lr / lr if lr else 0.0


@dataclass(frozen=True, repr=False)
class inverse(Readable):
    """floor + (1 - floor)(1 - η/η_max)/(1 - η_min/η_max): decay rises as the lr falls.

    Args:
        floor: The factor at the peak.
        lr_floor: η_min/η_max, where the factor reaches 1.

    Example:
        >>> inverse()(0.1, 0.1), inverse()(0.0, 0.1)
        (0.7, 1.0)
    """

    floor: float = 0.7
    lr_floor: float = 0.0

    def __post_init__(self) -> None:
        check_nonnegative(floor=self.floor, lr_floor=self.lr_floor)
        if self.lr_floor >= 1:
            raise ValueError(f"lr_floor={self.lr_floor} is a share of the peak and must be below 1")

    def __call__(self, lr: Any, peak_lr: float) -> Any:
        return self.floor + (1 - self.floor) * (1 - lr / peak_lr) / (1 - self.lr_floor)


COUPLINGS: dict[str, Coupling] = {
    "decoupled": decoupled,
    "independent": independent,
    "matched": matched,
    "palm": palm,
    "inverse": inverse(),
    "constant_product": constant_product,
}


def find_coupling(coupling: str | Coupling) -> Coupling:
    """A coupling by name, or the function itself.

    Raises:
        ValueError: If the name is not known; the message lists the known ones.
        TypeError: If it is neither a name nor callable.
    """
    if isinstance(coupling, str):
        if coupling not in COUPLINGS:
            raise unknown("coupling", coupling, COUPLINGS)
        return COUPLINGS[coupling]
    if not callable(coupling) or isinstance(coupling, type):
        raise TypeError(f"coupling must be one of {list(COUPLINGS)} or a function, got {coupling}")
    return coupling


def check_peak(peak_lr: float) -> None:
    """Raise a ValueError if a peak is not a finite number above 0."""
    if not 0 < peak_lr < float("inf"):
        raise ValueError(
            f"the peak learning rate is {peak_lr}; couplings divide by it: pass peak_lr=, "
            "or build the schedule while the group's lr is at its peak"
        )


@dataclass(frozen=True, repr=False)
class CoupledToLR(Readable):
    """The factor (η/η_max)^power, for a `Scheduler`: power 1 is ``matched``, 0 no coupling.

    Reads ``lr`` at every tick, so step it after the learning rate's scheduler; `tie` does the same
    without anything to call.

    Args:
        power: The exponent.
        peak_lr: η_max; by default what the group declares.

    Raises:
        ValueError: If ``power`` is negative, or the peak is 0.

    Example:
        >>> from etalambda.schedule import fold
        >>> fold(CoupledToLR(power=2), [{"lr": 0.1}, {"lr": 0.2}, {"lr": 0.1}])
        [0.25, 1.0, 0.25]
    """

    power: float = 1.0
    peak_lr: float | None = None

    def __post_init__(self) -> None:
        check_nonnegative(power=self.power)
        if self.peak_lr is not None:
            check_positive(peak_lr=self.peak_lr)

    @property
    def reads(self) -> tuple[str, ...]:
        return ("lr", "peak_lr") if self.peak_lr is None else ("lr",)

    def init(self) -> tuple[()]:
        return ()

    def start(self, seen: Mapping[str, float]) -> float:
        """Coupled from the first step on: a warm-up is not an exception."""
        peak_lr = seen["peak_lr"] if self.peak_lr is None else self.peak_lr
        check_peak(peak_lr)
        return (seen["lr"] / peak_lr) ** self.power

    def update(self, state: tuple[()], seen: Mapping[str, float]) -> tuple[float, tuple[()]]:
        return self.start(seen), ()
