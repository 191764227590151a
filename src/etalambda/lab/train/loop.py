"""The loop: batches, updates, evaluations, checkpoints, progress."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.backends import cudnn

from etalambda.lab.records.interrupts import stop_asked
from etalambda.lab.train.checkpoint import Checkpoint
from etalambda.lab.train.config import TrainConfig
from etalambda.lab.train.distributed import world
from etalambda.lab.train.training import Training

Progress = Callable[[float, float, str], Any]
Table = dict[str, list[Any]]
Saved = Callable[[Table], Any]


@dataclass(frozen=True)
class Keep:
    """When a run is kept: every ``steps`` steps (0: never by steps) or ``seconds`` seconds.

    Attributes:
        path: The checkpoint; None keeps none.
        saved: Called with the rows so far after each checkpoint.
        resumed: Called likewise before the first step, also where nothing was kept.
    """

    path: Path | None = None
    steps: int = 0
    seconds: float = 60.0
    saved: Saved = lambda rows: None
    resumed: Saved = lambda rows: None


@dataclass
class Result:
    """A finished run: ``metrics`` and ``summary`` as columns, the network, its whole weights.

    >>> result = fit(TrainConfig(steps=20, lr=0.1, weight_decay=0.01, lr_schedule="linear"))
    >>> round(result.summary["K"][0], 3)  # Σ lr · weight_decay, times 10 for momentum 0.9
    0.105
    >>> result.model(torch.zeros(1, 64)).shape
    torch.Size([1, 10])
    """

    metrics: Table
    summary: Table
    model: nn.Module
    weights: dict[str, torch.Tensor]


def fit(
    config: TrainConfig,
    *,
    keep: Keep | None = None,
    progress: Progress = lambda done, total, text: None,
) -> Result:
    """Train from the start, or from where the checkpoint stands.

    Args:
        config: What to train.
        keep: Where and how often to keep it; None keeps nothing.
        progress: Called after each step with steps done, steps in all and a line of text.

    Raises:
        KeyboardInterrupt: After a checkpoint of the step at work; pressed twice, at once.
        DataError: If the task's files are missing or damaged.
        CheckpointError: If there is a checkpoint of another config.
        ValueError: If model, task and optimizer do not fit.

    Example:
        >>> result = fit(TrainConfig(steps=20, monitor_every=10))
        >>> result.metrics["step"], result.summary["test_error"][0] < 0.5
        ([1, 5, 10, 15, 20], True)
    """
    keep = keep or Keep()
    checkpoint = Checkpoint(keep.path) if keep.path is not None else None
    with world(config) as ranks:
        run = Training(config, ranks)
        if checkpoint is not None:
            checkpoint.load(run)
        if ranks.first:
            keep.resumed(run.rows.table())
        clock = _Clock(keep, run)
        evaluated: dict[str, float] = {}
        # Ranks may be at different steps when Ctrl-C comes: several leave at once, and lose a bit.
        waits = stop_asked if checkpoint is not None and ranks.count == 1 else _nothing_asked
        with waits() as asked, cudnn.flags(enabled=True, benchmark=run.device.type == "cuda"):
            for batch in run.batches():
                run.advance(batch)
                if run.evaluation_due() and run.alive:
                    evaluated = run.evaluate()
                if checkpoint is not None and (clock.due() or asked()):
                    checkpoint.save(run)
                    if ranks.first:
                        keep.saved(run.rows.table())
                if asked():
                    raise KeyboardInterrupt
                progress(run.step, run.steps, _text(run, evaluated))
        cost = dict(seconds=clock.seconds(), cpu_seconds=clock.cpu_seconds())
        cost["memory"] = peak_memory(run.device)
        columns = {name: [value] for name, value in (_summary(run) | cost).items()}
        return Result(run.rows.table(), columns, run.model, run.weights())


def _nothing_asked() -> AbstractContextManager[Callable[[], bool]]:
    """Ctrl-C acts by itself."""
    return nullcontext(lambda: False)


class _Clock:
    """How long the run has taken, earlier tries included, and whether a checkpoint is due."""

    def __init__(self, keep: Keep, run: Training) -> None:
        self.keep, self.run, self.before = keep, run, run.seconds
        self.started = self.last = time.perf_counter()
        self.cpu_before, self.cpu_started = run.cpu_seconds, time.process_time()

    def seconds(self) -> float:
        return self.before + time.perf_counter() - self.started

    def cpu_seconds(self) -> float:
        """Time of this process on the processor: what others do meanwhile does not count."""
        return self.cpu_before + time.process_time() - self.cpu_started

    def due(self) -> bool:
        run, keep, now = self.run, self.keep, time.perf_counter()
        due = (keep.steps and run.step % keep.steps == 0) or run.step == run.steps or not run.alive
        if not due and (run.ranks.count == 1 or run.row_due(run.step)):
            due = run.ranks.told_by_first(now - self.last >= keep.seconds)
        if due:
            self.last, run.seconds, run.cpu_seconds = now, self.seconds(), self.cpu_seconds()
        return bool(due)


def _text(run: Training, evaluated: dict[str, float]) -> str:
    shown = [
        f"{name} {evaluated[name]:.3f}" for name in ("val_error", "test_error") if name in evaluated
    ]
    return ", ".join([f"epoch {run.step / run.epoch_steps:.1f}", *shown])


def _summary(run: Training) -> dict[str, Any]:
    """The last values of a run; NaN for errors where it diverged."""
    table = run.rows.table()
    last = {name: values[-1] if values else math.nan for name, values in table.items()}
    taken = [k for k in table["K"] if not math.isnan(k)]
    perplexity = {
        f"{s}_perplexity": math.exp(min(last[f"{s}_loss"], 700.0)) for s in ("val", "test")
    }
    return last | dict(
        K=taken[-1] if taken else math.nan,
        steps=run.step,
        parameters=sum(p.numel() for p in run.model.parameters()),
        diverged=not run.alive,
        **perplexity,
    )


def peak_memory(device: torch.device) -> float:
    """Most bytes held so far: by torch on a GPU, by the process on a CPU."""
    if device.type == "cuda":
        return float(torch.cuda.max_memory_allocated(device))
    import resource  # no such module on Windows, where no one asks for it before the end of a run

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0
