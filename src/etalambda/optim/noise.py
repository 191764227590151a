"""Gaussian noise on the weights that is annealed away.

Richemond & Guo 2019 (section 2) set annealed L2 against Chaudhari & Soatto 2015, *On the energy
landscape of deep networks*: multiplicative Gaussian noise on the weights, whose variance is
annealed on a timescale t_0. After step t

    θ ← θ (1 + σ_t ξ),     ξ ~ N(0, 1),     σ_t² = σ² exp(-t / t_0)

    paper   σ     t_0
    code    std   timescale

Departures from the paper: it gives no formula; the exponential is of Chaudhari & Soatto's external
field. ``relative=False`` adds σ_t ξ instead, and ``timescale`` may be any function of the step.
"""

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from etalambda.optim.hooks import Active, WeightHook, real_view


class _Noise(WeightHook):
    def __init__(
        self,
        optimizers: Any,
        params: Iterable[Tensor] | None,
        std: float,
        factor: Callable[[int], float],
        relative: bool,
        seed: int,
    ) -> None:
        self._std, self._factor, self._relative, self._seed = std, factor, relative, seed
        self._generators: dict[str, torch.Generator] = {}
        super().__init__(optimizers, params)

    def begin(self, rows: Active) -> None:
        found = [p for _, p, _ in self.chosen(rows)]
        if not found:
            raise ValueError(
                "weight_noise got no tensor: no group has a weight_decay other than 0; pass the "
                "tensors as params"
            )
        if any(hasattr(p, "to_local") for p in found) or any(
            getattr(o, "_process_group", None) is not None for o in self._optimizers
        ):
            raise ValueError(
                "weight_noise got sharded parameters: the ranks would draw the same noise; use it "
                "where each process has whole tensors"
            )

    def act(self, optimizer: Optimizer, active: Active) -> None:
        for _, p, _ in self.chosen(active):
            own = self.state.setdefault(p, dict(step=0))
            std = self._std * self._factor(own["step"])
            own["step"] += 1
            if std:
                now = real_view(p)
                xi = torch.empty_like(now).normal_(generator=self._generator(p.device))
                now.addcmul_(now, xi, value=std) if self._relative else now.add_(xi, alpha=std)

    def _generator(self, device: torch.device) -> torch.Generator:
        name = str(device)
        if name not in self._generators:
            self._generators[name] = torch.Generator(device).manual_seed(self._seed)
        return self._generators[name]

    def state_dict(self) -> dict[str, Any]:
        draws = {name: g.get_state() for name, g in self._generators.items()}
        return super().state_dict() | dict(generators=draws)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        self._generators = {}
        for name, state in state_dict["generators"].items():
            self._generator(torch.device(name)).set_state(state.cpu())


def weight_noise(
    optimizers: Optimizer | Iterable[Optimizer],
    std: float,
    timescale: float | Callable[[int], float],
    *,
    relative: bool = True,
    params: Iterable[Tensor] | None = None,
    seed: int = 0,
) -> WeightHook:
    """Disturb the weights after every step, less and less. The optimizer's decay stays its own.

    Args:
        optimizers: Any torch optimizers.
        std: σ, the standard deviation at step 0; with ``relative`` as a share of each weight.
        timescale: t_0, the steps after which the variance has fallen by e; or a function of the
            step that multiplies ``std``, such as a shape of `etalambda.schedule`.
        relative: Multiply by 1 + σ ξ. False adds σ ξ, which also moves weights that are 0.
        params: The tensors that get noise. None: those of groups whose ``weight_decay`` is not 0.
        seed: Of the noise's own generator: the run's random state is not touched. Processes that
            hold replicas (DDP) must use the same seed.

    Returns:
        A handle with ``state``, ``state_dict()``, ``load_state_dict()`` (a resumed run draws what
        the straight run would have drawn) and ``remove()``.

    Raises:
        ValueError: For a negative std, a timescale not above 0, no tensor, or sharded ones.

    Source: Chaudhari & Soatto 2015, as described in Richemond & Guo 2019, section 2.

    Example:
        >>> w = torch.nn.Parameter(torch.ones(1000))
        >>> optimizer = torch.optim.SGD([w], lr=0.1)
        >>> handle = weight_noise(optimizer, std=0.1, timescale=100, params=[w])
        >>> w.grad = torch.zeros(1000)
        >>> optimizer.step()
        >>> round(w.std().item(), 2)
        0.1
    """
    if not (math.isfinite(std) and std >= 0):
        raise ValueError(f"std must be a finite number of at least 0, got {std}")
    if callable(timescale):
        factor = timescale
    elif timescale > 0:
        factor = lambda step: math.exp(-step / (2 * timescale))  # noqa: E731
    else:
        raise ValueError(f"timescale must be above 0 or a function of the step, got {timescale}")
    return _Noise(optimizers, params, std, factor, relative, seed)
