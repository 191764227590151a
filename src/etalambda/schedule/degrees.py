"""Homogeneity, followed through a forward pass: how an output grows when one tensor is scaled.

The idea: a value y is homogeneous of degree d in a parameter w if y(c w) = c^d y(w) for c > 0.
Degrees follow simple rules (a product adds them, a sum needs them equal, a square root halves
them, a norm sets them to 0), so one recorded forward pass settles, for every parameter at once,
in which of them the output has degree 0: those are the scale-invariant ones (Li, Lyu & Arora 2020,
section 2: L(c w) = L(w)). Nothing here looks at values, so a coincidence of the initialisation (a
bias that starts at 0) cannot pass for a symmetry.

Small added constants (at most 1e-3, the ε of a norm) are taken as 0; how much they matter is the
business of the numerical check. NaN stands for "not homogeneous", which arithmetic then spreads.
A layer's bias in front of a batch norm is a special case: it is not homogeneous, but the norm
removes any offset that is constant per channel, so it is carried as ``Shifted``.
"""

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakTensorKeyDictionary

from etalambda.schedule import degree_rules as rules
from etalambda.schedule.degree_rules import Degrees

NOT_HOMOGENEOUS = math.nan


class _Known(NamedTuple):
    degrees: Degrees
    stamp: int


class DegreeMode(TorchDispatchMode):
    """Record, for every tensor computed inside, its degree in each of ``params``."""

    def __init__(self, params: list[Tensor]) -> None:
        super().__init__()
        self._of: Any = WeakTensorKeyDictionary()
        self._written: dict[int, tuple[Any, _Known]] = {}  # storages that were written in place
        self._stamp = 0
        for i, param in enumerate(params):
            self._of[param] = _Known({i: 1.0}, 0)

    def degrees(self, tensor: Tensor) -> Degrees:
        """The degrees of a tensor; parameters that are not listed do not enter it."""
        own = self._of.get(tensor, _Known({}, -1))
        _, written = self._written.get(_storage(tensor), (None, _Known({}, -1)))
        if written.stamp > own.stamp and own.stamp >= 0:
            return rules.equal([own.degrees, written.degrees])  # an alias was written since
        return written.degrees if written.stamp > own.stamp else own.degrees

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        call = _bind(func, args, kwargs or {})
        name = func.overloadpacket.__name__
        inputs = {key: self._look_up(value) for key, value in call.items()}
        out = func(*args, **(kwargs or {}))
        found = rules.apply(name.rstrip("_"), call, inputs)
        self._stamp += 1
        for i, tensor in enumerate(t for t in tree_leaves(out) if isinstance(t, Tensor)):
            degrees = found[min(i, len(found) - 1)]
            self._of[tensor] = _Known(degrees, self._stamp)
            if name.endswith("_"):
                known = _Known(degrees, self._stamp)
                self._written[_storage(tensor)] = (tensor.untyped_storage(), known)
        return out

    def _look_up(self, value: Any) -> list[Degrees]:
        return [self.degrees(t) for t in tree_leaves(value) if isinstance(t, Tensor)]


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata if tensor.layout is torch.strided else id(tensor)


def _bind(func: Any, args: tuple, kwargs: dict) -> dict[str, Any]:
    names = [argument.name for argument in func._schema.arguments]
    return dict(zip(names, args)) | kwargs
