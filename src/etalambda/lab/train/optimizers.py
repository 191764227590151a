"""The optimizers of a config, by name; each with its groups, those that decay first."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from etalambda import optim
from etalambda._common import need
from etalambda.diagnose import weight_norms
from etalambda.lab.engine.one import CLASSES
from etalambda.lab.train import names
from etalambda.lab.train.config import TrainConfig
from etalambda.optim import SphereHandle, keep_on_sphere
from etalambda.schedule import param_groups

Groups = list[dict[str, Any]]

TORCH_AND_OURS: dict[str, Callable[..., Optimizer]] = CLASSES | {
    "amsgrad": partial(torch.optim.Adam, amsgrad=True),
    "amsgrads": partial(optim.AdamS, amsgrad=True),
    "radam": torch.optim.RAdam,
}
FOREIGN = {"adabound": "AdaBound", "padam": "PAdam", "yogi": "Yogi", "lion": "Lion"}
BETAS = {"adai": (0.1, 0.99), "adais": (0.1, 0.99), "lion": (0.9, 0.99)}


def build_optimizers(config: TrainConfig, model: nn.Module) -> list[Optimizer]:
    """The optimizer, or Muon and AdamW; the first group of the first one decays.

    Raises:
        ValueError: If nothing trains, or Muon finds no hidden matrix.
        ModuleNotFoundError: If an optimizer of pytorch_optimizer is asked for without it.
    """
    if config.optimizer == "muon":
        return _muon(config, model)
    hyper = dict(lr=config.lr, weight_decay=config.weight_decay, **_hyper(config))
    return [_class(config.optimizer)(_groups(config, model), **hyper)]


def _class(name: str) -> Callable[..., Optimizer]:
    if name in TORCH_AND_OURS:
        return TORCH_AND_OURS[name]
    made = getattr(need("pytorch_optimizer", "dev"), FOREIGN[name])
    # Decay as the loss's L2 term, as xie2022 compares them; Lion is decoupled by definition.
    return made if name == "lion" else partial(made, weight_decouple=False)


def _hyper(config: TrainConfig) -> dict[str, Any]:
    """momentum, or betas and eps where they are not the optimizer's own."""
    if config.optimizer in names.SGDS:
        return dict(momentum=config.momentum)
    hyper: dict[str, Any] = {}
    if config.optimizer == "adams" and config.device == "cpu":
        # The fused form carries Σv from step to step and measures it anew when it is saved: then
        # the last bits would tell when a checkpoint was written.
        hyper["foreach"] = True
    if config.beta1 or config.beta2:
        own = BETAS.get(config.optimizer, (0.9, 0.999))
        hyper["betas"] = config.beta1 or own[0], config.beta2 or own[1]
    if config.eps:
        hyper["eps"] = config.eps
    return hyper


def _groups(config: TrainConfig, model: nn.Module) -> Groups:
    if config.decay == "matrices":
        return list(param_groups(model, config.weight_decay))
    free = [p for p in model.parameters() if p.requires_grad]
    if not free:
        raise ValueError(f"model {config.model!r} has nothing that trains")
    return [dict(params=free)]


def _muon(config: TrainConfig, model: nn.Module) -> list[Optimizer]:
    muon, adamw = param_groups(model, config.weight_decay, "muon")
    if not muon:
        raise ValueError(
            f"model {config.model!r} has no hidden matrix of two dimensions for Muon; "
            "take gpt or mlp, or another optimizer"
        )
    first = torch.optim.Muon(muon, lr=config.lr, momentum=config.momentum)
    if not adamw:
        return [first]
    return [first, torch.optim.AdamW(adamw, lr=config.adamw_lr, **_hyper(config))]


def decayed(optimizers: list[Optimizer]) -> list[torch.Tensor]:
    """The tensors that the run is about: those of the first group."""
    return optimizers[0].param_groups[0]["params"]


def put_on_sphere(config: TrainConfig, optimizers: list[Optimizer]) -> SphereHandle | None:
    """Keep the decayed weights at their present norm, together or each tensor."""
    if not config.sphere:
        return None
    per: Any = config.sphere
    norms = weight_norms(optimizers[0], per="tensor")  # of the whole, also where it is sharded
    tensors = [p for p, norm in zip(decayed(optimizers), norms) if norm or per == "all"]
    return keep_on_sphere(optimizers[0], tensors, "initial", per=per)
