"""A `Scheduler` in the shape of torch's ``LRScheduler``, for loops that accept nothing else.

Lightning's ``configure_optimizers`` and the Trainer's ``optimizers=(optimizer, scheduler)`` have
one place for a scheduler and call ``step()`` without arguments. The adapter puts the learning
rate's scheduler and the weight decay's there together, in the right order.
"""

from collections.abc import Mapping
from typing import Any

from torch.optim.lr_scheduler import LRScheduler

from etalambda.schedule import Scheduler
from etalambda.schedule.rule import Memory

# What a rule can read without being given anything: group entries and the driver's own names.
_READABLE = {"lr", "initial", "step", "peak_lr"}


class LRSchedulerAdapter(LRScheduler):
    """Step a learning-rate scheduler, then a weight-decay `Scheduler`, as one ``LRScheduler``.

    The learning rate is left to ``lr_scheduler``; the weight decay's rules see its new value.

    Args:
        scheduler: The weight decay's scheduler. Give it ``clock="optimizer"`` where the loop may
            call ``step`` more often than the optimizer steps (Accelerate on several processes).
        lr_scheduler: The learning rate's scheduler, or None to leave the rate alone.

    Raises:
        TypeError: If an argument is of another kind.
        ValueError: If a rule reads a loss: these loops pass none. Nothing has changed then.

    Example:
        >>> import torch
        >>> from etalambda.schedule import linear
        >>> w = torch.nn.Parameter(torch.ones(2))
        >>> optimizer = torch.optim.AdamW([w], lr=0.1, weight_decay=0.5)
        >>> both = LRSchedulerAdapter(
        ...     Scheduler(optimizer, weight_decay=linear(2)),
        ...     torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.1),
        ... )
        >>> optimizer.step()
        >>> both.step()
        >>> round(both.get_last_lr()[0], 6), optimizer.param_groups[0]["weight_decay"]
        (0.01, 0.25)
    """

    def __init__(self, scheduler: Scheduler, lr_scheduler: LRScheduler | None = None) -> None:
        # torch's __init__ is not called: it takes a first step and writes initial_lr.
        _check(scheduler, lr_scheduler)
        self._scheduler, self._lr_scheduler = scheduler, lr_scheduler
        inner = lr_scheduler.optimizer if lr_scheduler is not None else None
        self.optimizer = scheduler._optimizers[0] if inner is None else inner
        self.base_lrs = [group["lr"] for group in self.optimizer.param_groups]
        self.last_epoch, self._step_count = 0, 1

    def step(self, epoch: Any = None) -> None:
        """One step of both. An argument (a metric, an epoch) goes to the lr's scheduler only."""
        if self._lr_scheduler is not None:
            args = () if epoch is None else (epoch,)
            self._lr_scheduler.step(*args)
        self._scheduler.step()
        self.last_epoch += 1
        self._step_count += 1

    def get_last_lr(self) -> list[Any]:
        """The learning rate of each group, as the lr's scheduler reports it."""
        if self._lr_scheduler is not None:
            return self._lr_scheduler.get_last_lr()
        return [group["lr"] for group in self.optimizer.param_groups]

    def get_lr(self) -> list[Any]:
        """The same as `get_last_lr`: the adapter computes no rate of its own."""
        return self.get_last_lr()

    def get_last_weight_decay(self) -> list[float]:
        """The weight decay of each group, as the scheduler last set it."""
        return self._scheduler.last("weight_decay")

    def state_dict(self) -> dict[str, Any]:
        """Both states, loadable with ``weights_only=True`` if the lr scheduler's is."""
        lr = None if self._lr_scheduler is None else self._lr_scheduler.state_dict()
        return {
            "last_epoch": self.last_epoch,
            "lr_scheduler": lr,
            "scheduler": self._scheduler.state_dict(),
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Load what `state_dict` gave, or the bare lr scheduler's state of an older checkpoint.

        Raises:
            ValueError: If the state has an lr scheduler and the adapter none, or the reverse.
        """
        if "scheduler" not in state_dict:  # saved before the adapter was put around it
            if self._lr_scheduler is None:
                raise ValueError("the state is no adapter's state; load the one of state_dict()")
            self._lr_scheduler.load_state_dict(dict(state_dict))
            return
        lr = state_dict["lr_scheduler"]
        if (lr is None) != (self._lr_scheduler is None):
            raise ValueError(
                "the checkpoint and the adapter disagree on whether there is an lr_scheduler; "
                "build the adapter as the saved one was built"
            )
        self._scheduler.load_state_dict(state_dict["scheduler"])
        if self._lr_scheduler is not None:
            self._lr_scheduler.load_state_dict(lr)
        self.last_epoch = self._step_count = int(state_dict["last_epoch"])

    def _initial_step(self) -> None:
        raise TypeError(
            "SequentialLR resets the learning rate and cannot hold a weight-decay schedule; put "
            "SequentialLR into the adapter as lr_scheduler, and join(...) weight-decay rules"
        )


def _check(scheduler: Any, lr_scheduler: Any) -> None:
    if not isinstance(scheduler, Scheduler):
        raise TypeError(f"scheduler must be an etalambda Scheduler, got {type(scheduler).__name__}")
    if lr_scheduler is not None and not isinstance(lr_scheduler, LRScheduler):
        raise TypeError(
            f"lr_scheduler must be a torch LRScheduler, got {type(lr_scheduler).__name__}"
        )
    for entry, rule in scheduler.rules.items():
        needs = set(rule.reads) - _READABLE if isinstance(rule, Memory) else set()
        if needs:
            raise ValueError(
                f"{entry}={rule!r} reads {', '.join(sorted(needs))}, which an LRScheduler's step() "
                "is not given; give it through the callback (WeightDecayCallback of "
                "etalambda.integrations.lightning or .transformers)"
            )
