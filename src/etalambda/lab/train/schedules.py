"""The schedules of a config: shapes and feedback by one driver, couplings by a tie."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

from torch.optim import Optimizer

from etalambda import schedule
from etalambda.lab.train import names
from etalambda.lab.train.config import TrainConfig
from etalambda.schedule import AutoL2, MatchedAnnealing, Scheduler, TwoStepAnnealing, tie
from etalambda.schedule.rule import Rule


def shape(
    name: str, steps: int, milestones: tuple[float, ...] = (0.4, 0.8), gamma: float = 0.1
) -> Rule:
    """A shape over ``steps`` steps by its name.

    >>> [round(shape("step", 10)(step), 3) for step in (0, 4, 8)]
    [1.0, 0.1, 0.01]
    """
    made: dict[str, Callable[[], Rule]] = {
        "constant": lambda: schedule.constant(1.0),
        "linear": lambda: schedule.linear(steps),
        "cosine": lambda: schedule.cosine(steps),
        "cosine-restarts": lambda: _restarts(steps),
        "polynomial": lambda: schedule.polynomial(steps, power=2.0),
        "step": lambda: schedule.multi_step([share * steps for share in milestones], gamma),
        "trapezoid": lambda: schedule.trapezoid(steps),
    }
    return made[name]()


def _restarts(steps: int) -> Rule:
    """Four cosines, each twice as long as the last, fill the run: T0 = 14, Tmul = 2 of xie2022's
    figure 17 for 210 epochs."""
    first = steps / 15
    starts = [round(first * (2**n - 1)) for n in range(1, 4)]
    return schedule.join([schedule.cosine(first * 2**n) for n in range(4)], starts)


def lr_rule(config: TrainConfig, steps: int) -> Rule | None:
    """The lr's factor over the run, warm-up included; None if it is constant."""
    rules: list[Rule] = []
    if config.warmup:
        length = config.warmup * steps if config.warmup < 1 else config.warmup
        rules.append(schedule.warmup(length, start=1 / (length + 1)))
    if config.lr_schedule != "constant":
        rules.append(shape(config.lr_schedule, steps, config.milestones, config.gamma))
    return schedule.times(*rules) if len(rules) > 1 else rules[0] if rules else None


def weight_decay_rule(config: TrainConfig, steps: int) -> Rule | None:
    """The weight decay's factor over the run; None if it is constant, tied or off."""
    name = config.weight_decay_schedule
    if not config.weight_decay or name == "constant" or name in names.COUPLINGS:
        return None
    if name == "matched-annealing":
        return MatchedAnnealing()
    if name == "autol2":
        return AutoL2()
    milestones = config.weight_decay_milestones or config.milestones
    return shape(name, steps, milestones, config.weight_decay_gamma or config.gamma)


class Schedules:
    """What moves lr and weight decay during a run.

    Args:
        config: Names and numbers.
        optimizers: Whose groups are driven; their values now are the base values.
        steps: Of the run.
        process_group: Over whose ranks a signal is averaged.
    """

    def __init__(
        self, config: TrainConfig, optimizers: list[Optimizer], steps: int, process_group: Any
    ) -> None:
        name, decays = config.weight_decay_schedule, config.weight_decay > 0
        self.tie = tie(optimizers, name) if name in names.COUPLINGS and decays else None
        lr, weight_decay = lr_rule(config, steps), weight_decay_rule(config, steps)
        self.two_step = None
        if config.two_step:
            rule = weight_decay or schedule.constant(1.0)
            variant: Any = config.two_step
            self.two_step = TwoStepAnnealing(optimizers[0], rule, variant=variant)
            weight_decay = None
        rules = dict(lr=lr, weight_decay=weight_decay)
        given: dict[str, Any] = {entry: rule for entry, rule in rules.items() if rule is not None}
        self.driver = None
        if given:
            self.driver = Scheduler(
                optimizers, clock="optimizer", process_group=process_group, **given
            )

    def step(self, signals: Mapping[str, Callable[[], float]]) -> None:
        """A tick, after the optimizer's step."""
        if self.driver is not None:
            self.driver.step(**signals)

    def state_dict(self) -> dict[str, Any]:
        """Plain numbers."""
        parts = dict(driver=self.driver, two_step=self.two_step)
        return {name: part.state_dict() for name, part in parts.items() if part is not None}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on; after the optimizers' own load."""
        for name, saved in state.items():
            cast("Scheduler", getattr(self, name)).load_state_dict(saved)
