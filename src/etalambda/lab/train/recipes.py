"""The recipes of xie2022 and lewkowycz2020 as configs: change a field with `dataclasses.replace`.

Xie et al. 2022, appendix B; Lewkowycz & Gur-Ari 2020, section 3. All parameters decay in them.

Departures from the papers: normalization by channel, as the authors' notebook has it, where the
text says by pixel; λ of AdamW is λ_L2/η, which the text swaps (erratum SWD-B1); BatchNorm of batch
16384 sees parts of 512, because the paper does not say what its batch was split into.
"""

from __future__ import annotations

from typing import Any

from etalambda._common import unknown
from etalambda.lab.train import names
from etalambda.lab.train.config import TrainConfig

L2, MOMENTUM = 5e-4, 0.9
MILESTONES = {"cifar10": (0.4, 0.8), "cifar100": (0.5, 0.75)}


def xie2022_cifar(
    optimizer: str = "sgd", model: str = "resnet18", task: str = "cifar10", *, l2: float = L2
) -> TrainConfig:
    """SWD-B1: batch 128, 200 epochs, lr/10 twice, crop and flip; every optimizer's own lr and λ.

    Args:
        optimizer: SGD and SGDS take lr 0.1 and momentum 0.9, Padam 0.01, the others 1e-3.
        model: resnet18, vgg16-bn, densenet121, googlenet.
        task: cifar10 or cifar100.
        l2: λ_L2 = λ_S; AdamW gets λ_L2/η, SGDW λ_S/(1 - momentum).

    Raises:
        ValueError: For another task.

    Example:
        >>> config = xie2022_cifar("adamw")
        >>> config.lr, config.weight_decay, config.milestones
        (0.001, 0.5, (0.4, 0.8))
    """
    if task not in MILESTONES:
        raise unknown("task", task, MILESTONES)
    lr = 0.1 if optimizer in names.SGDS else 0.01 if optimizer == "padam" else 1e-3
    # AdamW: λ_W = λ_L2/η. SGDW: λ_W = λ_S/(1 - β1), the same decay a step as SGDS (figure 19).
    decay = {"adamw": l2 / lr, "sgdw": l2 / (1 - MOMENTUM)}.get(optimizer, l2)
    steps: dict[str, Any] = dict(lr_schedule="step", milestones=MILESTONES[task], epochs=200.0)
    return TrainConfig(
        task=task,
        model=model,
        optimizer=optimizer,
        lr=lr,
        weight_decay=decay,
        momentum=MOMENTUM,
        decay="all",
        **steps,
    )


def xie2022_large_batch(optimizer: str = "adam") -> TrainConfig:
    """SWD-B2: ResNet-18, batch 16384, λ = 1e-4, lr 1e-3, lr/10 at 0.4 and 0.8 of the run.

    Section 3 and figure 3 of the paper say SGD, its appendix Adam; lr 1e-3 fits Adam.

    >>> xie2022_large_batch().accumulate
    32
    """
    return TrainConfig(
        task="cifar10", model="resnet18", optimizer=optimizer, lr=1e-3, weight_decay=1e-4,
        batch_size=16384, accumulate=32, lr_schedule="step", epochs=200.0, decay="all",
    )  # fmt: skip


def xie2022_penn_treebank(optimizer: str = "adams", weight_decay: float = L2) -> TrainConfig:
    """SWD-B4: two LSTM layers of 512, batch 20, BPTT 35, dropout 0.5, clipped at 1, lr 1e-3.

    >>> xie2022_penn_treebank().context
    35
    """
    return TrainConfig(
        task="ptb", model="lstm", optimizer=optimizer, lr=1e-3, weight_decay=weight_decay,
        batch_size=20, context=35, dropout=0.5, clip=1.0, epochs=200.0, decay="all",
    )  # fmt: skip


def lewkowycz2020_wrn(weight_decay: float = L2, *, budget: float = 0.1) -> TrainConfig:
    """LG-M1 under figure 1a: WRN-28-10, batch 1024, lr 0.2 x 0.2 at 0.3, 0.6, 0.9 of 0.1/λ epochs.

    σ_w = 1, momentum 0.9, crop, flip and mixup, BatchNorm with batch statistics at test.

    >>> lewkowycz2020_wrn(1e-3).epochs
    100.0
    """
    return TrainConfig(
        task="cifar10", model="wrn28-10", lr=0.2, weight_decay=weight_decay, batch_size=1024,
        epochs=budget / weight_decay, lr_schedule="step", milestones=(0.3, 0.6, 0.9), gamma=0.2,
        init="lecun", test_with_batch_statistics=True, mixup=1.0, decay="all",
    )  # fmt: skip


def lewkowycz2020_fc(lr: float, weight_decay: float) -> TrainConfig:
    """LG-M2: 3 x 2048 ReLU, σ_w = √2, 512 MNIST pictures in one batch, 2/(ηλ) epochs.

    >>> lewkowycz2020_fc(lr=0.5, weight_decay=0.5).epochs
    8.0
    """
    return TrainConfig(
        task="mnist", model="lg-fc", lr=lr, weight_decay=weight_decay, momentum=0.0,
        train_size=512, batch_size=512, epochs=2 / (lr * weight_decay), decay="all",
        evaluate_every=max(1.0, 0.01 / (lr * weight_decay)),
    )  # fmt: skip
