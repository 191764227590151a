"""Train trials: many at once, in chunks that fit the memory; one by its optimizer's own class."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from etalambda._common import unknown
from etalambda.lab.engine.many import Many
from etalambda.lab.engine.masks import Mask
from etalambda.lab.engine.one import CLASSES, One
from etalambda.lab.engine.trials import Batches, Classes, Loss, Snapshot, Trial, everything
from etalambda.lab.models.stacked import Stacked, seeded
from etalambda.optim import functional
from etalambda.theory import budget


def cross_entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy of each trial: (T, B, ..., C) and (T, B, ...) -> (T,).

    >>> cross_entropy(torch.zeros(2, 5, 10), torch.zeros(2, 5, dtype=torch.long))
    tensor([2.3026, 2.3026])
    """
    flat = F.cross_entropy(outputs.flatten(0, -2), targets.flatten(), reduction="none")
    return flat.view(len(targets), -1).mean(1)


def train(
    make: Callable[[], nn.Module],
    batches: Batches,
    trials: Sequence[Trial],
    *,
    optimizer: str,
    steps: int,
    every: int,
    loss: Loss = cross_entropy,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
    chunk: int | None = None,
    classes: Classes = everything,
    mask: Mask | None = None,
    **hyper: Any,
) -> Iterator[Snapshot]:
    """Train every trial for ``steps`` steps, all together; alone, a trial takes its own optimizer.

    Args:
        make: Builds one network; called once a seed, under that seed.
        batches: The feed of a list of trials: step -> inputs and targets, (T, B, ...).
        trials: Any number, of any lr, weight_decay and schedules; one optimizer for all.
        optimizer: A name of `etalambda.optim.functional.RULES`, or "muon", which has no rule there:
            its trials go one after the other.
        steps: Updates.
        every: Steps between two snapshots.
        loss: One loss a trial, from outputs and targets.
        device, dtype: Of the networks.
        chunk: How many to train together; None is as many as a quarter of the free memory holds.
            1 is one after the other, which is faster where a layer has no fast path for many, as
            attention on a CPU.
        classes: Name and tensor of a parameter -> whose weight decay it takes: ``weight_decay``,
            a name in a trial's ``decays``, or any other for none. `matrices` leaves out biases and
            gains. K and gradient_norm are those of the tensors that take ``weight_decay``.
        mask: Which entries decay: `CAUTIOUS`, or `AT_RANDOM` as its control. None is all.
        hyper: What else the optimizer takes, by torch's names: ``momentum``, ``betas``, ``eps``.

    Yields:
        Snapshots of each chunk in turn: before its first step, every ``every`` steps, at its end.

    Raises:
        ValueError: For no trials, steps or every below 1, an unknown optimizer, a mask where decay
            is not decoupled or a trial has a second step.

    Example:
        >>> x, y = torch.randn(1, 8, 3), torch.zeros(1, 8, dtype=torch.long)
        >>> def batches(trials):
        ...     return lambda step: (x.expand(len(trials), 8, 3), y.expand(len(trials), 8))
        >>> trials = [Trial(seed=0, lr=lr) for lr in (0.01, 0.1, 1.0)]
        >>> for seen in train(lambda: nn.Linear(3, 2), batches, trials, optimizer="sgd", steps=9,
        ...                   every=9):
        ...     print(seen.step, seen.loss.argsort(descending=True).tolist())
        0 [0, 1, 2]
        9 [0, 1, 2]
    """
    if not trials:
        raise ValueError("trials is empty; pass at least one")
    for name, value in dict(steps=steps, every=every).items():
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")
    if optimizer not in CLASSES:
        raise unknown("optimizer", optimizer, CLASSES)
    if mask is not None:
        _check_maskable(optimizer, trials)
    where: dict[str, Any] = dict(device=device, dtype=dtype)
    alone = len(trials) == 1 or optimizer not in functional.RULES
    size = 1 if alone else chunk or chunk_size(make, batches, trials, device)
    for start in range(0, len(trials), size):
        part = trials[start : start + size]
        about = (part, batches(part), loss, optimizer, steps, classes, mask)
        if size == 1:
            net = seeded(make, part[0].seed).to(**where)
            yield from One(net, part[0], *about[1:], **hyper).run(every)
        else:
            nets = Stacked.build(make, [trial.seed for trial in part], **where)
            yield from Many(nets, *about, **hyper).run(every)


def _check_maskable(optimizer: str, trials: Sequence[Trial]) -> None:
    if budget.form(optimizer) != "plain":
        raise ValueError(
            f"mask needs decay of its own, and {optimizer!r} has it in the gradient or scaled; "
            "take adamw or sgdw"
        )
    if any(trial.two_step is not None for trial in trials):
        raise ValueError("mask and two_step do not go together: a mask is drawn once a step")


def chunk_size(
    make: Callable[[], nn.Module],
    batches: Batches,
    trials: Sequence[Trial],
    device: str | torch.device = "cpu",
) -> int:
    """How many trials to train together: a quarter of the free memory, in equal chunks.

    A trial is counted as 12 copies of its weights (two moments, gradient, temporaries of the
    update) and 6 copies of its batch and of every layer's output.

    >>> from etalambda.lab.models import MLP
    >>> from etalambda.lab.tasks import Digits
    >>> trials = [Trial(seed=seed, lr=0.1) for seed in range(8)]
    >>> chunk_size(MLP, Digits().batches, trials)  # networks as small as these all fit
    8
    """
    net = seeded(make, trials[0].seed)
    x = batches(trials[:1])(0)[0][0]
    weights = sum(p.numel() for p in net.parameters())
    outputs = _activations(net, x.to("cpu"))
    each = 4 * (12 * weights + 6 * (x.numel() + outputs))
    most = max(1, free_memory(device) // 4 // each)
    chunks = -(-len(trials) // most)
    return -(-len(trials) // chunks)


def _activations(net: nn.Module, x: Tensor) -> int:
    """Elements of all outputs of a network's modules on one batch."""
    counts = []
    hooks = [
        module.register_forward_hook(lambda _m, _i, out: counts.append(out.numel()))
        for module in net.modules()
    ]
    with torch.no_grad():
        net(x.to(next(net.parameters()).dtype) if x.is_floating_point() else x)
    for hook in hooks:
        hook.remove()
    return sum(counts)


def free_memory(device: str | torch.device = "cpu") -> int:
    """Bytes that are free on the device; 4 GiB where the system does not say."""
    if torch.device(device).type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):
        return 4 << 30
