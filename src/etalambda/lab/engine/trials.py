"""What is trained: one `Trial` a network, and what is seen of them on the way: a `Snapshot`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from etalambda._common import check_nonnegative, check_positive, unknown
from etalambda.schedule.rule import Rule, check_rule

ENTRIES = ("lr", "weight_decay")
TWO_STEPS = ("literal", "abs", "relative", "twice")


@dataclass(frozen=True)
class Trial:
    """One network's training: its seed, its lr and weight_decay, and their schedules.

    Args:
        seed: Of the weights and of the data order; equal seeds make paired trials.
        lr: Base learning rate.
        weight_decay: Base weight decay, torch's λ.
        rules: ``{"lr": rule, "weight_decay": rule}``, rules of `etalambda.schedule`, and one for
            any name in ``decays``; a rule with memory gets a state of its own.
        decays: Base weight decay of tensors that do not take ``weight_decay``, by the names that
            `train`'s ``classes`` gives them; a name that is missing here is 0.
        sphere: If given, every tensor of two or more dimensions is kept, after each step, at this
            multiple of its initial norm.
        joint: All tensors share one sphere instead, biases included, as the paper prints it.
        two_step: If given, the variant of the second (M) step of Richemond & Guo's Algorithm 3:
            ``literal``, ``abs``, ``relative`` or ``twice``.

    Raises:
        ValueError: For an lr or sphere that is not above 0, a negative weight decay, an unknown
            entry or variant, a joint sphere without its multiple, a class of tensors named as an
            entry.

    Example:
        >>> from dataclasses import replace
        >>> from etalambda.schedule import linear
        >>> constant = Trial(seed=0, lr=0.1, weight_decay=5e-4)
        >>> falling = replace(constant, rules={"weight_decay": linear(1000)})  # a pair
        >>> falling.weight_decay * falling.rules["weight_decay"](500)
        0.00025
    """

    seed: int
    lr: float
    weight_decay: float = 0.0
    rules: Mapping[str, Rule] = field(default_factory=dict)
    sphere: float | None = None
    joint: bool = False
    two_step: str | None = None
    decays: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_positive(lr=self.lr)
        check_nonnegative(weight_decay=self.weight_decay)
        if taken := set(ENTRIES) & set(self.decays):
            raise ValueError(
                f"decays names {sorted(taken)}, which the trial has already; give those tensors "
                "another class"
            )
        check_nonnegative(**{f"decays[{name!r}]": each for name, each in self.decays.items()})
        for entry, rule in self.rules.items():
            if entry not in (*ENTRIES, *self.decays):
                raise unknown("entry", entry, (*ENTRIES, *self.decays))
            check_rule(entry, rule)
        if self.sphere is not None:
            check_positive(sphere=self.sphere)
        elif self.joint:
            raise ValueError("joint=True needs sphere, the multiple of the initial joint norm")
        if self.two_step not in (None, *TWO_STEPS):
            raise unknown("two_step", self.two_step, TWO_STEPS)

    def base(self, entry: str) -> float:
        """What the rule of an entry multiplies: the lr, or the weight decay of a class."""
        return self.decays.get(entry, 0.0) if entry not in ENTRIES else getattr(self, entry)


@dataclass(frozen=True)
class Snapshot:
    """T trials after ``step`` updates; every tensor here is (T,) and on the CPU.

    ``lr`` and ``weight_decay`` are those of the next step, ``K`` the decay spent so far on the
    tensors that take ``weight_decay`` (Σ lr · weight_decay · gain of the optimizer, times the share
    that a mask decays), ``loss`` the last training loss and ``gradient_norm`` ‖∇‖ of those tensors
    at the last step (NaN at step 0), ``norm`` ‖θ‖ over all parameters, ``alive`` False where the
    loss has stopped being finite: such a trial is frozen. ``predict`` gives the outputs, without
    dropout and with BatchNorm's running statistics: (N, ...), the same for all trials ->
    (T, N, ...); call it before asking for the next snapshot, it reads the weights of the moment.

    >>> from etalambda.lab.engine import train
    >>> from etalambda.lab.models import MLP
    >>> from etalambda.lab.tasks import Digits
    >>> task = Digits()
    >>> trials = [Trial(seed=0, lr=0.1, weight_decay=w) for w in (0.0, 0.5)]
    >>> start, end = train(MLP, task.batches, trials, optimizer="sgd", steps=20, every=20)
    >>> end.step, end.K  # 20 · lr · weight_decay
    (20, tensor([0.0000, 1.0000], dtype=torch.float64))
    >>> bool(end.norm[1] < end.norm[0]), end.predict(task.x["val"]).argmax(-1).shape
    (True, torch.Size([2, 400]))
    """

    trials: Sequence[Trial]
    step: int
    lr: Tensor
    weight_decay: Tensor
    K: Tensor
    loss: Tensor
    norm: Tensor
    gradient_norm: Tensor
    alive: Tensor
    predict: Callable[[Tensor], Tensor]


Feed = Callable[[int], tuple[Tensor, Tensor]]
"""Step -> inputs (T, B, ...) and targets (T, B, ...) of that step."""

Batches = Callable[[Sequence[Trial]], Feed]
"""The feed of a list of trials: every trial's data depend on its seed only."""

Classes = Callable[[str, Tensor], str]
"""Name and tensor of a parameter -> whose weight decay it takes: a trial's ``weight_decay``, or
that of a name in the trial's ``decays``."""


def everything(name: str, tensor: Tensor) -> str:
    """All tensors take the trial's ``weight_decay``.

    >>> import torch
    >>> everything("gain", torch.ones(3))
    'weight_decay'
    """
    return "weight_decay"


def matrices(name: str, tensor: Tensor) -> str:
    """Biases, gains and other tensors of one dimension do not decay.

    >>> import torch
    >>> matrices("gain", torch.ones(3)), matrices("weight", torch.ones(3, 3))
    ('exempt', 'weight_decay')
    """
    return "weight_decay" if tensor.dim() > 1 else "exempt"


Loss = Callable[[Tensor, Tensor], Tensor]
"""Outputs (T, B, ...) and targets (T, B, ...) -> one loss a trial, (T,)."""
