"""What the decay clock is tried under: modular addition, and digits of which few are known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from etalambda.lab.engine import Trial
from etalambda.lab.engine.trials import Batches, Feed
from etalambda.lab.figures.parttwo._clock_runs import Condition, Setting
from etalambda.lab.models import MLP, Quadratic
from etalambda.lab.tasks import Digits, Modular
from etalambda.lab.tasks.passes import permutation


def squared_error(outputs: Tensor, targets: Tensor) -> Tensor:
    """Squared error on one-hot targets, summed over classes: (T, B, C) and (T, B) -> (T,).

    >>> squared_error(torch.zeros(2, 5, 10), torch.zeros(2, 5, dtype=torch.long))
    tensor([1., 1.])
    """
    wanted = torch.nn.functional.one_hot(targets, outputs.shape[-1]).to(outputs)
    return (outputs - wanted).square().sum(-1).mean(1)


@dataclass(frozen=True)
class Addition(Condition):
    """Modular addition: the base, or the base with one thing changed."""

    width: int = 128
    p: int = 31
    label_noise: float = 0.0
    batches: int = 1  # in one pass over the training half

    def setting(self, device: str) -> Setting:
        """The pairs mod p, and a quadratic network."""
        task = Modular(self.p, device)
        make = partial(Quadratic, self.p, self.width)
        return Setting(make, feed_of(task, self), task.pairs, task.accuracy)


CONDITIONS: dict[str, Condition] = {
    "base": Addition(),
    "lr 1e-3": Addition(lr=1e-3, steps=13200),
    "lr 1e-2": Addition(lr=1e-2, steps=3300),
    "AdamS": Addition(optimizer="adams", top=1e-4, steps=3000),
    "SGD": Addition(optimizer="sgd", hyper=dict(momentum=0.9), lr=0.5, top=2e-3),
    "width 64": Addition(width=64),
    "width 256": Addition(width=256),
    "p 23": Addition(p=23),
    "p 43": Addition(p=43),
    "squared error": Addition(loss=squared_error),
    "10 % wrong labels": Addition(label_noise=0.1),
    "half batches": Addition(batches=2),
}


def feed_of(task: Modular, condition: Addition) -> Batches:
    """The condition's batches: labels made wrong by the trial's seed, parts of a pass by step."""

    def batches(trials: Sequence[Trial]) -> Feed:
        pairs, sums = task.batches(trials)(0)
        seeds = [trial.seed for trial in trials]
        sums = sums + torch.stack(
            [_shift(seed, sums.shape[1], task.p, condition.label_noise) for seed in seeds]
        ).to(sums)
        sums %= task.p
        if condition.batches == 1:
            return lambda step: (pairs, sums)
        return lambda step: _part(pairs, sums, seeds, step, condition.batches)

    return batches


def _shift(seed: int, count: int, p: int, share: float) -> Tensor:
    """What to add to each label mod p: 1 to p - 1 for a share of them, else 0."""
    random = torch.Generator().manual_seed(10_000 + seed)
    wrong = torch.randperm(count, generator=random) < round(share * count)
    return wrong * torch.randint(1, p, (count,), generator=random)


def _part(
    pairs: Tensor, sums: Tensor, seeds: Sequence[int], step: int, parts: int
) -> tuple[Tensor, Tensor]:
    """One of the parts of a pass, in an order that the seed and the pass draw."""
    turn, part = divmod(step, parts)
    count = sums.shape[1]
    size = count // parts
    orders = {
        seed: torch.randperm(count, generator=torch.Generator().manual_seed(seed + 1000 * turn))
        for seed in dict.fromkeys(seeds)
    }
    rows = torch.stack([orders[seed][part * size : (part + 1) * size] for seed in seeds])
    rows = rows.to(sums.device)
    return pairs.gather(1, rows[..., None].expand(-1, -1, 2)), sums.gather(1, rows)


@dataclass(frozen=True)
class FewDigits(Condition):
    """Digits of which ``images`` train and the others test, from weights ``scale`` times as large.

    Large weights fit a few images without knowing the others; decay brings them back (Liu et al.
    2022, "Omnigrok"). At their usual size these networks generalize as they fit, whatever λ.
    """

    images: int = 200
    scale: float = 6.0

    def setting(self, device: str) -> Setting:
        """Which images train, the seed decides; every step sees all of them."""
        task = Digits(label_noise=0.0, device=device)
        x, y = (torch.cat(list(part.values())) for part in (task.x, task.y))

        def rows(seeds: Sequence[int]) -> Tensor:
            each = [permutation(len(x), seed, -1)[: self.images] for seed in seeds]
            return torch.stack(each).to(x.device)

        def batches(trials: Sequence[Trial]) -> Feed:
            chosen = rows([trial.seed for trial in trials])
            batch = x[chosen], y[chosen]
            return lambda step: batch

        def accuracy(outputs: Tensor, seeds: Sequence[int]) -> tuple[Tensor, Tensor]:
            right = (outputs.argmax(-1) == y).double()
            known = torch.zeros_like(right).scatter_(1, rows(seeds), 1.0)
            shares = ((right * part).sum(1) / part.sum(1) for part in (known, 1 - known))
            train, test = (share.cpu() for share in shares)
            return train, test

        return Setting(self._network, batches, x, accuracy)

    def _network(self) -> MLP:
        net = MLP((64, 64, 64, 10))
        with torch.no_grad():
            for p in net.parameters():
                p.mul_(self.scale)
        return net
