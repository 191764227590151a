"""One network trained by its optimizer's own class: T = 1, and what many trials must agree with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from etalambda import optim
from etalambda._common import unknown
from etalambda.diagnose.decay import decay_form, v_mean
from etalambda.lab.engine.masks import Mask, share
from etalambda.lab.engine.schedules import Schedules, second_steps, wrong_share
from etalambda.lab.engine.trials import Classes, Feed, Loss, Snapshot, Trial, everything
from etalambda.theory import budget

CLASSES: dict[str, Callable[..., Optimizer]] = {
    "sgd": torch.optim.SGD,
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "adams": optim.AdamS,
    "sgdw": optim.SGDW,
    "sgds": optim.SGDS,
    "adai": optim.Adai,
    "adais": optim.AdaiS,
    "muon": torch.optim.Muon,
}
"""An optimizer's name -> its class: torch's own where torch has it. Muon is no rule of
`etalambda.optim.functional`: its networks, of matrices only, train one after the other."""


def optimizer_class(name: str) -> Callable[..., Optimizer]:
    """The class of an optimizer: torch's own where torch has it.

    Raises:
        ValueError: If the name is unknown; the message lists the known ones.

    >>> optimizer_class("adamw").__name__
    'AdamW'
    """
    if name not in CLASSES:
        raise unknown("optimizer", name, CLASSES)
    return CLASSES[name]


class One:
    """The state of one trial in training, with the interface of `Many`."""

    def __init__(
        self,
        net: nn.Module,
        trial: Trial,
        feed: Feed,
        loss: Loss,
        optimizer: str,
        steps: int,
        classes: Classes = everything,
        mask: Mask | None = None,
        **hyper: Any,
    ) -> None:
        self.net, self.trial, self.feed, self.loss_of = net, trial, feed, loss
        self.schedules = Schedules([trial], steps)
        self.second = second_steps([trial], self.schedules.weight_decay)
        named = {name: p for name, p in net.named_parameters() if p.requires_grad}
        self.params = list(named.values())
        whole, each = [self.params], [[p] for p in self.params if p.dim() > 1]
        self.spheres = [] if trial.sphere is None else whole if trial.joint else each
        self.radii = [_norm(tensors) * (trial.sphere or 1) for tensors in self.spheres]
        self._project()
        make = optimizer_class(optimizer)
        if self.spheres:  # one-pass forms of an update want weights that nobody else writes
            hyper = hyper | dict(foreach=False)
        parts: dict[str, list[nn.Parameter]] = {"weight_decay": []}
        for name, p in named.items():
            parts.setdefault(classes(name, p), []).append(p)
        self.classes = list(parts)
        self.optimizer = make([dict(params=part) for part in parts.values()], lr=trial.lr, **hyper)
        self.form = decay_form(self.optimizer, self.optimizer.param_groups[0])
        self.own, self.gradients = parts["weight_decay"], []
        self.share = 1.0  # of the entries, that decays
        if mask is not None:
            self._watch()  # before the mask's hook: the step that it sees has no decay yet
            mask.hook(self.optimizer, trial.seed, self.params)
        self.spent, self.loss, self.alive = 0.0, float("nan"), True

    def run(self, every: int) -> Iterator[Snapshot]:
        """Train; a snapshot before the first step, every ``every`` steps, and after the last."""
        steps = len(self.schedules.lr)
        for step in range(steps):
            if step % every == 0:
                yield self.snapshot(step)
            if self.alive:
                self.step(step)
        yield self.snapshot(steps)

    def step(self, step: int) -> None:
        """One update, or two where the trial asks for an M step."""
        x, y = (part[0] for part in self.feed(step))
        outputs = self._move(step, x, y)
        if self.second is not None and self.alive:
            self._move(step, x, y, float(self.second[step]), first=False)
        self._project()
        if self.schedules.has_memory:
            loss, error = self.loss, lambda row: wrong_share(outputs[None], y[None], row)
            self.schedules.see(step, {"loss": lambda row: loss, "error": error}, [self.alive])

    def _move(
        self, step: int, x: Tensor, y: Tensor, scale: float = 1.0, first: bool = True
    ) -> Tensor:
        decays = self.schedules.decays(step)
        for name, each in zip(self.classes, self.optimizer.param_groups):
            each["lr"] = float(self.schedules.lr[step]) * scale
            each["weight_decay"] = float(decays[name]) if name in decays else 0.0
        group = self.optimizer.param_groups[0]
        self.optimizer.zero_grad()
        outputs = self.net(x)
        loss = self.loss_of(outputs[None], y[None])[0]
        loss.backward()
        value = float(loss.detach())
        if first:
            self.loss, self.gradients = value, [p.grad for p in self.own if p.grad is not None]
        self.alive = self.alive and value - value == 0  # False for NaN and infinity
        if self.alive:
            self.optimizer.step()
            self.spent += group["lr"] * group["weight_decay"] * self._gain() * self.share
        return outputs.detach()

    def _watch(self) -> None:
        """Note at every step which share of the entries the mask's K counts."""
        start: list[Tensor] = []

        def before(*_: Any) -> None:
            start[:] = [p.detach().clone()[None] for p in self.own]

        def after(*_: Any) -> None:
            self.share = float(share(start, [p.detach()[None] for p in self.own]))

        self.optimizer.register_step_pre_hook(before)
        self.optimizer.register_step_post_hook(after)

    def _gain(self) -> float:
        mean = v_mean(self.optimizer) if self.form == "stable" else None
        momentum = self.optimizer.param_groups[0].get("momentum", 0.0)
        return budget.gain(self.form, momentum=momentum, v_mean=mean)

    @torch.no_grad()
    def _project(self) -> None:
        for tensors, radius in zip(self.spheres, self.radii):
            scale = radius / _norm(tensors)
            for tensor in tensors:
                tensor.mul_(scale)

    def snapshot(self, step: int) -> Snapshot:
        """The trial after ``step`` updates."""
        last = min(step, len(self.schedules.lr) - 1)
        squares = sum(p.detach().double().square().sum() for p in self.params)
        return Snapshot(
            trials=[self.trial],
            step=step,
            lr=self.schedules.lr[last].clone(),
            weight_decay=self.schedules.weight_decay[last].clone(),
            K=torch.tensor([self.spent], dtype=torch.float64),
            loss=torch.tensor([self.loss], dtype=torch.float64),
            norm=torch.as_tensor(squares).sqrt().reshape(1).cpu(),
            gradient_norm=torch.tensor([_norm(self.gradients)], dtype=torch.float64),
            alive=torch.tensor([self.alive]),
            predict=self._predict,
        )

    @torch.no_grad()
    def _predict(self, x: Tensor) -> Tensor:
        self.net.eval()
        outputs = self.net(x.to(next(self.net.parameters()).device))
        self.net.train()
        return outputs[None]


def _norm(tensors: Sequence[Tensor]) -> float:
    """The joint norm of the tensors; NaN of none."""
    if not tensors:
        return float("nan")
    return float(torch.stack([t.detach().norm() for t in tensors]).norm())
