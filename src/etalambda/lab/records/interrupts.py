"""Ctrl-C waits for a good moment: until a write is whole (DuckDB does not survive a
KeyboardInterrupt in its midst), or until a step is done and can be kept. Writes hold back SIGTERM
too, which a sweep's worker takes as Ctrl-C."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

HELD = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Hold SIGINT and SIGTERM back for the length of the block, then let act. Also a decorator.

    Outside the main thread it does nothing: Python hands signals to the main thread alone.

    >>> with uninterrupted():
    ...     "a write that takes milliseconds"
    'a write that takes milliseconds'
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    caught: list[Any] = []
    before = {n: signal.signal(n, lambda number, frame: caught.append(number)) for n in HELD}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        if caught:
            signal.raise_signal(caught[0])


@contextmanager
def stop_asked() -> Iterator[Callable[[], bool]]:
    """Whether Ctrl-C was pressed since the block began; pressed again, it acts at once.

    Outside the main thread the answer is always no.

    >>> with stop_asked() as asked:
    ...     asked()
    False
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    caught: list[int] = []
    before = signal.getsignal(signal.SIGINT)

    def note(number: int, frame: Any) -> None:
        caught.append(number)
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, note)
    try:
        yield lambda: bool(caught)
    finally:
        signal.signal(signal.SIGINT, before)
