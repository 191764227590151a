"""What the scheduler hears of its optimizers: steps that happened, groups added, loads."""

from __future__ import annotations

import weakref
from typing import Any

import torch


def listen(scheduler: Any) -> None:
    """Hook a `Scheduler` to its optimizers, without either keeping the other alive."""
    scheduler._handles = []
    for index, optimizer in enumerate(scheduler._optimizers):
        if hasattr(optimizer, "register_step_post_hook"):
            last = index + 1 == len(scheduler._optimizers)
            ear = _Ear(scheduler, last)
            handles = [
                optimizer.register_step_pre_hook(ear.before_step),
                optimizer.register_step_post_hook(ear.after_step),
                optimizer.register_load_state_dict_post_hook(ear.after_load),
            ]
            scheduler._handles += handles
            for handle in handles:
                weakref.finalize(scheduler, handle.remove)


class _Ear:
    """Bound to one optimizer; forgets the scheduler when nobody else holds it."""

    def __init__(self, scheduler: Any, last: bool) -> None:
        self._scheduler, self._last = weakref.ref(scheduler), last

    @torch.compiler.disable
    def before_step(self, *_: Any) -> None:
        """A group that was added since then must not take this step at its raw value."""
        if (scheduler := self._scheduler()) is not None:
            scheduler._adopt()

    @torch.compiler.disable
    def after_step(self, optimizer: Any, *_: Any) -> None:
        """Count a step that happened. A fused step under a GradScaler may have skipped itself."""
        scheduler, skipped = self._scheduler(), getattr(optimizer, "found_inf", None)
        if scheduler is not None and self._last and not (skipped is not None and float(skipped)):
            scheduler._done += 1

    def after_load(self, *_: Any) -> None:
        """A load brings the values of the checkpoint; the scheduler's hold."""
        if (scheduler := self._scheduler()) is not None:
            scheduler._write()
