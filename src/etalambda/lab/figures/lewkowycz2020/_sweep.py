"""Sweeps over lr and λ without momentum: how long until the peak, and how high it is.

A network trains for ``spend / (ηλ)`` steps; λ = 0 for as long as the smallest ηλ. t* is the first
step within half a point of the run's best test accuracy (LG-R1). A run whose best accuracy is below
`TRAINED` has not trained ("larger η, λ won't train at all") and has no t*.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from etalambda.lab.engine import Trial
from etalambda.lab.engine.pool import Tick
from etalambda.lab.engine.training import cross_entropy
from etalambda.lab.experiments.parts import Job, Tables, columns
from etalambda.lab.models import SmallCNN, SmallResNet
from etalambda.lab.models.convnets import fully_connected
from etalambda.lab.reproduce import Bench, Jobs, Recipe
from etalambda.lab.reproduce.classifiers import answers, steps_of
from etalambda.lab.reproduce.pictures import PictureSet
from etalambda.lab.tasks.digits import Digits
from etalambda.suggest import time_to_peak

TRAINED = 0.5
DRAWN = 40  # looks that a curve keeps


@dataclass(frozen=True, kw_only=True)
class Sweep(Recipe):
    """Every lr with every λ, as long as lr · λ is at least ``rate``.

    ``fixed``: steps of the budget that all share. ``nets``: names of `NETS`. ``data``: a picture
    set, its first ``images``; digits without one. ``points``: looks of a run, each at ``looks``
    pictures of a set or all digits. The middle lr is the one of fixed budgets.
    """

    seeds: int
    lrs: tuple[float, ...]
    weight_decays: tuple[float, ...]
    rate: float
    spend: float
    fixed: int
    nets: tuple[str, ...] = ("fc",)
    width: int = 64
    batch_size: int = 50
    label_noise: float = 0.0
    loss: str = "cross_entropy"
    data: str = ""
    images: int = 512
    looks: int = 2000
    points: int = 400

    @property
    def lr(self) -> float:
        """The lr of fixed budgets."""
        return self.lrs[len(self.lrs) // 2]

    def task(self, bench: Bench) -> Any:
        """The digits, or the first pictures of a set."""
        if not self.data:
            return Digits(self.label_noise, self.batch_size, bench.device)
        how = dict(batch_size=self.batch_size, looks=self.looks, device=bench.device)
        return PictureSet(self.data, bench.data, images=self.images, **how)


def halved_squares(outputs: Tensor, targets: Tensor) -> Tensor:
    """½‖f - onehot‖², mean over the batch: (T, B, 10) and (T, B) -> (T,)."""
    wanted = F.one_hot(targets, outputs.shape[-1]).to(outputs)
    return (outputs - wanted).square().sum(-1).mean(-1) / 2


LOSSES = {"cross_entropy": cross_entropy, "mse": halved_squares}


def fc(recipe: Sweep, task: Any) -> Callable[[], nn.Module]:
    """Three hidden layers with ReLU and no biases (LG-M2)."""
    return lambda: fully_connected(task.x["train"][0].numel(), recipe.width)


def cnn(recipe: Sweep, task: Any) -> Callable[[], nn.Module]:
    """Three convolutions, He-normal, without BatchNorm."""

    def make() -> nn.Module:
        net = SmallCNN(recipe.width, shape=_shape(task))
        for i, layer in enumerate(net.features):
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight)
            if isinstance(layer, nn.BatchNorm2d):
                net.features[i] = nn.Identity()
        return net

    return make


def cnn_bn(recipe: Sweep, task: Any) -> Callable[[], nn.Module]:
    """The same with BatchNorm."""
    return lambda: by_batch(SmallCNN(recipe.width, shape=_shape(task)))


def resnet(recipe: Sweep, task: Any) -> Callable[[], nn.Module]:
    """Three residual blocks with BatchNorm."""
    return lambda: by_batch(SmallResNet(recipe.width, shape=_shape(task)))


def by_batch(net: nn.Module) -> nn.Module:
    """The network with BatchNorm by the batch at test time too, as the paper's library has it."""
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.track_running_stats = False
            module.running_mean = module.running_var = module.num_batches_tracked = None
    return net


def _shape(task: Any) -> tuple[int, int, int]:
    """Channels, height and width of a picture; digits come as rows."""
    shape = tuple(task.x["train"].shape[1:])
    return (1, 8, 8) if len(shape) == 1 else shape


NETS: dict[str, Callable[[Sweep, Any], Callable[[], nn.Module]]] = {
    "fc": fc,
    "cnn": cnn,
    "cnn-bn": cnn_bn,
    "resnet": resnet,
}


def measure(recipe: Sweep, bench: Bench) -> list[Jobs]:
    """One part a network and ηλ, all lrs and seeds with it; λ = 0 beside the smallest."""
    pairs = [(lr, decay) for lr in recipe.lrs for decay in recipe.weight_decays]
    by_rate: dict[float, list[tuple[float, float]]] = {}
    for lr, decay in pairs:
        rate = float(f"{lr * decay:.2g}")
        if rate >= 0.99 * recipe.rate:
            by_rate.setdefault(rate, []).append((lr, decay))
    by_rate[min(by_rate)].append((recipe.lr, 0.0))
    ways = [(net, rate) for rate in sorted(by_rate) for net in recipe.nets]
    return [{f"{n}.rate={rate:g}": _job(recipe, bench, n, rate, by_rate[rate]) for n, rate in ways}]


def _job(
    recipe: Sweep, bench: Bench, net: str, rate: float, pairs: Sequence[tuple[float, float]]
) -> Job:
    trials = [Trial(seed, lr, decay) for lr, decay in pairs for seed in range(recipe.seeds)]
    steps = round(recipe.spend / rate)

    def job(tick: Tick) -> Tables:
        task = recipe.task(bench)
        seen = looked(
            NETS[net](recipe, task),
            task,
            trials,
            steps=steps,
            every=max(1, steps // recipe.points),
            tick=tick,
            loss=LOSSES[recipe.loss],
        )
        runs = summed_up(seen, trials, recipe.fixed) | dict(net=np.repeat(net, len(trials)))
        ours = [i for i, trial in enumerate(trials) if trial.lr == recipe.lr]
        tables = {"runs": runs | {"net": runs["net"].astype(object)}}
        return tables | ({"curves": columns(_curves(seen, trials, ours, net))} if ours else {})

    return job


def looked(
    make: Callable[[], nn.Module], task: Any, trials: Sequence[Trial], **run: Any
) -> dict[str, np.ndarray]:
    """``step`` (looks,), and ``test``, ``train`` accuracy and train ``loss``, (looks, T)."""
    rows: dict[str, list[Any]] = {name: [] for name in ("step", "test", "train", "loss")}
    loss = run.get("loss", cross_entropy)
    for look in steps_of(make, task, trials, **run):
        rows["step"].append(look.seen.step)
        for part in ("test", "train"):
            outputs, labels = answers(look, task.x[part]), task.y[part]
            rows[part].append((outputs.argmax(-1) == labels).double().mean(-1).cpu().numpy())
        value = loss(outputs, labels.expand(len(trials), -1))
        rows["loss"].append(torch.nan_to_num(value.double(), nan=np.inf).cpu().numpy())
    return {name: np.array(values) for name, values in rows.items()}


def summed_up(
    seen: Mapping[str, np.ndarray], trials: Sequence[Trial], fixed: int
) -> dict[str, np.ndarray]:
    """One row a run: t*, the peak, the best within ``fixed`` steps, and when training ended.

    ``fitted`` is the first step with training accuracy 1, ``turned`` that of the lowest loss.
    """
    step, early = seen["step"], seen["step"] <= fixed
    rows = []
    for i, trial in enumerate(trials):
        test, train, loss = seen["test"][:, i], seen["train"][:, i], seen["loss"][:, i]
        fitted = np.flatnonzero(train == 1)
        trained = test.max() >= TRAINED
        rows.append(
            dict(
                seed=trial.seed,
                lr=trial.lr,
                weight_decay=trial.weight_decay,
                steps=step[-1],
                peak=test.max(),
                last=test[-1],
                within=test[early].max(),
                t_star=time_to_peak(step.tolist(), test.tolist()) if trained else np.nan,
                fitted=step[fitted[0]] if fitted.size else np.nan,
                at_fit=test[fitted[0]] if fitted.size else np.nan,
                turned=step[loss.argmin()],
                lowest=loss.min(),
                loss=loss[-1],
            )
        )
    return columns(rows)


def _curves(
    seen: Mapping[str, np.ndarray], trials: Sequence[Trial], ours: Sequence[int], net: str
) -> list[dict[str, Any]]:
    """Means over seeds at the middle lr, some looks of each λ, evenly on a log axis."""
    count = len(seen["step"])
    kept = np.unique(np.geomspace(1, count, DRAWN).round().astype(int)) - 1
    rows = []
    for decay in sorted({trials[i].weight_decay for i in ours}):
        with_it = [i for i in ours if trials[i].weight_decay == decay]
        row: dict[str, Any] = dict(net=np.repeat(net, len(kept)).astype(object))
        row |= dict(weight_decay=decay, step=seen["step"][kept])
        rows.append(row | {k: seen[k][kept][:, with_it].mean(1) for k in ("test", "train", "loss")})
    return rows
