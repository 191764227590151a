"""Images that live on the device as uint8, augmented there: the recipe of the papers, faster.

Pad-4 random crop, horizontal flip, cutout, mixup and per-channel normalization for a whole batch
at once. The recipe is unchanged: zero padding, a fresh draw a picture and epoch, p = 1/2 for the
flip, and the last batch of an epoch is kept even if it is smaller. Everything is drawn from one
seeded generator whose state can be saved, so a resumed epoch sees the pictures it would have seen.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from etalambda._common import check_nonnegative, check_positive


@dataclass(frozen=True)
class Recipe:
    """What is done to a training picture.

    Attributes:
        pad: Zero padding before the random crop back to the old size; 0 for none.
        flip: Flip left and right with probability 1/2.
        cutout: Side of a square that is set to 0 after normalization; 0 for none.
        mixup: α of the Beta(α, α) law that mixes pairs of pictures; 0 for none.

    Example:
        >>> data = Pictures(torch.full((8, 1, 6, 6), 255, dtype=torch.uint8), torch.arange(8))
        >>> data.mean, data.std = torch.zeros(1), torch.ones(1)
        >>> x, _ = next(data.epoch(batch_size=8, seed=0, recipe=Recipe(pad=2, flip=True)))
        >>> x.shape, bool(x.mean() < 1)  # of the old size; some of the padding was cropped in
        (torch.Size([8, 1, 6, 6]), True)
    """

    pad: int = 0
    flip: bool = False
    cutout: int = 0
    mixup: float = 0.0

    def __post_init__(self) -> None:
        check_nonnegative(pad=self.pad, cutout=self.cutout, mixup=self.mixup)


CIFAR = Recipe(pad=4, flip=True)
"""Of li2020 and xie2022 for CIFAR."""


class Pictures:
    """A split of pictures on a device.

    Args:
        images: uint8 ``(n, c, h, w)``.
        labels: Integers ``(n,)``.
        mean: Of each channel, of pictures scaled to [0, 1]; None measures it here.
        std: Likewise.
        device: Where everything lives.
        dtype: Of the batches.

    Raises:
        ValueError: If shapes or types do not fit.

    Example:
        >>> data = Pictures(torch.zeros(10, 1, 8, 8, dtype=torch.uint8), torch.arange(10))
        >>> [len(x) for x, y in data.epoch(batch_size=4, seed=0)]
        [4, 4, 2]
    """

    def __init__(
        self,
        images: Any,
        labels: Any,
        *,
        mean: Tensor | None = None,
        std: Tensor | None = None,
        device: str | torch.device = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.images = torch.as_tensor(images).to(device)
        self.labels = torch.as_tensor(labels).long().to(device)
        if self.images.dtype != torch.uint8 or self.images.ndim != 4:
            shape = tuple(self.images.shape)
            raise ValueError(f"images must be uint8 (n, c, h, w), got {self.images.dtype} {shape}")
        if self.labels.shape != self.images.shape[:1]:
            raise ValueError(f"{len(self.images)} images but labels {tuple(self.labels.shape)}")
        self.dtype = dtype
        self.mean = self._channel_mean() if mean is None else mean.to(device)
        self.std = self._channel_std() if std is None else std.to(device)

    def __len__(self) -> int:
        return len(self.images)

    def _channel_mean(self) -> Tensor:
        return self.images.double().mean((0, 2, 3)) / 255

    def _channel_std(self) -> Tensor:
        return (self.images.double() / 255).std((0, 2, 3), correction=0).clamp_min(1e-12)

    def epoch(
        self,
        *,
        batch_size: int,
        seed: int,
        epoch: int = 0,
        start: int = 0,
        recipe: Recipe | None = None,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """The batches of one epoch in a random order, augmented.

        Order and augmentation depend on ``(seed, epoch)`` and the batch's number alone, so an
        interrupted epoch goes on with ``start`` = the batches already seen, and two runs with one
        seed see the same pictures whatever else they draw.

        Yields:
            ``(x, y)``: x in ``dtype``; y is int64, or with mixup float ``(n, classes)``.
        """
        check_positive(batch_size=batch_size)
        recipe, device = recipe or Recipe(), self.images.device
        generator = torch.Generator(device).manual_seed(mixed_seed(seed, epoch, 0))
        order = torch.randperm(len(self), generator=generator, device=device)
        for number, chosen in enumerate(order.split(batch_size)):
            if number >= start:
                generator.manual_seed(mixed_seed(seed, epoch, number + 1))
                x = self._scaled(_augmented(self.images[chosen], recipe, generator))
                x = _cut_out(x, recipe.cutout, generator)
                yield self._mixed(x, self.labels[chosen], recipe.mixup, generator)

    def batches(self, batch_size: int = 2000) -> Iterator[tuple[Tensor, Tensor]]:
        """All pictures in order, normalized, not augmented: for evaluation."""
        for x, y in zip(self.images.split(batch_size), self.labels.split(batch_size)):
            yield self._scaled(x), y

    def _scaled(self, x: Tensor) -> Tensor:
        shift, scale = (t.to(self.dtype)[:, None, None] for t in (self.mean, self.std))
        return (x.to(self.dtype) / 255 - shift) / scale

    def _mixed(
        self, x: Tensor, y: Tensor, mixup: float, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        if not mixup:
            return x, y
        share = _beta(mixup, generator, x.device)
        other = torch.randperm(len(x), generator=generator, device=x.device)
        soft = torch.nn.functional.one_hot(y, int(self.labels.max()) + 1).to(x)
        return share * x + (1 - share) * x[other], share * soft + (1 - share) * soft[other]


def _cut_out(x: Tensor, side: int, generator: torch.Generator) -> Tensor:
    """A square of 0 around a random pixel of each picture; at the border only its inner part."""
    if not side:
        return x
    inside = []
    for size in x.shape[2:]:
        first = _draw(size, len(x), generator, x)[:, None] - side // 2
        grid = torch.arange(size, device=x.device)
        inside.append((grid >= first) & (grid < first + side))
    square = inside[0][:, :, None] & inside[1][:, None, :]
    return x.masked_fill(square[:, None], 0)


def _augmented(x: Tensor, recipe: Recipe, generator: torch.Generator) -> Tensor:
    """Random crop after zero padding, and flip, by one gather over flat indices."""
    n, _, h, w = x.shape
    rows = torch.arange(h, device=x.device).expand(n, h)
    columns = torch.arange(w, device=x.device).expand(n, w)
    if recipe.flip:
        flipped = _draw(2, n, generator, x).bool()[:, None]
        columns = torch.where(flipped, w - 1 - columns, columns)
    if recipe.pad:
        x = torch.nn.functional.pad(x, [recipe.pad] * 4)
        rows = rows + _draw(2 * recipe.pad + 1, n, generator, x)[:, None]
        columns = columns + _draw(2 * recipe.pad + 1, n, generator, x)[:, None]
    if not (recipe.flip or recipe.pad):
        return x
    index = torch.arange(n, device=x.device)[:, None, None]
    taken = x.movedim(1, 3)[index, rows[:, :, None], columns[:, None, :]]
    return taken.movedim(3, 1)


def _draw(high: int, n: int, generator: torch.Generator, like: Tensor) -> Tensor:
    return torch.randint(high, (n,), generator=generator, device=like.device)


def _beta(alpha: float, generator: torch.Generator, device: torch.device) -> float:
    """One draw of Beta(α, α) from our own generator: Jöhnk's method, or rejection for α > 1."""
    while True:
        u, v = torch.rand(2, generator=generator, device=device).double().tolist()
        if alpha <= 1:
            a, b = u ** (1 / alpha), v ** (1 / alpha)
            if 0 < a + b <= 1:
                return a / (a + b)
        elif v <= (4 * u * (1 - u)) ** (alpha - 1):
            return u


def mixed_seed(seed: int, epoch: int, number: int) -> int:
    """One 63-bit seed from three small numbers (splitmix64), so that streams do not overlap.

    >>> mixed_seed(0, 1, 2) == mixed_seed(0, 2, 1)
    False
    """
    state = 0
    for part in (seed, epoch, number):
        state = (state + part + 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
        state ^= state >> 31
    return state & (2**63 - 1)
