"""Lightning: weight decay scheduled, and the run watched, by callbacks.

    Trainer(callbacks=[WeightDecayCallback(weight_decay=cosine(10_000))])
    Trainer(callbacks=[MonitorCallback(every(10), panel=Panel(steps=10))])

Lightning advances callbacks at every batch; this one ticks when the optimizer has stepped. Its
state travels in Lightning's checkpoints. For rules that need no loss, ``LRSchedulerAdapter`` can be
returned from ``configure_optimizers`` instead.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from etalambda._common import need
from etalambda.diagnose.monitor import Quantity
from etalambda.integrations._run import Drives, Sink, Watches
from etalambda.schedule.rule import Rule

if TYPE_CHECKING:
    from lightning.pytorch import Callback, LightningModule, Trainer
else:
    Callback = need("lightning.pytorch", "lightning").Callback


class WeightDecayCallback(Drives, Callback):
    """Drive entries of the optimizers' param groups by rules, in any ``Trainer``.

    The loss that feedback rules read is what ``training_step`` returns, averaged over accumulated
    batches and over ranks. With manual optimization call ``observe`` in ``training_step``.

    Args:
        signals: Signal name -> name of a logged metric, for rules that read more than the loss:
            ``{"error": "train_error"}``. A metric counts from its first log on.
        rules: Entry name -> rule, as for `Scheduler`: ``weight_decay=cosine(10_000)``.

    Attributes:
        scheduler: The `Scheduler`, once training has started.

    Raises:
        ValueError: If there is no rule.
        TypeError: If a rule is not one.

    Example:
        >>> from etalambda.schedule import linear
        >>> callback = WeightDecayCallback(weight_decay=linear(1000))
        >>> callback.scheduler is None  # until training starts
        True
    """

    def __init__(self, *, signals: Mapping[str, str] | None = None, **rules: Rule) -> None:
        super().__init__(**rules)
        self._metrics, self._steps = dict(signals or {}), 0

    def observe(self, loss: Any) -> None:
        """Tell the loss of one micro-batch yourself: for manual optimization."""
        self._meter.add(loss)

    def on_train_start(self, trainer: "Trainer", pl_module: "LightningModule") -> None:
        """Build the scheduler: the optimizers exist, and a checkpoint has been restored."""
        self._late.begin(trainer.optimizers)
        self._steps = trainer.global_step

    def on_train_batch_end(
        self,
        trainer: "Trainer",
        pl_module: "LightningModule",
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Tick if the optimizer has stepped; the lr's schedulers have by now."""
        loss = outputs.get("loss") if isinstance(outputs, Mapping) else outputs
        if loss is not None:  # Lightning has divided it by the number of accumulated batches
            self._meter.add(loss * trainer.accumulate_grad_batches)
        if trainer.global_step == self._steps:  # batches are being accumulated
            return
        self._steps = trainer.global_step
        logged = trainer.callback_metrics
        named = {signal: logged[key] for signal, key in self._metrics.items() if key in logged}
        self._late.step(**self._meter.signals(), **named)

    def state_dict(self) -> dict[str, Any]:
        """The scheduler's state, for Lightning's checkpoint."""
        return self._late.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Taken by the scheduler when training starts."""
        self._late.load_state_dict(state_dict)


class MonitorCallback(Watches, Callback):
    """A `Monitor` for a ``Trainer``: it starts with the training, logs, and survives a resume.

    Every row goes to the trainer's loggers, at the row's own step, and to ``sinks``. Steps, K so
    far and the rows travel in Lightning's checkpoints.

    Args:
        when: A predicate on the step count, such as ``every(10)``; None is every step.
        sinks: Further functions of one row, such as a `LivePanel`.
        log: Whether rows go to the trainer's loggers.
        quantities: Name -> function of the list of optimizers, as for `Monitor`.

    Attributes:
        monitor: The `Monitor`, once training has started; it stays readable afterwards.

    Raises:
        TypeError: If a sink is not a function.
        ValueError: When training starts, if a quantity is called ``step`` or ``K``.

    Example:
        >>> from etalambda.diagnose import Panel, every
        >>> callback = MonitorCallback(every(10), panel=Panel(steps=10))
        >>> callback.monitor is None  # until training starts
        True
    """

    def __init__(
        self,
        when: Callable[[int], bool] | None = None,
        *,
        sinks: tuple[Sink, ...] = (),
        log: bool = True,
        **quantities: Quantity,
    ) -> None:
        super().__init__(when, sinks=(*sinks, *([self._log] if log else [])), **quantities)
        self._trainer: Trainer | None = None

    def on_train_start(self, trainer: "Trainer", pl_module: "LightningModule") -> None:
        """Start to measure: the optimizers exist, and a checkpoint has been restored."""
        self._trainer = trainer
        self._late.begin(trainer.optimizers)

    def on_train_end(self, trainer: "Trainer", pl_module: "LightningModule") -> None:
        """Hand over what is still on its way and stop."""
        self._late.end()

    def _log(self, row: dict[str, Any]) -> None:
        numbers = {name: value for name, value in row.items() if name != "step"}
        for logger in self._trainer.loggers if self._trainer is not None else ():
            logger.log_metrics(numbers, step=row["step"])

    def state_dict(self) -> dict[str, Any]:
        """The monitor's state, for Lightning's checkpoint."""
        return self._late.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Taken by the monitor when training starts."""
        self._late.load_state_dict(state_dict)
