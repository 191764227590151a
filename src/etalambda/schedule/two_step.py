"""Two-step annealing: a step on the weights, then a step that follows the change of λ.

Richemond & Guo 2019, Algorithm 3. With f_λ = f + λ‖θ‖², and λ = weight_decay / 2:

    E   θ'  = θ  - η ∇f_{λ_i}(θ)
    M   θ'' = θ' - m_i η ∇f_{λ_i}(θ'),   m_i = λ_i - λ_{i-1},  λ_{-1} := λ_0

    variant     m_i
    literal     λ_i - λ_{i-1}: as printed; negative while λ falls, so the M step climbs
    abs         |λ_i - λ_{i-1}|
    relative    min(1, |λ_i - λ_{i-1}| / λ_{i-1}): |dλ/λ| of eq. (17)
    predictor   no gradient: θ'' = θ' - η (λ_i - λ_{i-1}) 2θ', a step along dθ*/dλ
    none        no M step
    twice       a second E step: the control that costs as much

``literal`` and ``abs`` change when the loss is rescaled; ``relative`` and ``predictor`` do not.
On the quadratics and Gaussian fields where all were compared, no variant that pays for a second
gradient beat ``twice``, save one.

Departures from the paper: the M step is the optimizer's own step with lr · m_i, so momentum
advances; a sphere that is kept on the optimizer is applied once, after the M step.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal, get_args

import torch
from torch.optim import Optimizer

from etalambda._common import unknown
from etalambda.schedule.driver import Scheduler
from etalambda.schedule.entries import hooked_optimizers
from etalambda.schedule.rule import Rule, Signal

Variant = Literal["literal", "abs", "relative", "predictor", "none", "twice"]


class TwoStepAnnealing:
    """Algorithm 3 around any optimizer; ``step(closure)`` as LBFGS has it.

    Args:
        optimizer: The optimizer that takes the steps.
        rule: The factor for ``weight_decay`` at tick i = 0, 1, ...
        variant: How large the M step is; see the module.

    Raises:
        ValueError: Unknown variant, or weight decay 0 in every group.

    Example:
        >>> from etalambda.schedule import linear
        >>> w = torch.nn.Parameter(torch.ones(1))
        >>> optimizer = torch.optim.SGD([w], lr=0.1, weight_decay=1.0)
        >>> annealing = TwoStepAnnealing(optimizer, linear(2), variant="predictor")
        >>> def closure():
        ...     optimizer.zero_grad()
        ...     loss = (w**2).sum() / 2
        ...     loss.backward()
        ...     return loss
        >>> [round(annealing.step(closure).item(), 4) for _ in range(3)]
        [0.5, 0.32, 0.2549]
    """

    def __init__(self, optimizer: Optimizer, rule: Rule, *, variant: Variant = "literal") -> None:
        if variant not in get_args(Variant):
            raise unknown("variant", variant, get_args(Variant))
        optimizers = hooked_optimizers(optimizer)
        if len(optimizers) != 1:
            raise ValueError(f"two-step annealing takes one optimizer, got {len(optimizers)}")
        self._optimizer = optimizers[0]
        self._scheduler = Scheduler(optimizer, weight_decay=rule)
        self._variant, self._warned = variant, False
        self._before = self._scheduler.last("weight_decay")  # λ_{-1} := λ_0, so m_0 = 0

    def step(self, closure: Callable[[], Any], **signals: Signal) -> Any:
        """One E step and one M step. Returns the loss before both.

        Args:
            closure: Clears the gradients, computes the loss, calls backward, returns the loss;
                called twice, except for ``predictor`` and ``none``.
            signals: For a rule with memory; ``loss`` is the closure's unless given.
        """
        if not callable(closure):
            raise TypeError("step() needs a closure that recomputes the loss and its gradients")
        now = self._scheduler.last("weight_decay")
        second = self._variant not in ("none", "predictor")
        with _spheres_wait(self._optimizer, wait=self._variant != "none"):
            loss = self._optimizer.step(closure)
        if second:
            self._second_step(closure, now)
        elif self._variant == "predictor":
            self._predict(now)
        self._before = now
        self._scheduler.step(**{"loss": loss, **signals})
        return loss

    def _second_step(self, closure: Callable[[], Any], now: list[float]) -> None:
        groups = self._optimizer.param_groups
        sizes = [self._size(new, old) for new, old in zip(now, self._before)]
        if min(sizes) < 0 and not self._warned:
            self._warned = True
            warnings.warn(
                "weight decay falls, so the literal M step climbs the loss (size "
                f"{min(sizes):.3g} of lr); variant='relative' or 'abs' descends",
                stacklevel=3,
            )
        kept = [group["lr"] for group in groups]
        try:
            for group, lr, size in zip(groups, kept, sizes):
                group["lr"] = lr * size
            self._optimizer.step(closure)
        finally:
            for group, lr in zip(groups, kept):
                group["lr"] = lr

    def _size(self, new: float, old: float) -> float:
        """m_i of one group, from torch's weight decays."""
        change = (new - old) / 2
        if self._variant == "twice":
            return 1.0
        if self._variant == "literal":
            return change
        if self._variant == "abs":
            return abs(change)
        if old == 0:
            return float(new != 0)
        return min(1.0, abs(new - old) / old)

    @torch.no_grad()
    def _predict(self, now: list[float]) -> None:
        for group, new, old in zip(self._optimizer.param_groups, now, self._before):
            if new != old:
                for p in group["params"]:
                    p.mul_(1 - group["lr"] * (new - old))
        for hook in _sphere_hooks(self._optimizer).values():
            hook(self._optimizer, (), {})

    def state_dict(self) -> dict[str, Any]:
        """Loads with ``weights_only=True``."""
        return {"scheduler": self._scheduler.state_dict(), "before": list(self._before)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where a saved one stopped.

        Raises:
            ValueError: If it is no state of a TwoStepAnnealing with this rule.
        """
        if set(state) != {"scheduler", "before"}:
            raise ValueError("pass the state_dict() of a TwoStepAnnealing")
        self._scheduler.load_state_dict(state["scheduler"])
        self._before = [float(value) for value in state["before"]]

    def last(self, entry: str = "weight_decay") -> list[float]:
        """The value that the next E step uses, one a group."""
        return self._scheduler.last(entry)


def _sphere_hooks(optimizer: Optimizer) -> dict[int, Any]:
    """The post-hooks that project, as `etalambda.optim.keep_on_sphere` registers them."""
    hooks = optimizer._optimizer_step_post_hooks
    return {k: h for k, h in hooks.items() if hasattr(getattr(h, "__self__", None), "project_")}


@contextmanager
def _spheres_wait(optimizer: Optimizer, wait: bool) -> Iterator[None]:
    """Take the projecting hooks off for a step, and put all back in their order."""
    hooks = optimizer._optimizer_step_post_hooks
    kept = dict(hooks)
    for key in _sphere_hooks(optimizer) if wait else ():
        del hooks[key]
    try:
        yield
    finally:
        hooks.clear()
        hooks.update(kept)
