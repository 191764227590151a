"""The parts of a run put together, and one step of it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from etalambda.lab.train.config import TrainConfig
from etalambda.lab.train.distributed import Ranks
from etalambda.lab.train.losses import build_loss, evaluate, wrong
from etalambda.lab.train.measure import Rows
from etalambda.lab.train.models import build_model, load_state_of, reset_state_of, state_of
from etalambda.lab.train.optimizers import build_optimizers, put_on_sphere
from etalambda.lab.train.schedules import Schedules
from etalambda.lab.train.tasks import Batch, build_task

AMP = {"": None, "bf16": torch.bfloat16, "fp16": torch.float16}


class Training:
    """A run between two steps: everything that a checkpoint has to hold.

    Attributes:
        task, model, optimizers, schedules, rows: The parts; ``model`` is the bare network.
        step, steps: Updates done, and in all.
        alive: False once the loss has stopped being finite.
    """

    def __init__(self, config: TrainConfig, ranks: Ranks) -> None:
        self.config, self.ranks, self.device = config, ranks, ranks.device
        self.task = build_task(config, self.device)
        self.steps = config.steps or max(1, round(config.epochs * self.task.steps_per_epoch))
        self.model = build_model(config, self.task)
        if config.channels_last:
            self.model = self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.net: Any = ranks.wrap(self.model)
        self.optimizers = build_optimizers(config, self.model)
        self.sphere = put_on_sphere(config, self.optimizers)
        self.schedules = Schedules(config, self.optimizers, self.steps, ranks.group)
        self.average = _average(config, self.model)
        if config.compile:
            self.net = torch.compile(self.net)
        self.loss_of = build_loss(config, self.task.classes)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=config.amp == "fp16")
        self.step, self.alive = 0, True
        self.seconds = self.cpu_seconds = 0.0  # of this and of earlier tries
        self.loss = self.error = torch.tensor(math.nan)
        self.rows = Rows(self.optimizers, self.row_due, lambda: self.loss, self.epoch_steps)
        torch.manual_seed(config.seed + 1_000_003 * ranks.rank)  # dropout

    @property
    def epoch_steps(self) -> int:
        """Optimizer steps of one pass over the data."""
        return self.task.steps_per_epoch

    def row_due(self, step: int) -> bool:
        """Whether a row of metrics is taken of this step."""
        return step % self.config.monitor_every == 0 or step in (1, self.steps)

    def evaluation_due(self) -> bool:
        """Whether the step just taken ends a period of evaluation, or the run."""
        period = max(1, round(self.config.evaluate_every * self.epoch_steps))
        return self.step % period == 0 or self.step == self.steps

    def batches(self) -> Iterator[Batch]:
        """The batches still to come, from where the run stands."""
        while self.step < self.steps and self.alive:
            epoch, start = divmod(self.step, self.epoch_steps)
            if start == 0:
                reset_state_of(self.model)
            for batch in self.task.epoch(self.config.seed, epoch, start):
                yield batch
                if self.step >= self.steps or not self.alive:
                    return

    def advance(self, batch: Batch) -> None:
        """One update from one batch."""
        self.model.train()
        x, y, weight = self.ranks.share(self._laid_out(batch))
        gradients = partial(self._gradients, x, y, weight)
        if self.schedules.two_step is not None:
            self.schedules.two_step.step(gradients, error=lambda: float(self.error))
        else:
            gradients()
            for optimizer in self.optimizers:
                self.scaler.step(optimizer)
            self.scaler.update()
        signals = dict(loss=lambda: float(self.loss), error=lambda: float(self.error))
        self.schedules.step(signals)
        if self.average is not None and self.step >= self.config.swa * self.steps:
            self.average.update_parameters(self.model)
        self.step += 1
        self.rows.advance()
        if self.row_due(self.step) or self.evaluation_due():
            self.alive = math.isfinite(float(self.loss))

    def _gradients(self, x: Tensor, y: Tensor, weight: float) -> Tensor:
        """Gradients of the mean loss over the whole batch, piece by piece; returns that loss."""
        for optimizer in self.optimizers:
            optimizer.zero_grad()
        pieces = list(zip(*(part.chunk(self.config.accumulate) for part in (x, y))))
        loss, error = torch.zeros(2, device=self.device)
        for number, (x_piece, y_piece) in enumerate(pieces, start=1):
            share = weight * len(x_piece) / len(x)
            with self.ranks.last_piece(self.net, number == len(pieces)):
                with self.autocast():
                    outputs = self.net(x_piece)
                piece = share * self.loss_of(outputs, y_piece)
                self.scaler.scale(piece).backward()
            loss += piece.detach()
            if self.config.weight_decay_schedule == "autol2":  # which alone reads it
                error += share * wrong(outputs.detach(), y_piece).float().mean()
        if self.config.clip:
            self._clip(self.config.clip)
        self.loss, self.error = self.ranks.mean(loss), error
        return self.loss

    def _clip(self, most: float) -> None:
        for optimizer in self.optimizers:
            self.scaler.unscale_(optimizer)
        params = [p for p in self.model.parameters() if p.grad is not None]
        torch.nn.utils.clip_grad_norm_(params, most)

    def autocast(self) -> torch.autocast:
        """Low precision where the config asks for it."""
        dtype = AMP[self.config.amp]
        return torch.autocast(self.device.type, dtype=dtype, enabled=dtype is not None)

    def evaluate(self) -> dict[str, float]:
        """Error and cross-entropy of every split, now; of the averaged weights where there are."""
        found = {}
        average = self.average if self.average is not None and self.average.n_averaged else None
        for prefix, net in (("", self.net), ("average_", average)):
            for split in self.task.splits if net is not None else ():
                error, loss = self._evaluated(net, split)
                found |= {f"{prefix}{split}_error": error, f"{prefix}{split}_loss": loss}
        self.rows.evaluated(found)
        return found

    def _evaluated(self, net: Any, split: str) -> tuple[float, float]:
        carried = state_of(self.model)
        reset_state_of(net)
        net.eval()
        with self.autocast():
            error, loss = evaluate(net, map(self._laid_out, self.task.evaluation(split)))
        load_state_of(self.model, carried)
        return error, loss

    def _laid_out(self, batch: Batch) -> Batch:
        x, y = batch
        if self.config.channels_last and x.dim() == 4:
            x = x.contiguous(memory_format=torch.channels_last)
        return x, y

    def weights(self) -> dict[str, Tensor]:
        """The network's tensors, whole; every rank must call it."""
        if not self.ranks.sharded:
            return self.model.state_dict()
        from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict

        whole = StateDictOptions(full_state_dict=True, cpu_offload=True)
        found: Any = get_model_state_dict(self.model, options=whole)
        return found

    def state_dict(self) -> dict[str, Any]:
        """All but the weights and the optimizers: plain numbers and small tensors."""
        return dict(
            step=self.step,
            alive=self.alive,
            seconds=self.seconds,
            cpu_seconds=self.cpu_seconds,
            schedules=self.schedules.state_dict(),
            rows=self.rows.state_dict(),
            scaler=self.scaler.state_dict(),
            carried=state_of(self.model),
        )

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on; after weights and optimizers are loaded."""
        for name in ("step", "alive", "seconds", "cpu_seconds"):
            setattr(self, name, state[name])
        self.schedules.load_state_dict(state["schedules"])
        self.rows.load_state_dict(state["rows"])
        if state["scaler"]:
            self.scaler.load_state_dict(state["scaler"])
        load_state_of(self.model, state["carried"])


def _average(config: TrainConfig, model: torch.nn.Module) -> AveragedModel | None:
    """Averaged weights, BatchNorm's running statistics included."""
    if config.ema:
        mean = get_ema_multi_avg_fn(config.ema)
        return AveragedModel(model, multi_avg_fn=mean, use_buffers=True)
    return AveragedModel(model, use_buffers=True) if config.swa else None
