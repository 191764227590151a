"""Modular addition: (a + b) mod p from a and b, the usual benchmark of delayed generalization.

Power et al. 2022 ("grokking"); Gromov 2023 for the network. All p² pairs exist and every label is
exact. A random half, drawn by the trial's seed, is for training; the other half for the test.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from etalambda.lab.engine.trials import Feed, Trial


class Modular:
    """All pairs of residues mod p, their sums, and a half of them for each seed.

    Args:
        p: The modulus.
        device: Where the batches are put.

    Example:
        >>> task = Modular(p=5)
        >>> task.pairs[7].tolist(), task.sums[7].item(), int(task.is_training(seed=0).sum())
        ([1, 2], 3, 12)
    """

    def __init__(self, p: int = 31, device: str | torch.device = "cpu") -> None:
        grid = torch.arange(p)
        self.p, self.device = p, device
        self.pairs = torch.cartesian_prod(grid, grid).to(device)
        self.sums = self.pairs.sum(1) % p

    def is_training(self, seed: int) -> Tensor:
        """Which pairs are in the seed's training half, (p²,) bool."""
        order = torch.randperm(self.p**2, generator=torch.Generator().manual_seed(seed))
        chosen = torch.zeros(self.p**2, dtype=torch.bool)
        chosen[order[: self.p**2 // 2]] = True
        return chosen.to(self.device)

    def batches(self, trials: Sequence[Trial]) -> Feed:
        """Full batches: every step all training pairs of each trial's seed."""
        masks = torch.stack([self.is_training(trial.seed) for trial in trials])
        rows = masks.nonzero()[:, 1].view(len(trials), -1)
        batch = self.pairs[rows], self.sums[rows]
        return lambda step: batch

    def accuracy(self, outputs: Tensor, seeds: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Training and test accuracy from the outputs for all pairs, (T, p², p) -> (T,), (T,)."""
        right = (outputs.argmax(-1) == self.sums).double()
        train = torch.stack([self.is_training(seed) for seed in seeds]).double()
        test = 1 - train
        share = [(right * half).sum(1) / half.sum(1) for half in (train, test)]
        return share[0].cpu(), share[1].cpu()
