"""Scale-invariant networks that train by the hundred: f(cW) = f(W) for all they train (LLA-D1).

Every trained matrix feeds a normalization without gain and shift, and the last layer is fixed: a
constant of the network's shape, the same for every seed. `watch` trains any number of them, each
with its own lr, λ, schedules and seed, and tells what li2020's figures show of each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from etalambda.lab.engine import Loss, Snapshot, Trial
from etalambda.lab.engine.many import Many
from etalambda.lab.engine.pool import Tick
from etalambda.lab.engine.training import cross_entropy
from etalambda.lab.experiments.parts import Tables
from etalambda.lab.models import zoo
from etalambda.lab.models.stacked import Stacked
from etalambda.lab.reproduce.figure import Bench, Recipe
from etalambda.lab.reproduce.pictures import PictureSet
from etalambda.lab.tasks.digits import Digits

CLASSES = 10


@dataclass(frozen=True, kw_only=True)
class OnDigits(Recipe):
    """What recipes share: seeds, the digits, their wrong labels, and the hidden widths.

    With ``data`` and ``zoo`` it is a published picture set and a network of the papers, made scale
    invariant, in place of digits and `BatchNormMLP`; a look evaluates ``looks`` of either part.
    ``together``: seeds a part.
    """

    seeds: int
    hidden: tuple[int, ...] = (32, 32)
    label_noise: float = 0.2
    batch_size: int = 50
    norm: str = "batch"
    data: str = ""
    zoo: str = ""
    together: int = 10
    looks: int = 2000

    def task(self, bench: Bench) -> Any:
        """The digits, or the picture set, on the bench's device."""
        if not self.data:
            return Digits(self.label_noise, self.batch_size, bench.device)
        how = dict(batch_size=self.batch_size, looks=self.looks, device=bench.device)
        return PictureSet(self.data, bench.data, **how)

    def net(self) -> nn.Module:
        """One network, drawn from torch's random state."""
        if self.zoo:
            return zoo.make(self.zoo, scale_invariant=True)
        kinds = {"batch": BatchNormMLP, "group": GroupNormMLP}
        return kinds[self.norm]((64, *self.hidden))


class BatchNormMLP(nn.Module):
    """Linear maps, each followed by BatchNorm and ReLU, and a fixed last layer to 10 classes.

    A unit is normalized over the batch, at test time over all that is asked at once.

    Args:
        widths: Sizes of the input and of every hidden layer.

    Shape:
        ``x`` (B, widths[0]) gives (B, 10).

    Example:
        >>> net = BatchNormMLP((64, 32))
        >>> x = torch.randn(5, 64)
        >>> before = net(x)
        >>> for p in net.parameters():
        ...     p.data *= 10
        >>> bool(torch.allclose(net(x), before, atol=1e-5))
        True
    """

    over = -2  # the dimension that is normalized over: pictures

    def __init__(self, widths: tuple[int, ...] = (64, 64, 64)) -> None:
        super().__init__()
        self.layers = nn.ParameterList(
            torch.randn(b, a) * (2 / a) ** 0.5 for a, b in pairwise(widths)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Logits of the inputs."""
        return self.logits(list(self.layers), x)

    @classmethod
    def logits(cls, weights: Sequence[Tensor], x: Tensor) -> Tensor:
        """The same of one network or, with a dimension before all others, of many."""
        for weight in weights:
            x = normalized(x @ weight.mT, cls.over).relu()
        return x @ fixed_head(x.shape[-1]).to(x)

    @classmethod
    def stacked(cls, params: Mapping[str, Tensor], x: Tensor) -> Tensor:
        """(T, B, inputs) -> (T, B, 10), every parameter (T, ...)."""
        return cls.logits(list(params.values()), x)


class GroupNormMLP(BatchNormMLP):
    """The same with GroupNorm of one group: a picture is normalized over its units."""

    over = -1


def normalized(x: Tensor, over: int) -> Tensor:
    """Mean 0 and variance 1 along a dimension; no ε, but a constant stays 0."""
    x = x - x.mean(over, keepdim=True)
    return x * x.square().mean(over, keepdim=True).clamp_min(1e-30).rsqrt()


@cache
def fixed_head(width: int) -> Tensor:
    """The last layer: 10 orthogonal columns of norm √10, drawn once from seed 0, float64.

    >>> head = fixed_head(32)
    >>> torch.allclose(head.T @ head, 10 * torch.eye(10).double())
    True
    """
    made = torch.Generator().manual_seed(0)
    random = torch.randn(width, CLASSES, generator=made, dtype=torch.float64)
    return torch.linalg.qr(random)[0] * CLASSES**0.5


def dead(make: Callable[[], nn.Module], alive: int = 2) -> Callable[[], nn.Module]:
    """The pathological start of li2020 5.2: all but ``alive`` units of each layer are dead.

    A unit whose incoming weights are 0 is 0 after normalization, and ReLU passes no gradient there.
    """

    def made() -> nn.Module:
        net = make()
        for weight in net.parameters():
            if weight.requires_grad:
                weight.data[alive:] = 0
        return net

    return made


class Arm(NamedTuple):
    """One way of training: its name and its trials, one a seed."""

    name: str
    trials: Sequence[Trial]


class Look(NamedTuple):
    """All trials at one step: the engine's snapshot, and the networks as they are."""

    seen: Snapshot
    nets: Stacked


def steps_of(
    make: Callable[[], nn.Module],
    task: Any,
    trials: Sequence[Trial],
    *,
    steps: int,
    every: int,
    tick: Tick,
    optimizer: str = "sgd",
    loss: Loss = cross_entropy,
    **hyper: Any,
) -> Iterator[Look]:
    """Train all trials together; what there is to see every ``every`` steps, first and last."""
    device = task.y["train"].device
    nets = Stacked.build(make, [trial.seed for trial in trials], device=device)
    feed = task.batches(trials)
    many = Many(nets, trials, feed, loss, optimizer, steps, **hyper)
    for seen in many.run(every):
        tick(seen.step / steps)
        yield Look(seen, many.nets)


def watch(
    make: Callable[[], nn.Module], task: Any, arms: Sequence[Arm], **run: Any
) -> dict[str, np.ndarray]:
    """Curves of all arms as columns: arm, seed, step, lr, weight_decay, norm, errors, loss.

    ``effective_lr`` is lr / ‖W‖². Errors are shares; a diverged network has none.
    """
    trials = [trial for arm in arms for trial in arm.trials]
    names = np.repeat([arm.name for arm in arms], [len(arm.trials) for arm in arms]).astype(object)
    seeds = np.array([trial.seed for trial in trials])
    looks = steps_of(make, task, trials, **run)
    rows = [dict(arm=names, seed=seeds) | curves(look, task) for look in looks]
    return {key: np.concatenate([row[key] for row in rows]) for key in rows[0]}


def parts(
    recipe: OnDigits, bench: Bench, arms: Callable[[Iterable[int]], Sequence[Arm]], **run: Any
) -> dict[str, Callable[[Tick], Tables]]:
    """Jobs that `watch` the arms of some seeds each; their table is ``curves``.

    Args:
        recipe: Seeds, task and network.
        bench: The bench.
        arms: Seeds -> the arms with those seeds.
        run: ``steps``, ``every``, ``optimizer`` and what it takes.
    """

    def job(seeds: range) -> Callable[[Tick], Tables]:
        def watched(tick: Tick) -> Tables:
            task = recipe.task(bench)
            return {"curves": watch(recipe.net, task, arms(seeds), tick=tick, **run)}

        return watched

    starts = range(0, recipe.seeds, recipe.together)
    groups = [range(start, min(start + recipe.together, recipe.seeds)) for start in starts]
    return {f"seeds={group.start}": job(group) for group in groups}


def curves(look: Look, task: Any) -> dict[str, np.ndarray]:
    """What a figure shows of every trial at one step."""
    seen = look.seen
    lr, norm = seen.lr.numpy(), seen.norm.numpy()
    row = dict(
        step=np.full(len(lr), seen.step),
        lr=lr,
        weight_decay=seen.weight_decay.numpy(),
        norm=norm,
        effective_lr=lr / norm**2,
    )
    for part in ("train", "test"):
        outputs, labels = answers(look, task.x[part]), task.y[part]
        wrong = (outputs.argmax(-1) != labels).double().mean(-1).cpu().numpy()
        row[f"{part}_error"] = np.where(seen.alive.numpy(), wrong, np.nan)
        if part == "train":
            losses = cross_entropy(outputs, labels.expand(len(lr), -1))
            row["train_loss"] = losses.double().cpu().numpy()
    return row


def one_a_seed(
    seeds: Iterable[int], lr: float, weight_decay: float, rules: Mapping[str, Any] | None = None
) -> list[Trial]:
    """A trial for each seed: base values, and the rules of ``lr`` and ``weight_decay``."""
    return [Trial(seed, lr, weight_decay, rules=rules or {}) for seed in seeds]


def classes_at(look: Look, task: Any, part: str = "test") -> np.ndarray:
    """The predicted class of every trial and input, (T, N) int8."""
    return answers(look, task.x[part]).argmax(-1).cpu().numpy().astype(np.int8)


AT_ONCE = 4_000_000  # numbers of a picture set that all networks together are shown at once


def answers(look: Look, x: Tensor) -> Tensor:
    """Outputs of all trials, (T, N, 10); pictures in pieces that fit the memory.

    Rows of numbers go at once: they are few, and BatchNorm without running statistics needs them.
    """
    if x.dim() == 2:
        return look.seen.predict(x)
    size = max(1, AT_ONCE // (len(look.seen.trials) * x[0].numel()))
    return torch.cat([look.seen.predict(piece) for piece in x.split(size)], 1)
