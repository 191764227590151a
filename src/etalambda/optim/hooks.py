"""Hooks on ``optimizer.step`` that act on the weights: what they share.

A `WeightHook` sits on one optimizer or on several, remembers something about each tensor, saves
and loads it, and can be taken off. A `DecayHook` also owns the decay of the groups: their
``weight_decay`` is read as λ, the optimizer itself sees 0 while it steps, and everyone else
(schedulers, loggers) sees λ between the steps.
"""

from collections.abc import Iterable, Iterator
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from torch.optim import Optimizer

from etalambda._common import as_optimizers
from etalambda.optim._base import as_float

Active = list[tuple[dict[str, Any], list[Tensor], float]]  # group, weights with a gradient, λ
_OWNERS: "WeakKeyDictionary[Optimizer, DecayHook]" = WeakKeyDictionary()


class WeightHook:
    """State per tensor on hooks of ``optimizer.step``; ``remove()`` takes them off.

    Example:
        >>> from etalambda.optim import weight_noise
        >>> w = torch.nn.Parameter(torch.ones(2))
        >>> hook = weight_noise(torch.optim.SGD([w], lr=0.1), std=0.1, timescale=10, params=[w])
        >>> isinstance(hook, WeightHook), hook.remove()
        (True, None)
    """

    def __init__(
        self, optimizers: Optimizer | Iterable[Optimizer], params: Iterable[Tensor] | None = None
    ) -> None:
        self._optimizers = as_optimizers(optimizers)
        self._only = self._checked(params)
        self.state: dict[Tensor, dict[str, Any]] = {}
        with torch.no_grad():
            self.begin([row for optimizer in self._optimizers for row in self._rows(optimizer)])
        self._hooks: list[Any] = []
        for optimizer in self._optimizers:
            self._hooks.append(optimizer.register_step_pre_hook(self._before))
            self._hooks.append(optimizer.register_step_post_hook(self._after))

    def remove(self) -> None:
        """Take the hooks off: from the next step on the optimizers are as they were."""
        for hook in self._hooks:
            hook.remove()

    # --- what a hook does: three occasions ----------------------------------------------------

    def begin(self, rows: Active) -> None:
        """Look at all weights when the hook is set; raise if it cannot do its work."""

    def prepare(self, optimizer: Optimizer, rows: Active) -> None:
        """Look at the weights before the step."""

    def act(self, optimizer: Optimizer, active: Active) -> None:
        """Move the weights that have a gradient, after the step."""
        raise NotImplementedError

    def chosen(self, rows: Active) -> Iterator[tuple[dict[str, Any], Tensor, float]]:
        """The tensors that are acted upon: ``params``, or those of groups whose λ is not 0."""
        for group, tensors, decay in rows:
            if self._only is not None:
                yield from ((group, p, decay) for p in tensors if p in self._only)
            elif decay != 0:
                yield from ((group, p, decay) for p in tensors)

    # --- state --------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """What the hook remembers, by the tensors' places in the optimizers; safe to load."""
        places = self._places()
        found = [(places[p], own) for p, own in self.state.items() if p in places]
        sizes = [p.numel() for p in places]
        return dict(sizes=sizes, state={i: dict(own) for i, own in sorted(found, key=_first)})

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a `state_dict` of the same hook on the same weights.

        Raises:
            ValueError: If it was saved for other tensors. Nothing has changed then.
        """
        places = self._places()
        sizes, saved = [p.numel() for p in places], state_dict.get("sizes")
        if saved != sizes:
            raise ValueError(
                f"state_dict was saved for tensors of {saved} elements, the optimizers have "
                f"{sizes}; set the hook on optimizers with the same parameters in the same order"
            )
        tensors = list(places)
        self.state = {tensors[i]: dict(own) for i, own in state_dict["state"].items()}

    def _places(self) -> dict[Tensor, int]:
        every = (p for o in self._optimizers for g in o.param_groups for p in g["params"])
        return {p: index for index, p in enumerate(every)}

    # --- the hooks themselves -----------------------------------------------------------------

    def _decays(self, optimizer: Optimizer) -> list[float]:
        return [as_float(group.get("weight_decay", 0.0)) for group in optimizer.param_groups]

    def _rows(self, optimizer: Optimizer) -> Active:
        """All groups with all their weights that may get a gradient."""
        found = [[p for p in g["params"] if p.requires_grad] for g in optimizer.param_groups]
        return list(zip(optimizer.param_groups, found, self._decays(optimizer)))

    def _active(self, optimizer: Optimizer) -> Active:
        groups = optimizer.param_groups
        found = [[p for p in g["params"] if p.grad is not None] for g in groups]
        return list(zip(groups, found, self._decays(optimizer)))

    @torch.no_grad()
    def _before(self, optimizer: Optimizer, *_: Any) -> None:
        self.prepare(optimizer, self._rows(optimizer))

    @torch.no_grad()
    def _after(self, optimizer: Optimizer, *_: Any) -> None:
        skipped = getattr(optimizer, "found_inf", None)  # a fused step that GradScaler stopped
        if skipped is None or not as_float(skipped):
            self.act(optimizer, self._active(optimizer))

    def _checked(self, params: Iterable[Tensor] | None) -> set[Tensor] | None:
        if params is None:
            return None
        only = set([params] if isinstance(params, Tensor) else params)
        if not only <= set(self._places()):
            raise ValueError(
                "params holds tensors that are in no group of the optimizers; pass parameters "
                "that these optimizers move"
            )
        return only


class DecayHook(WeightHook):
    """A decay on hooks of ``optimizer.step``; ``remove()`` gives the decay back.

    Example:
        >>> from etalambda.optim import l1_decay
        >>> w = torch.nn.Parameter(torch.ones(2))
        >>> optimizer = torch.optim.SGD([w], lr=0.1, weight_decay=0.5)
        >>> hook = l1_decay(optimizer)
        >>> isinstance(hook, DecayHook), hook.remove()
        (True, None)
    """

    def __init__(
        self, optimizers: Optimizer | Iterable[Optimizer], params: Iterable[Tensor] | None = None
    ) -> None:
        self._taken: dict[Optimizer, list[Any]] = {}
        for optimizer in (found := as_optimizers(optimizers)):
            if (owner := _OWNERS.get(optimizer)) is not None:
                raise ValueError(
                    f"{type(optimizer).__name__} has its decay from {type(owner).__name__[1:]} "
                    "already; remove() that hook first: a group has one decay"
                )
        super().__init__(found, params)
        for optimizer in found:
            _OWNERS[optimizer] = self

    def remove(self) -> None:
        """Take the hooks off: the optimizers decay by their own rule again."""
        super().remove()
        for optimizer in self._optimizers:
            self._give_back(optimizer)
            if _OWNERS.get(optimizer) is self:
                del _OWNERS[optimizer]

    def decays(self) -> list[float]:
        """λ of each group, as a scheduler wrote it."""
        return [decay for optimizer in self._optimizers for decay in self._decays(optimizer)]

    def _decays(self, optimizer: Optimizer) -> list[float]:
        taken = self._taken.get(optimizer)
        return super()._decays(optimizer) if taken is None else list(map(as_float, taken))

    def _before(self, optimizer: Optimizer, *_: Any) -> None:
        self._give_back(optimizer)  # the last step may have raised
        super()._before(optimizer)
        groups = optimizer.param_groups
        self._taken[optimizer] = [group.get("weight_decay", 0.0) for group in groups]
        for group in groups:
            if "weight_decay" in group:
                group["weight_decay"] = 0.0

    def _after(self, optimizer: Optimizer, *_: Any) -> None:
        try:
            super()._after(optimizer)
        finally:
            self._give_back(optimizer)

    def _give_back(self, optimizer: Optimizer) -> None:
        taken = self._taken.pop(optimizer, ())
        for group, value in zip(optimizer.param_groups, taken):
            if "weight_decay" in group:
                group["weight_decay"] = value


def real_view(tensor: Tensor) -> Tensor:
    """Real and imaginary parts as weights of their own, as torch's optimizers take them."""
    return torch.view_as_real(tensor) if tensor.is_complex() else tensor


def _first(pair: tuple[int, Any]) -> int:
    return pair[0]
