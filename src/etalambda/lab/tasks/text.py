"""Characters of any text file as a language-modelling task, split in order, windows by seed."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor


class Characters:
    """The characters of a text; the first nine tenths train, the rest validates.

    Args:
        path: A UTF-8 text file. None takes a text that comes with Python (the help topics, half a
            million characters): good for a smoke test, but it differs between Python versions, so
            no number from it should be reported.
        context: Length of a window.

    Raises:
        FileNotFoundError: If the file is not there.
        ValueError: If it is too short for one window a split, or is not UTF-8.

    Example:
        >>> task = Characters(context=8)
        >>> x, y = next(task.batches(seed=0, batch_size=4))
        >>> x.shape, bool((x[:, 1:] == y[:, :-1]).all())
        (torch.Size([4, 8]), True)
    """

    def __init__(self, path: str | Path | None = None, context: int = 64) -> None:
        text = _read(text_that_comes_with_python() if path is None else Path(path))
        self.vocabulary = sorted(set(text))
        index = {character: i for i, character in enumerate(self.vocabulary)}
        tokens = torch.tensor([index[character] for character in text])
        cut = len(tokens) * 9 // 10
        self.context, self.train, self.validation = context, tokens[:cut], tokens[cut:]
        if len(self.validation) < context + 2:
            raise ValueError(
                f"the text has {len(text)} characters, too few for windows of {context}; "
                "take a longer text or a shorter context"
            )

    def batches(self, *, seed: int, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Endless random windows of the training part: inputs and the characters after them."""
        generator = torch.Generator().manual_seed(seed)
        offsets = torch.arange(self.context + 1)
        while True:
            starts = torch.randint(
                len(self.train) - self.context, (batch_size, 1), generator=generator
            )
            window = self.train[starts + offsets]
            yield window[:, :-1], window[:, 1:]

    def held_out(self, windows: int = 256) -> tuple[Tensor, Tensor]:
        """Evenly spaced windows of the validation part, always the same."""
        last = len(self.validation) - self.context - 1
        starts = torch.linspace(0, last, windows).long()[:, None]
        window = self.validation[starts + torch.arange(self.context + 1)]
        return window[:, :-1], window[:, 1:]


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text ({error.reason} at {error.start})") from error


def text_that_comes_with_python() -> Path:
    """The file of Python's own help topics: for smoke tests, it differs between versions.

    Raises:
        FileNotFoundError: If this Python was packed without it.
    """
    spec = find_spec("pydoc_data.topics")
    if spec is None or spec.origin is None:
        raise FileNotFoundError("this Python has no pydoc_data; pass the path of a text file")
    return Path(spec.origin)
