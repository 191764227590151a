"""Rows of a data set in shuffled batches, seen once or again and again.

One pass over all rows and ten passes over a tenth of them are the same number of steps; how often
a row comes back is what differs. Which share a network sees, and in which order, its seed decides.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from etalambda.lab.engine.trials import Feed, Trial

Order = Callable[[int, int], Tensor]
"""Seed and epoch -> the rows of that epoch, in order: (rows,) of integers on the CPU."""


def shuffled(
    x: Tensor,
    y: Tensor,
    trials: Sequence[Trial],
    batch_size: int,
    steps_per_epoch: int,
    order: Order,
) -> Feed:
    """Batches of rows of ``x`` and ``y``, one stream a seed; equal seeds share their batches."""
    seeds = list(dict.fromkeys(trial.seed for trial in trials))
    row = {seed: i for i, seed in enumerate(seeds)}
    rows = torch.tensor([row[trial.seed] for trial in trials], device=x.device)
    orders: dict[int, Tensor] = {}  # the present epoch's, (seeds, rows)

    def feed(step: int) -> tuple[Tensor, Tensor]:
        epoch, batch = divmod(step, steps_per_epoch)
        if epoch not in orders:
            orders.clear()
            orders[epoch] = torch.stack([order(seed, epoch) for seed in seeds]).to(x.device)
        chosen = orders[epoch][:, batch * batch_size : (batch + 1) * batch_size]
        if len(seeds) == 1:  # a view: the networks read one batch
            inputs, targets = x[chosen], y[chosen]
            shapes = [(len(trials), *part.shape[1:]) for part in (inputs, targets)]
            return inputs.expand(shapes[0]), targets.expand(shapes[1])
        return x[chosen[rows]], y[chosen[rows]]

    return feed


def permutation(rows: int, seed: int, epoch: int) -> Tensor:
    """The order of ``rows`` rows in one epoch of one seed."""
    mixed = torch.Generator().manual_seed((seed * 1_000_003 + epoch) % 2**63)
    return torch.randperm(rows, generator=mixed)


class Passes:
    """A share of the rows, seen ``passes`` times.

    Args:
        x: Inputs, (N, ...), on the device of the training.
        y: Targets, (N, ...).
        passes: 1 sees every row once; p sees N/p rows p times, in as many steps. Which rows, the
            seed decides.
        batch_size: Rows a step; rows that do not fill a batch are left out.

    Attributes:
        steps: Of the whole run.

    Raises:
        ValueError: If the rows of one pass do not fill a batch.

    Example:
        >>> task = Passes(torch.arange(12), torch.arange(12), passes=3, batch_size=2)
        >>> feed = task.batches([Trial(seed=0, lr=0.1)])
        >>> seen = [feed(step)[0][0].tolist() for step in range(task.steps)]
        >>> len(seen), sorted(sum(seen[:2], [])) == sorted(sum(seen[4:], []))
        (6, True)
    """

    def __init__(self, x: Tensor, y: Tensor, *, passes: int, batch_size: int) -> None:
        self.x, self.y, self.passes, self.batch_size = x, y, passes, batch_size
        self.steps_per_epoch = len(x) // passes // batch_size
        if self.steps_per_epoch < 1:
            raise ValueError(
                f"{len(x)} rows in {passes} passes do not fill a batch of {batch_size}; "
                "take fewer passes or a smaller batch_size"
            )
        self.steps = self.steps_per_epoch * passes

    def batches(self, trials: Sequence[Trial]) -> Feed:
        """Shuffled batches of each trial's own share."""
        rows = self.steps_per_epoch * self.batch_size

        def order(seed: int, epoch: int) -> Tensor:
            share = permutation(len(self.x), seed, -1)[:rows]
            return share[permutation(rows, seed, epoch)]

        return shuffled(self.x, self.y, trials, self.batch_size, self.steps_per_epoch, order)
