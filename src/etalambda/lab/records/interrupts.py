"""Ctrl-C waits until a write is whole: DuckDB does not survive a KeyboardInterrupt in its midst."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Hold SIGINT back for the length of the block, then let it act. Also a decorator.

    Outside the main thread it does nothing: Python hands signals to the main thread alone.

    >>> with uninterrupted():
    ...     "a write that takes milliseconds"
    'a write that takes milliseconds'
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    caught: list[Any] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: caught.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.SIG_DFL if before is None else before)
        if caught:
            signal.raise_signal(signal.SIGINT)
