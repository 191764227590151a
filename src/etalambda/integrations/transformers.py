"""Hugging Face Trainer: weight decay scheduled, and the run watched, by callbacks.

    Trainer(..., callbacks=[WeightDecayCallback(weight_decay=MatchedAnnealing())])
    Trainer(..., callbacks=[MonitorCallback(every(10), panel=Panel(steps=10))])

The state travels in ``trainer_state.json`` of every checkpoint. For rules that need no loss,
``optimizers=(optimizer, LRSchedulerAdapter(scheduler, lr_scheduler))`` works as well.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from etalambda._common import need
from etalambda.diagnose.rehearsal import unwrapped
from etalambda.integrations._run import Drives, LossMeter, Watches
from etalambda.schedule.rule import Rule

if TYPE_CHECKING:
    from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
else:
    TrainerCallback = need("transformers", "hf").TrainerCallback

# Not a callback's class name, so that the Trainer never builds a callback from it.
_KEY, _MONITOR_KEY = "etalambda", "etalambda.monitor"


class WeightDecayCallback(Drives, TrainerCallback):
    """Drive entries of the optimizer's param groups by rules, in a ``Trainer``.

    The loss that feedback rules read is the one in the model's own output, averaged over
    accumulated batches and over ranks. If your ``compute_loss`` makes another one, call
    ``observe(loss)`` there; then only that counts.

    Args:
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

    def __init__(self, **rules: Rule) -> None:
        super().__init__(**rules)
        self._told = False  # whether observe() was called: the model's own loss then does not count
        self._hook: Any = None

    def observe(self, loss: Any, *, mean: bool = True) -> None:
        """Tell the loss of one micro-batch; ``mean=False`` if it is a share of the step's."""
        if not self._told:
            self._told, self._meter = True, LossMeter()
        self._meter.add(loss, mean=mean)

    def on_train_begin(
        self,
        args: "TrainingArguments",
        state: "TrainerState",
        control: "TrainerControl",
        **kwargs: Any,
    ) -> None:
        """Build the scheduler; the optimizer exists and a checkpoint has been loaded."""
        saved = _stored(state).get(_KEY)
        if saved is not None and state.global_step > 0:
            self._late.load_state_dict(_tuples(saved["attributes"]))
        self._late.begin(kwargs["optimizer"])
        if "loss" in self._late.reads and self._hook is None:
            self._hook = kwargs["model"].register_forward_hook(self._listen, with_kwargs=True)

    def on_step_end(
        self,
        args: "TrainingArguments",
        state: "TrainerState",
        control: "TrainerControl",
        **kwargs: Any,
    ) -> None:
        """Tick if the optimizer has stepped; the lr's scheduler has by now."""
        signals = self._meter.signals()
        if "loss" in self._late.reads and not signals:
            raise ValueError(
                "a rule reads the loss, and the model's output holds none; call "
                "callback.observe(loss) in compute_loss"
            )
        self._late.step(**signals)
        # In the shape the Trainer expects of every entry; it is saved with the step it belongs to.
        _stored(state)[_KEY] = {"args": {}, "attributes": self._late.state_dict()}

    def on_train_end(
        self,
        args: "TrainingArguments",
        state: "TrainerState",
        control: "TrainerControl",
        **kwargs: Any,
    ) -> None:
        """Stop listening to the model."""
        if self._hook is not None:
            self._hook.remove()
            self._hook = None

    def _listen(self, model: Any, args: Any, kwargs: dict[str, Any], output: Any) -> None:
        loss = output.get("loss") if isinstance(output, Mapping) else None
        if model.training and loss is not None and not self._told:
            # The Trainer then has each micro-batch divide by the tokens of the whole step.
            share = kwargs.get("num_items_in_batch") is not None
            self._meter.add(loss, mean=not share)


class MonitorCallback(Watches, TrainerCallback):
    """A `Monitor` for a ``Trainer``: it starts with the training and survives a resume.

    Rows go to ``sinks``, and the newest one into the logs that callbacks after this one see
    (``on_log``), under ``etalambda/``. Steps, K so far and the rows travel in
    ``trainer_state.json``.

    Args:
        when: A predicate on the step count, such as ``every(10)``; None is every step.
        sinks: Functions of one row, such as ``wandb.log`` or a `LivePanel`.
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

    def on_train_begin(
        self,
        args: "TrainingArguments",
        state: "TrainerState",
        control: "TrainerControl",
        **kwargs: Any,
    ) -> None:
        """Start to measure; the optimizer exists and a checkpoint has been loaded."""
        saved = _stored(state).get(_MONITOR_KEY)
        if saved is not None and state.global_step > 0:
            self._late.load_state_dict(saved["attributes"])
        self._late.begin(unwrapped(kwargs["optimizer"]))

    def on_step_end(
        self,
        args: "TrainingArguments",
        state: "TrainerState",
        control: "TrainerControl",
        **kwargs: Any,
    ) -> None:
        """Leave the state for the checkpoint that is about to be written, if one is."""
        if control.should_save:
            _stored(state)[_MONITOR_KEY] = {"args": {}, "attributes": self._late.state_dict()}

    on_epoch_end = on_step_end

    def on_log(
        self,
        args: "TrainingArguments",
        state: "TrainerState",
        control: "TrainerControl",
        **kwargs: Any,
    ) -> None:
        """Add the newest row that has arrived to the logs."""
        if self.monitor is not None and kwargs.get("logs") is not None:
            row = self.monitor.last
            kwargs["logs"].update({f"etalambda/{k}": v for k, v in row.items() if k != "step"})

    def on_train_end(
        self,
        args: "TrainingArguments",
        state: "TrainerState",
        control: "TrainerControl",
        **kwargs: Any,
    ) -> None:
        """Hand over what is still on its way and stop."""
        self._late.end()


def _stored(state: Any) -> dict[str, Any]:
    """What the Trainer keeps for callbacks, by name; its annotation says otherwise."""
    return state.stateful_callbacks


def _tuples(value: Any) -> Any:
    """JSON has no tuples, and rules' states are made of them."""
    if isinstance(value, list):
        return tuple(map(_tuples, value))
    if isinstance(value, dict):
        return {key: _tuples(v) for key, v in value.items()}
    return value
