"""Many networks trained at once: one tensor a parameter, (T, *shape), one update rule under vmap.

The idea: a small network leaves a processor idle, because calling a kernel costs more than running
it. T networks of one shape run as one: a batched product, one backward of the summed losses (the
gradient of a sum of independent losses is each trial's own gradient), one vmapped update with an
lr and a weight_decay a trial.

A trial whose loss stops being finite keeps its last weights (`torch.where`) and touches no other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.func import vmap

from etalambda.lab.engine.masks import Mask, decayed, share
from etalambda.lab.engine.schedules import Schedules, second_steps, wrong_share
from etalambda.lab.engine.trials import Classes, Feed, Loss, Snapshot, Trial, everything
from etalambda.lab.models.stacked import Stacked
from etalambda.optim import functional
from etalambda.theory import budget


class Many:
    """The state of T trials in training; `run` steps it and yields snapshots.

    Args:
        nets: T networks, stacked; their tensors are replaced, not changed.
        trials: T trials.
        feed: Step -> (T, B, ...) inputs and targets.
        loss: (outputs, targets) -> (T,).
        optimizer: A name of `etalambda.optim.functional.RULES`.
        steps: Updates of the run.
        classes: Whose weight decay each tensor takes.
        mask: Which entries decay; None is all.
        hyper: What else the rule takes: ``momentum``, ``betas``, ...
    """

    def __init__(
        self,
        nets: Stacked,
        trials: Sequence[Trial],
        feed: Feed,
        loss: Loss,
        optimizer: str,
        steps: int,
        classes: Classes = everything,
        mask: Mask | None = None,
        **hyper: Any,
    ) -> None:
        self.nets, self.trials, self.feed, self.loss_of = nets, trials, feed, loss
        self.optimizer, self.hyper, self.mask = optimizer, hyper, mask
        self.form = budget.form(optimizer)
        self.schedules = Schedules(trials, steps)
        self.second = second_steps(trials, self.schedules.weight_decay)
        self._place(nets.params[0])
        self.radii, self.joint = self._radii(nets.params)
        nets.params = self._projected(nets.params)
        self.state = functional.init(optimizer, nets.params)
        if self.second is not None:  # two updates a step for some: a count for each trial
            self.state["step"] = self.state["step"].expand(len(trials)).clone()
        self.classes = [classes(name, p[0]) for name, p in zip(nets.names, nets.params)]
        self.gradients = [p.new_full((len(p), 1), float("nan")) for p in self._own(nets.params)]
        self.update = _vmapped(functional.RULES[optimizer], self.state, self.classes, hyper)

    def _place(self, like: Tensor) -> None:
        """What is kept a trial: alive and loss beside the weights, K on the CPU in float64."""
        count = len(self.trials)
        self.alive = torch.ones(count, dtype=torch.bool, device=like.device)
        self.losses = torch.full((count,), float("nan"), device=like.device)
        self.spent = torch.zeros(count, dtype=torch.float64)
        self.all_alive = True

    def run(self, every: int) -> Iterator[Snapshot]:
        """Train; a snapshot before the first step, every ``every`` steps, and after the last."""
        steps = len(self.schedules.lr)
        for step in range(steps):
            if step % every == 0:
                yield self.snapshot(step)
            self.step(step)
        yield self.snapshot(steps)

    def step(self, step: int) -> None:
        """One update of every living trial; two where the trial asks for an M step."""
        lr = self.schedules.lr[step]
        x, y = self.feed(step)
        outputs = self._move(step, x, y, lr)
        if self.second is not None:
            with_m = torch.tensor([trial.two_step is not None for trial in self.trials])
            self._move(step, x, y, lr * self.second[step], with_m)
        self.nets.params = self._projected(self.nets.params)
        if self.schedules.has_memory:
            losses, alive = self.losses.tolist(), self.alive.tolist()
            signals = {
                "loss": lambda row: losses[row],
                "error": lambda row: wrong_share(outputs, y, row),
            }
            self.schedules.see(step, signals, alive)

    def _move(
        self, step: int, x: Tensor, y: Tensor, lr: Tensor, only: Tensor | None = None
    ) -> Tensor:
        """One gradient and one update, of all trials or those in ``only``; the outputs before."""
        params, buffers = self.nets.params, self.nets.buffers
        if only is not None or not self.all_alive:  # the forward pass changes buffers in place
            buffers = {name: b.clone() for name, b in buffers.items()}
        leaves = [p.detach().requires_grad_() for p in params]
        outputs = self.nets(leaves, x)
        losses = self.loss_of(outputs, y)
        grads = list(torch.autograd.grad(losses.sum(), leaves))
        if only is None:
            self.gradients = self._own(grads)
        moving = self._moving(losses.detach(), only)
        decays = self.schedules.decays(step)
        rate = lr * decays["weight_decay"]
        lr, decays = lr.to(params[0]), {name: each.to(params[0]) for name, each in decays.items()}
        new, state = self.update(params, grads, self.state, lr, {} if self.mask else decays)
        if self.mask is not None:
            rate = rate * share(self._own(params), self._own(new))
            rates = [lr * decays[name] if name in decays else None for name in self.classes]
            seeds = [trial.seed for trial in self.trials]
            new = decayed(self.mask, params, new, rates, seeds, step)
        if moving is not None:
            new = _where(moving, new, params)
            state = {n: _where(moving, state[n], self.state[n]) for n in state}
            now = self.nets.buffers
            self.nets.buffers = {n: _where(moving, now[n], old) for n, old in buffers.items()}
        self.nets.params = new
        self.state = self.state | {"step": self.state["step"] + 1} | state
        rate = rate * self._gain()
        self.spent += rate if moving is None else torch.where(moving.cpu(), rate, 0.0)
        return outputs.detach()

    def _own(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Those of a list over all tensors that take the trials' ``weight_decay``."""
        return [t for t, name in zip(tensors, self.classes) if name == "weight_decay"]

    def _moving(self, losses: Tensor, only: Tensor | None) -> Tensor | None:
        """Which trials this update moves, None for all; trials with a broken loss die here."""
        self.alive = self.alive & losses.isfinite()
        self.all_alive = bool(self.alive.all())
        if only is None:
            self.losses = losses
            return None if self.all_alive else self.alive
        return only.to(losses.device) & self.alive

    def _gain(self) -> Tensor | float:
        """What multiplies lr · weight_decay to give the decay rate; AdamS reads its v̄ (11)."""
        if self.form != "stable":
            return budget.gain(self.form, momentum=self.hyper.get("momentum", 0.0))
        beta2 = self.hyper.get("betas", (0.9, 0.999))[1]
        squares = self.state["exp_avg_sq"]
        sums = torch.stack([v.flatten(1).sum(1, dtype=torch.float64) for v in squares]).sum(0)
        v_mean = (sums / self.nets.count).cpu() / (1 - beta2 ** self.state["step"].cpu())
        return torch.where(v_mean > 0, v_mean ** -self.hyper.get("power", 0.5), 0.0)

    def _radii(self, params: list[Tensor]) -> tuple[list[Tensor | None], Tensor | None]:
        """The norm that each matrix is kept at, and that of all tensors together.

        Each is (T,), NaN for trials that are free of it, or None if all are.
        """

        def multiples(joint: bool) -> Tensor | None:
            ours = [t.sphere if t.joint == joint else None for t in self.trials]
            if all(each is None for each in ours):
                return None
            numbers = [float("nan") if each is None else each for each in ours]
            return torch.tensor(numbers, device=params[0].device, dtype=params[0].dtype)

        each, together = multiples(False), multiples(True)
        radii: list[Tensor | None] = [None] * len(params)
        if each is not None:
            radii = [each * _norms([p]) if p.dim() > 2 else None for p in params]
        return radii, None if together is None else together * _norms(params)

    def _projected(self, params: list[Tensor]) -> list[Tensor]:
        if self.joint is not None:
            params = _scaled(params, self.joint)
        return [p if r is None else _scaled([p], r)[0] for p, r in zip(params, self.radii)]

    def snapshot(self, step: int) -> Snapshot:
        """The trials after ``step`` updates."""
        params, last = self.nets.params, min(step, len(self.schedules.lr) - 1)
        squares = sum(p.flatten(1).double().square().sum(1) for p in params)
        assert isinstance(squares, Tensor)
        return Snapshot(
            trials=self.trials,
            step=step,
            lr=self.schedules.lr[last].clone(),
            weight_decay=self.schedules.weight_decay[last].clone(),
            K=self.spent.clone(),
            loss=self.losses.double().cpu(),
            norm=squares.sqrt().cpu(),
            gradient_norm=_norms(self.gradients).double().cpu(),
            alive=self.alive.cpu(),
            predict=self._predict,
        )

    @torch.no_grad()
    def _predict(self, x: Tensor) -> Tensor:
        first = self.nets.params[0]
        x = x.to(first.device).expand(len(first), *x.shape)
        return self.nets(self.nets.params, x, training=False)


def _vmapped(
    rule: Callable[..., Any], state: dict[str, Any], classes: list[str], hyper: dict[str, Any]
) -> Any:
    """The rule with a trial dimension before everything but a ``step`` that all trials share.

    It takes the weight decay of every class by name; a class that is not there does not decay.
    """
    shared = {"step"} if state["step"].dim() == 0 else set()
    dims = {name: None if name in shared else 0 for name in state}

    def one(params: Any, grads: Any, state: Any, lr: Tensor, decays: dict[str, Tensor]) -> Any:
        each: Any = [decays.get(name, 0.0) for name in classes]
        decay = each[0] if len(set(classes)) == 1 else each
        params, new = rule(params, grads, state, lr=lr, weight_decay=decay, **hyper)
        return params, {name: new[name] for name in new if name not in shared}

    return torch.no_grad()(vmap(one, in_dims=(0, 0, dims, 0, 0)))


def _where(moving: Tensor, new: Any, old: Any) -> Any:
    """New rows where a trial moves, old ones elsewhere; of a tensor or a list of them."""
    if isinstance(new, list):
        return [_where(moving, n, o) for n, o in zip(new, old)]
    return torch.where(moving.view(-1, *[1] * (new.dim() - 1)), new, old)


def _norms(params: list[Tensor]) -> Tensor:
    """The joint norm of each trial's tensors, (T,)."""
    return torch.stack([p.flatten(1).norm(dim=1) for p in params]).norm(dim=0)


def _scaled(params: list[Tensor], radius: Tensor) -> list[Tensor]:
    """Each trial's tensors at this joint norm; as they are where it is NaN."""
    norm = _norms(params)
    scale = torch.where(radius.isnan() | (norm == 0), 1.0, radius / norm)
    return [p * scale.view(-1, *[1] * (p.dim() - 1)) for p in params]
