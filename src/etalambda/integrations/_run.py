"""What the callbacks share: a scheduler that is built late, and the loss of one optimizer step.

Frameworks build the optimizer long after the callback, and load checkpoints in between. So the
rules wait here, a loaded state waits with them, and the scheduler counts optimizer steps that
happened: gradient accumulation and skipped AMP steps need no care.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch.distributed as dist

from etalambda.diagnose import Monitor
from etalambda.diagnose.monitor import Quantity
from etalambda.schedule import Scheduler
from etalambda.schedule.rule import Memory, Rule, Signal, check_rule

Sink = Callable[[dict[str, Any]], Any]
"""A function of one row."""


class LateScheduler:
    """Rules now, a `Scheduler` once there are optimizers."""

    def __init__(self, rules: Mapping[str, Rule]) -> None:
        if not rules:
            raise ValueError("no rule given; pass one by entry, such as weight_decay=cosine(1000)")
        for entry, rule in rules.items():
            check_rule(entry, rule)
        self.rules = dict(rules)
        self.scheduler: Scheduler | None = None
        self._waiting: dict[str, Any] | None = None

    @property
    def reads(self) -> set[str]:
        """The names that the rules look up."""
        return {
            name for rule in self.rules.values() if isinstance(rule, Memory) for name in rule.reads
        }

    def begin(self, optimizers: Any) -> None:
        """Build the scheduler, on the values that the optimizers hold or on a loaded state's."""
        world = dist.group.WORLD if dist.is_available() and dist.is_initialized() else None
        several = world is not None and dist.get_world_size() > 1
        rules: dict[str, Any] = dict(self.rules)
        group = world if several else None
        self.scheduler = Scheduler(optimizers, clock="optimizer", process_group=group, **rules)
        if self._waiting is not None:
            self.scheduler.load_state_dict(self._waiting)
            self._waiting = None

    def step(self, **signals: Signal) -> None:
        """A tick, if the optimizer has stepped since the last one."""
        if self.scheduler is not None:
            self.scheduler.step(**signals)

    def state_dict(self) -> dict[str, Any]:
        """The scheduler's state; what is still waiting to be loaded; or nothing."""
        if self.scheduler is not None:
            return self.scheduler.state_dict()
        return dict(self._waiting or {})

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Keep a state until there is a scheduler."""
        self._waiting = dict(state) or None
        self.scheduler = None


class LateMonitor:
    """When and what to measure now, a `Monitor` once there are optimizers."""

    def __init__(
        self,
        when: Callable[[int], bool] | None,
        sinks: tuple[Sink, ...],
        quantities: Mapping[str, Quantity],
    ) -> None:
        for sink in sinks:
            if not callable(sink):
                raise TypeError(f"a sink is a function of one row, got {type(sink).__name__}")
        self._when, self._sinks, self._quantities = when, sinks, dict(quantities)
        self.monitor: Monitor | None = None
        self._waiting: dict[str, Any] | None = None

    def begin(self, optimizers: Any) -> None:
        """Start to measure; a loaded state goes on where it stopped."""
        self.end()
        before = self.state_dict()
        self.monitor = Monitor(optimizers, self._when, **self._quantities).to(*self._sinks)
        if before:
            self.monitor.load_state_dict(before)
        self._waiting = None

    def end(self) -> None:
        """Hand over the last rows and stop; the monitor stays readable."""
        if self.monitor is not None:
            self.monitor.remove()

    def state_dict(self) -> dict[str, Any]:
        """What is waiting to be loaded; else the monitor's state; or nothing."""
        if self._waiting is None and self.monitor is not None:
            return self.monitor.state_dict()
        return dict(self._waiting or {})

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Keep a state until there is a monitor."""
        self._waiting = dict(state) or None


class LossMeter:
    """The loss of one optimizer step: the mean over the micro-batches it is made of."""

    def __init__(self) -> None:
        self._losses: list[Any] = []
        self._split = True

    def add(self, loss: Any, *, mean: bool = True) -> None:
        """One micro-batch. ``mean=False`` if its loss is already a share of the step's."""
        self._losses.append(loss.detach() if hasattr(loss, "detach") else loss)
        self._split = mean

    def signals(self) -> dict[str, Signal]:
        """``loss``, as a function that reads the device only if a rule looks; empty if unknown."""
        losses, split = self._losses, self._split
        self._losses = []
        if not losses:
            return {}
        return {"loss": lambda: float(sum(losses)) / (len(losses) if split else 1)}


class Drives:
    """A callback that schedules: its rules now, its scheduler once training has started."""

    def __init__(self, **rules: Rule) -> None:
        self._late, self._meter = LateScheduler(rules), LossMeter()

    @property
    def scheduler(self) -> Scheduler | None:
        """The driver, once training has started."""
        return self._late.scheduler


class Watches:
    """A callback that measures: what and when now, its monitor once training has started."""

    def __init__(
        self,
        when: Callable[[int], bool] | None = None,
        *,
        sinks: tuple[Sink, ...] = (),
        **quantities: Quantity,
    ) -> None:
        self._late = LateMonitor(when, tuple(sinks), quantities)

    @property
    def monitor(self) -> Monitor | None:
        """The monitor, once training has started; it stays readable afterwards."""
        return self._late.monitor
