"""Which weights feed a normalisation, so that their size does not change what the model computes.

Li, Lyu & Arora 2020, section 2. The idea: where f(c w) = f(w) for every c > 0, weight decay does
not regularise w; it sets the effective learning rate η/‖w‖². Such weights have gradients at right
angles to themselves,

    f(c w) = f(w)   ⇒   ⟨w, ∇_w f⟩ = 0                                    (Lemma 2.3 there)

and those are the weights that AdamC's correction (Defazio 2025) is made for: the weights in front
of a norm, not the norm's own gains.

Found by structure (``degrees``: the output has degree 0 in w), then confirmed by number: ⟨w, g⟩
vanishes and doubling w leaves the output alone, both measured against what a random change of w
does. The numbers are taken on a copy: jittered, so that a branch which starts at zero counts, and
with the candidates enlarged, so that a norm's ε does not (weights of a fresh model can lie below
it; trained ones do not).

Departures from the paper: invariance is asked of one tensor at a time. A linear layer with a bias
in front of a layer norm is invariant in (w, b) together but not in w alone, and is not listed.
"""

import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils._pytree import tree_leaves, tree_map

from etalambda.schedule.degrees import DegreeMode
from etalambda.schedule.kinds import clean_name

# A radial change may do this share of what a random change of the same size does.
_TOLERANCE = 0.02
# Powers of two: scaling by them is exact. Half precision has less room above.
_ENLARGE, _ENLARGE_HALF = 1024.0, 64.0


def scale_invariant_parameters(model: nn.Module, batch: Any) -> dict[str, nn.Parameter]:
    """The trainable tensors w with f(c w) = f(w) for all c > 0, in the order of registration.

    Runs a few forward passes and one backward pass in training mode, on copies: weights, gradients,
    buffers, random state, ``batch`` and every module's mode are left as they were.

    Args:
        model: The model, on its device, not yet sharded.
        batch: What the model is called with: a tensor, a tuple or list of positional arguments, or
            a mapping of keyword arguments. Batch norm wants two or more samples. Targets belong to
            it only if ``forward`` takes them.

    Returns:
        ``{name: parameter}``; empty for a model without norms. Hand it to ``ParamGroups.split``,
        or to ``tie(..., only=)`` as ``.values()``.

    Raises:
        TypeError: If ``model`` is no module, or ``forward`` does not take the batch.
        ValueError: If the model lies on the meta device, nothing is trainable, or the output holds
            no floating-point tensor.

    Example:
        >>> model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))
        >>> list(scale_invariant_parameters(model, torch.randn(16, 4)))
        ['0.weight']
    """
    model = getattr(model, "_orig_mod", model)
    params = _trainable(model)
    args, kwargs = _arguments(model, batch)
    with _as_it_was(model):
        found = _by_structure(model, params, args, kwargs)
        found = _by_number(model, params, found, args, kwargs) if found else []
    return {clean_name(name, model): params[name] for name in found}


def _trainable(model: nn.Module) -> dict[str, nn.Parameter]:
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module, got {type(model).__name__}")
    params = {name: p for name, p in model.named_parameters() if p.requires_grad}
    if not params:
        raise ValueError("model has no trainable parameter; set requires_grad on what trains")
    for name, param in params.items():
        if param.is_meta:
            raise ValueError(
                f"{name} is on the meta device, where nothing can be confirmed by number; "
                "materialise the model first (to_empty, then initialise)"
            )
    return params


def _arguments(model: nn.Module, batch: Any) -> tuple[tuple, dict[str, Any]]:
    kwargs = dict(batch) if isinstance(batch, Mapping) else {}
    args = tuple(batch) if isinstance(batch, tuple | list) else () if kwargs else (batch,)
    try:
        inspect.signature(model.forward).bind(*args, **kwargs)
    except TypeError as error:
        raise TypeError(
            f"batch does not fit {type(model).__name__}.forward ({error}); pass what the model is "
            "called with, such as batch[0] of (inputs, targets)"
        ) from error
    return args, kwargs


@contextmanager
def _as_it_was(model: nn.Module) -> Iterator[None]:
    """Training mode inside; every module's own mode afterwards, and the random state."""
    modes = [(module, module.training) for module in model.modules()]
    devices = {p.device for p in model.parameters() if p.device.type == "cuda"}
    with torch.random.fork_rng(devices=list(devices)):
        try:
            model.train()
            yield
        finally:
            for module, mode in modes:
                module.training = mode


def _run(model: nn.Module, params: Mapping[str, Tensor], args: tuple, kwargs: dict) -> list[Tensor]:
    """The floating-point outputs, from copies of all that a forward pass may write to."""
    torch.manual_seed(0)  # one dropout mask for every pass
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    args, kwargs = tree_map(_clone, (args, kwargs))
    outputs = list(_tensors(functional_call(model, {**params, **buffers}, args, kwargs)))
    if not outputs:
        raise ValueError(
            "the model's output holds no floating-point tensor (looked in tuples, lists and "
            "mappings); wrap the model so that forward returns its outputs"
        )
    return outputs


def _clone(value: Any) -> Any:
    return value.clone() if isinstance(value, Tensor) else value


def _tensors(output: Any) -> Iterator[Tensor]:
    for leaf in tree_leaves(output):
        if isinstance(leaf, Tensor) and leaf.is_floating_point():
            yield leaf
        elif isinstance(leaf, Mapping):
            yield from _tensors(list(leaf.values()))


@torch.no_grad()
def _by_structure(
    model: nn.Module, params: Mapping[str, nn.Parameter], args: tuple, kwargs: dict
) -> list[str]:
    with DegreeMode(list(params.values())) as mode:
        outputs = _run(model, params, args, kwargs)
    tables = [mode.degrees(output) for output in outputs]
    names = list(params)
    entered = sorted({i for table in tables for i in table})
    return [names[i] for i in entered if all(table.get(i, 0.0) == 0.0 for table in tables)]


def _by_number(
    model: nn.Module,
    params: Mapping[str, nn.Parameter],
    found: list[str],
    args: tuple,
    kwargs: dict,
) -> list[str]:
    weights = {name: _jittered(p) for name, p in params.items()}
    for name in found:
        weights[name] *= _ENLARGE_HALF if weights[name].dtype == torch.float16 else _ENLARGE
    found = _orthogonal(model, weights, found, args, kwargs)

    @torch.no_grad()
    def invariant(names: list[str]) -> bool:
        twice = {name: 2 * weights[name] for name in names}
        other = {name: weights[name] + _random_like(weights[name]) for name in names}
        here, scaled, moved = (
            _flat(_run(model, {**weights, **w}, args, kwargs)) for w in ({}, twice, other)
        )
        return bool((scaled - here).norm() <= _TOLERANCE * (moved - here).norm())

    # One pass for all, since joint invariance is what each implies; one by one only if it fails.
    return found if invariant(found) else [name for name in found if invariant([name])]


def _orthogonal(
    model: nn.Module, weights: dict[str, Tensor], found: list[str], args: tuple, kwargs: dict
) -> list[str]:
    """Those of ``found`` with ⟨w, g⟩ = 0, g the gradient of a random mix of the outputs.

    A random g has |⟨w, g⟩| = ‖w‖‖g‖/√n for n entries: that is the yardstick.
    """
    leaves = {name: weights[name].requires_grad_() for name in found}
    with torch.enable_grad():
        outputs = [o for o in _run(model, {**weights, **leaves}, args, kwargs) if o.requires_grad]
        mix = [(torch.nan_to_num(o) * torch.randn_like(o)).sum() for o in outputs]
        grads = torch.autograd.grad(mix, list(leaves.values()), allow_unused=True)
    kept = []
    for (name, w), g in zip(leaves.items(), grads):
        w.requires_grad_(False)
        size = 0.0 if g is None else float(w.norm() * g.norm())
        if size > 0 and float((w * g).sum().abs()) * w.numel() ** 0.5 <= 5 * _TOLERANCE * size:
            kept.append(name)
    return kept


def _jittered(param: Tensor) -> Tensor:
    # From zero too: a residual branch that starts silent still has a shape.
    noise = torch.randn_like(param)
    return param.detach() + 0.1 * noise * param.detach().square().mean().sqrt().clamp_min(0.1)


def _random_like(weight: Tensor) -> Tensor:
    noise = torch.randn_like(weight)
    return noise * (weight.norm() / noise.norm())


def _flat(outputs: list[Tensor]) -> Tensor:
    return torch.cat([torch.nan_to_num(o).flatten().double() for o in outputs])
