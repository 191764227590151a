"""What each trainable tensor of a model is: a matrix, a norm's gain, a bias, an embedding, ...

The answer comes from the type of the module that owns the tensor and from the tensor's shape.
Names decide in one case only: a bare ``A_log`` marks a state-space module, because nothing else
sets its two-dimensional ``A_log`` apart from a weight matrix. What a model declares itself wins:
``_no_weight_decay`` or ``_optim`` on a parameter, and a ``no_weight_decay()`` method that names
some (timm).

    matrix       weights of Linear, Bilinear, recurrent and attention layers; any other tensor
                 of two or more dimensions
    conv         convolutions; depthwise ones (one channel a group) are ``depthwise``
    embedding    Embedding and EmbeddingBag, also when tied to an output layer
    bare         two or more dimensions, hung on a module that has children: class tokens and
                 position tables, but also stacked experts
    norm         all tensors of a normalisation layer, whatever their shape
    bias         at most one dimension, on a layer with weights
    vector       any other tensor with at most one dimension longer than 1
    state_space  bare tensors of a state-space module (A, D)
    declared     what the model itself asks not to decay
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd
from torch.nn.parameter import is_lazy
from torch.nn.utils.parametrize import ParametrizationList

NORMS = (_NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm, nn.LocalResponseNorm)
EMBEDDINGS = (nn.Embedding, nn.EmbeddingBag)
LAYERS = (nn.Linear, nn.Bilinear, nn.RNNBase, nn.RNNCellBase, nn.MultiheadAttention)
# What wrappers put into names: torch.compile, activation checkpointing, FSDP1.
_WRAPPERS = {"_orig_mod", "_checkpoint_wrapped_module", "_fsdp_wrapped_module"}


class Entry(NamedTuple):
    """One trainable tensor: its name, what it is, the tensor, and its other names if tied."""

    name: str
    kind: str
    param: nn.Parameter
    aliases: tuple[str, ...] = ()


def entries(model: nn.Module) -> list[Entry]:
    """Every trainable tensor of ``model`` once, in the order of registration.

    Frozen tensors are left out. A tied tensor counts once, under its first name, and as an
    embedding if one of its owners is one.

    Raises:
        TypeError: If ``model`` is no module, or holds FSDP1's flat parameters.
        ValueError: If nothing is trainable, or a lazy tensor has no shape yet.
    """
    _refuse(model)
    declared = _declared(model)
    found: dict[nn.Parameter, list[tuple[str, str]]] = {}
    for module_name, module in model.named_modules():
        for local, param in module.named_parameters(recurse=False):
            name = f"{module_name}.{local}" if module_name else local
            kind = "declared" if name in declared else _kind(module, param)
            if param.requires_grad:
                found.setdefault(param, []).append((clean_name(name, model), kind))
    if not found:
        raise ValueError(
            "model has no trainable parameter (all are frozen or there is none); set "
            "requires_grad on what should train, then build the groups"
        )
    return [_entry(param, owners) for param, owners in found.items()]


def shape_of(param: Tensor) -> torch.Size:
    """The whole tensor's shape, also where one rank holds a part of it (DTensor, ZeRO-3)."""
    return getattr(param, "ds_shape", param.shape)


def clean_name(name: str, model: nn.Module) -> str:
    """``name`` without what compile, checkpointing, DDP and FSDP1 put into it."""
    parts = [part for part in name.split(".") if part not in _WRAPPERS]
    parallel = (nn.DataParallel, nn.parallel.DistributedDataParallel)
    inner = getattr(model, "_orig_mod", model)
    return ".".join(parts[1:] if isinstance(inner, parallel) else parts)


def _entry(param: nn.Parameter, owners: list[tuple[str, str]]) -> Entry:
    (name, kind), *rest = owners
    kinds = [owner_kind for _, owner_kind in owners]
    for strong in ("declared", "embedding"):
        kind = strong if strong in kinds else kind
    return Entry(name, kind, param, tuple(alias for alias, _ in rest))


def _kind(module: nn.Module, param: nn.Parameter) -> str:
    if _declares_itself(param):
        return "declared"
    if isinstance(module, NORMS):
        return "norm"
    thin = sum(size > 1 for size in shape_of(param)) <= 1
    if isinstance(module, (*EMBEDDINGS, *LAYERS, _ConvNd)):
        return _kind_in_layer(module, param, thin)
    if thin:
        return "vector"
    if _is_state_space(module):
        return "state_space"
    bare = any(True for _ in module.children()) and not isinstance(module, ParametrizationList)
    return "bare" if bare else "matrix"


def _kind_in_layer(module: nn.Module, param: nn.Parameter, thin: bool) -> str:
    # Linear(d, 1).weight is thin and still a weight; weight_norm's magnitudes are not.
    if len(shape_of(param)) <= 1 or (thin and getattr(module, "weight", None) is not param):
        return "bias"
    if isinstance(module, EMBEDDINGS):
        return "embedding"
    if isinstance(module, _ConvNd):
        return "depthwise" if module.groups == module.in_channels > 1 else "conv"
    return "matrix"


def _is_state_space(module: nn.Module) -> bool:
    """Mamba's mixers carry a depthwise convolution along time, or a parameter ``A_log``."""
    own = dict(module.named_parameters(recurse=False))
    return "A_log" in own or any(
        isinstance(child, nn.Conv1d) and child.groups == child.in_channels > 1
        for child in module.children()
    )


def _declares_itself(param: nn.Parameter) -> bool:
    hyper = getattr(param, "_optim", None)  # S4's way of saying it
    zero = isinstance(hyper, dict) and hyper.get("weight_decay", None) == 0
    return bool(getattr(param, "_no_weight_decay", False)) or zero


def _declared(model: nn.Module) -> set[str]:
    """The names that modules with a ``no_weight_decay()`` method list, as seen from the model."""
    found = set()
    for prefix, module in model.named_modules():
        method = getattr(module, "no_weight_decay", None)
        for name in method() if callable(method) else ():
            found.add(f"{prefix}.{name}" if prefix else name)
    return found


def _refuse(model: nn.Module) -> None:
    if not isinstance(model, nn.Module):
        raise TypeError(
            f"model must be a torch.nn.Module, got {type(model).__name__}; pass the model itself, "
            "not its parameters: module types decide which tensors decay"
        )
    for name in _flat(model):
        raise TypeError(
            f"model holds FSDP1's flat parameters ({name}), which hide the shapes that decide; "
            "wrap with fully_shard (FSDP2), or build the groups before wrapping with "
            "use_orig_params=True and call groups.rebind(wrapped_model)"
        )
    for name, param in model.named_parameters():
        if is_lazy(param):
            raise ValueError(
                f"{name} has no shape yet (a lazy module); run one batch through the model first"
            )


def _flat(model: nn.Module) -> Iterator[str]:
    # By attribute and class name: importing torch.distributed.fsdp costs half a second.
    for name, param in model.named_parameters():
        if getattr(param, "_is_flat_param", False):
            yield name
    for name, module in model.named_modules():
        if type(module).__name__ == "FullyShardedDataParallel":
            yield name or "the root"
