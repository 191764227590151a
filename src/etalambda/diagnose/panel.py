"""The default panel: what decay and updates do to the weights, cheap enough to leave on.

Li, Lyu & Arora 2020 (norms, effective lr) and Kosson et al. 2024 (angles). One pass over the
weights per call gives, for the whole model and for each kind of tensor, the norm, the gradient's
norm, the update since the last call, its angle beside the predicted one, and its alignment with the
weight. Nothing waits for a GPU. What it costs: ``docs/diagnose.md``.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from etalambda._common import as_optimizers, unknown
from etalambda.diagnose._passes import Turns, angles, norms
from etalambda.diagnose._rows import Deferred
from etalambda.diagnose.angles import predicted
from etalambda.diagnose.decay import live_rates


class Panel:
    """A `Monitor` quantity: norms, gradients, updates, angles and rates, whole and by kind.

    Entries of each kind, and of ``total``: ``norm``, ``gradient`` (the norms of weights and
    gradients now), ``update`` (the norm of the change since the last call, over k steps with
    ``every(k)``), its ``angle`` in radians and ``alignment``, the cosine of update and old weight;
    ``effective_lr``, η/((1 - μ)‖W‖²), where the kind has one lr and that is not on a GPU.
    Entries of each param group: ``lr``, ``weight_decay``, ``intrinsic_lr`` and
    ``predicted_angle``. The first call has no ``update``, ``angle`` and ``alignment``; without a
    dense gradient on every parameter there is no ``gradient``.

    Args:
        kinds: Name -> parameters, such as ``{"invariant": found.values()}`` for what
            ``etalambda.schedule.scale_invariant_parameters`` finds. What is in none is the kind
            ``other``.
        per: "kind", or "tensor" for every tensor too, as ``norm/0``, ``norm/1``, ...
        steps: Optimizer steps between two calls, for ``predicted_angle``.

    Raises:
        ValueError: If ``per`` is unknown or a kind is called ``total`` or ``other``.

    Example:
        >>> from etalambda.diagnose import Monitor, every
        >>> w = torch.nn.Parameter(torch.tensor([3.0, 4.0]))
        >>> optimizer = torch.optim.SGD([w], lr=0.5, weight_decay=0.1)
        >>> monitor = Monitor(optimizer, every(1), panel=Panel())
        >>> for _ in range(2):
        ...     w.grad = torch.zeros(2)
        ...     optimizer.step()
        >>> row = monitor.last
        >>> round(row["panel/norm/total"], 4), round(row["panel/alignment/total"], 4)
        (4.5125, -1.0)
    """

    def __init__(
        self,
        *,
        kinds: Mapping[str, Iterable[Tensor]] | None = None,
        per: str = "kind",
        steps: int = 1,
    ) -> None:
        if per not in ("kind", "tensor"):
            raise unknown("per", per, ("kind", "tensor"))
        self._kinds = {name: {id(p) for p in params} for name, params in (kinds or {}).items()}
        for name in ("total", "other"):
            if name in self._kinds:
                raise ValueError(f"a kind may not be called {name!r}: the panel adds it itself")
        self._per, self._steps, self._turns = per, steps, Turns()

    @torch.no_grad()
    def __call__(self, optimizers: Optimizer | Iterable[Optimizer]) -> dict[str, Any]:
        found = as_optimizers(optimizers)
        groups = [(o, group) for o in found for group in o.param_groups]
        params = [p.detach() for _, group in groups for p in group["params"]]
        rates = live_rates(found)
        turns = self._turns([p for _, group in groups for p in group["params"]])
        gradients = [p.grad for _, group in groups for p in group["params"]]
        sent = [*norms(params)] if turns is None else [*turns.tensors]
        cut = sum(t.numel() for t in sent)
        dense = [g for g in gradients if g is not None and g.layout == torch.strided]
        if len(dense) == len(params):
            sent += norms(dense)
        kinds = self._members([id(p) for _, group in groups for p in group["params"]])
        lrs = _lrs([group for _, group in groups])

        def finish(numbers: Tensor) -> dict[str, Any]:
            mine, gradient = numbers[:cut], numbers[cut:]
            seen = {"norm": mine} if turns is None else dict(turns.finish(mine))
            if len(gradient):
                seen["gradient"] = gradient
            row = self._entries(seen, kinds)
            if lrs is not None:
                row["effective_lr"] = _effective_lrs(lrs, row["norm"], kinds)
            return row

        return {
            "lr": [group["lr"] for _, group in groups],
            "weight_decay": [group.get("weight_decay", 0.0) for _, group in groups],
            "intrinsic_lr": rates,
            "predicted_angle": [
                predicted(o, group, rate, self._steps) for (o, group), rate in zip(groups, rates)
            ],
            "": Deferred(sent, finish),
        }

    def _entries(self, seen: dict[str, Tensor], kinds: dict[str, Tensor]) -> dict[str, Any]:
        """Norms, angles and alignments, entry -> kind or tensor -> number."""
        each = _derived(seen)
        row: dict[str, Any] = {name: {} for name in each}
        for kind, mine in kinds.items():
            parts = {n: v[mine].square().sum().sqrt() for n, v in seen.items() if n != "along"}
            if "along" in seen:
                dot = (seen["along"] * seen["before"])[mine].sum()
                parts["along"] = dot / parts["before"] if parts["before"] > 0 else dot
            for name, value in _derived(parts).items():
                row[name][kind] = float(value)
        if self._per == "tensor":
            for name, values in each.items():
                row[name] |= dict(enumerate(values.tolist()))
        return row

    def _members(self, ids: list[int]) -> dict[str, Tensor]:
        """Kind -> which tensors are of it; ``total`` is the whole model."""
        rows = {n: [i in members for i in ids] for n, members in self._kinds.items()}
        if rows:
            rows["other"] = [not any(column) for column in zip(*rows.values())]
        rows["total"] = [True] * len(ids)
        return {name: torch.tensor(row) for name, row in rows.items() if any(row)}


def _lrs(groups: list[dict[str, Any]]) -> Tensor | None:
    """η/(1 - μ) of every tensor; None if an lr is on a GPU, where it is not looked at."""
    if any(isinstance(g["lr"], Tensor) and g["lr"].device.type != "cpu" for g in groups):
        return None
    return torch.tensor(
        [float(g["lr"]) / (1 - g.get("momentum", 0.0)) for g in groups for _ in g["params"]],
        dtype=torch.float64,
    )


def _effective_lrs(
    lrs: Tensor, norms: dict[Any, float], kinds: dict[str, Tensor]
) -> dict[str, float]:
    found = {kind: lrs[mine].unique() for kind, mine in kinds.items()}
    one = {kind: float(lr) for kind, lr in found.items() if len(lr) == 1}
    return {kind: lr / norms[kind] ** 2 if norms[kind] else math.inf for kind, lr in one.items()}


def _derived(seen: dict[str, Tensor]) -> dict[str, Tensor]:
    """What a row shows, from the numbers of `Turns` and the gradient's norm."""
    found = {name: seen[name] for name in ("norm", "gradient", "update") if name in seen}
    if "along" in seen:
        found["angle"] = angles(seen)
        moved = seen["update"] > 0
        found["alignment"] = torch.where(moved, seen["along"] / seen["update"], 0.0)
    return found
