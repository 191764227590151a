"""Language modelling: predict the next character of a text, or the next word of Penn Treebank.

A GPT is served random windows. An LSTM is served the text in ``batch_size`` rows side by side, a
window of ``context`` tokens after the other, and carries its state from one to the next: truncated
backpropagation through time (BPTT), as Zaremba et al. 2014 and xie2022 (B4) train.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from etalambda.lab.data import TextSplits, Tokens, load, tokens
from etalambda.lab.data.pipeline import mixed_seed
from etalambda.lab.data.text import text_of
from etalambda.lab.tasks.text import text_that_comes_with_python
from etalambda.lab.train import names
from etalambda.lab.train.config import TrainConfig

Batch = tuple[Tensor, Tensor]
ROWS = 32
"""Windows side by side in an evaluation."""


class TextTask:
    """Tokens of a text in three splits.

    ``text``: the characters of a file, eight tenths to train. ``ptb``: the words of Penn Treebank.
    ``ptb-small``: trains on its validation file, for where the training file is missing; a small
    task of the same kind, not the benchmark.

    Raises:
        DataError: If a file is missing or damaged.
        ValueError: If the training text is too short for one batch.
    """

    def __init__(self, config: TrainConfig, device: Any = "cpu") -> None:
        found = read(config)
        parts = dict(train=found.train, val=found.valid, test=found.test)
        self.tokens = {name: torch.from_numpy(ids).to(device) for name, ids in parts.items()}
        self.classes = len(found.vocabulary)
        self.context, self.batch_size = config.context, config.batch_size
        self.streams = config.model == "lstm"
        self.shape: tuple[int, ...] = (config.context,)
        self.steps_per_epoch = (len(self.tokens["train"]) - 1) // (self.batch_size * self.context)
        if self.steps_per_epoch < 1:
            raise ValueError(
                f"the training text has {len(self.tokens['train'])} tokens, fewer than batch_size "
                f"{self.batch_size} x context {self.context}; lower one of them"
            )
        most = config.evaluate_size or len(self.tokens["test"])
        self.splits = {name: min(len(part), most) for name, part in self.tokens.items()}

    def epoch(self, seed: int, epoch: int, start: int) -> Iterator[Batch]:
        """Random windows, or with ``streams`` the next window of every row."""
        for number in range(start, self.steps_per_epoch):
            yield self._stream(number) if self.streams else self._windows(seed, epoch, number)

    def _windows(self, seed: int, epoch: int, number: int) -> Batch:
        tokens = self.tokens["train"]
        generator = torch.Generator().manual_seed(mixed_seed(seed, epoch, number))
        last = len(tokens) - self.context
        starts = torch.randint(last, (self.batch_size, 1), generator=generator).to(tokens.device)
        window = tokens[starts + torch.arange(self.context + 1, device=tokens.device)]
        return window[:, :-1], window[:, 1:]

    def _stream(self, number: int) -> Batch:
        tokens = self.tokens["train"]
        length = self.steps_per_epoch * self.context
        rows = tokens[: self.batch_size * length].view(self.batch_size, length)
        after = tokens[1 : self.batch_size * length + 1].view(self.batch_size, length)
        cut = slice(number * self.context, (number + 1) * self.context)
        return rows[:, cut], after[:, cut]

    def evaluation(self, split: str) -> Iterator[Batch]:
        """The split in rows side by side, window by window (of training text, the first part)."""
        tokens = self.tokens[split][: self.splits[split]]
        rows = max(1, min(ROWS, (len(tokens) - 1) // self.context))
        length = (len(tokens) - 1) // rows
        x = tokens[: rows * length].view(rows, length)
        y = tokens[1 : rows * length + 1].view(rows, length)
        yield from zip(x.split(self.context, 1), y.split(self.context, 1))


def read(config: TrainConfig) -> Tokens:
    """The tokens of the task: characters, or words for Penn Treebank.

    Raises:
        DataError: If a file is missing, empty or no UTF-8.
    """
    if config.task == "ptb-small":
        return tokens(read_ptb_small(config.data_dir))
    where = config.data_dir
    if config.task == "text" and not where:
        where = str(text_that_comes_with_python())
    found = load(config.task, where or ".")
    assert isinstance(found, TextSplits)  # a task that is no picture set
    return tokens(found, "characters" if config.task in names.CHARACTERS else "words")


def read_ptb_small(folder: str | Path) -> TextSplits:
    """Penn Treebank without its training file: nine tenths of the validation file train.

    Raises:
        DataError: If a file is missing, empty or no UTF-8.
    """
    paths = [Path(folder) / f"ptb.{part}.txt" for part in ("valid", "test")]
    small, test = map(text_of, paths)
    lines = small.splitlines(keepends=True)
    cut = len(lines) * 9 // 10
    return TextSplits("ptb-small", "".join(lines[:cut]), "".join(lines[cut:]), test, tuple(paths))
