"""Weights kept on a sphere: all together, or tensor by tensor.

Richemond & Guo 2019, *Complexity gradient descent*, Algorithms 1 to 3: after each step the
weights go back to the sphere on which the loss is a spin glass,

    R(θ) = √N · θ / ‖θ‖                                                          (CGD-A1)

On a sphere, plain SGD with L2 is plain SGD with another learning rate. With torch's
weight_decay w = 2λ, for any gradient g, any radius, globally or per tensor (CGD-S1):

    R(θ (1 - η w) - η g) = R(θ - η' g),   η' = η / (1 - η w),   while η w < 1

At usual strengths (η = 0.1, w = 5e-4) that is 5e-5 relative: L2 does next to nothing there.

    paper   θ        N                     R(·)
    code    params   number of elements    project_

Departures from the paper: a radius other than √N may be given; per tensor with radius "initial"
(each tensor keeps the norm that it had) is what suits networks that are not initialised on the
√N sphere; η w >= 1, where the projected step would flip the weights, raises.
"""

import math
from collections.abc import Iterable
from typing import Any, Literal

import torch
from torch import Tensor
from torch.optim import Optimizer

from etalambda.optim._base import all_plain
from etalambda.optim._fused import sum_of_squares

Radius = float | Literal["initial"] | None
HOST = ("cpu",)  # devices whose numbers the host has at once


def norm_of(tensors: list[Tensor]) -> Tensor | float:
    """‖θ‖ of all tensors as one vector, in float64; of the whole for sharded tensors."""
    dense = all(t.is_contiguous() and t.is_floating_point() for t in tensors)
    alike = len({(t.dtype, t.device) for t in tensors}) == 1
    if alike and dense and all_plain(tensors):
        found = [t.detach() for t in tensors]
        if found[0].device.type in HOST:
            return math.sqrt(sum_of_squares(found))
        return torch.linalg.vector_norm(_norms(found))
    squares = []
    for tensor in tensors:
        wide = torch.complex128 if tensor.is_complex() else torch.float64
        squared = torch.linalg.vector_norm(tensor.detach(), dtype=wide) ** 2
        full = getattr(squared, "full_tensor", None)  # DTensor: a partial sum until gathered
        squares.append(full() if full is not None else squared)
    return torch.stack([s.to(squares[0].device) for s in squares]).sum().sqrt()


def _norms(tensors: list[Tensor]) -> Tensor:
    """The norm of each, by one launch for all where foreach has kernels."""
    return torch.stack(torch._foreach_norm(tensors, 2, dtype=torch.float64))


def _count(tensors: list[Tensor]) -> int:
    return sum(t.numel() for t in tensors)


def _checked_radius(radius: Radius, tensors: list[Tensor]) -> float:
    """The radius as a number: √N for None, the present norm for "initial"."""
    if radius is None:
        return math.sqrt(_count(tensors))
    if radius == "initial":
        radius = float(norm_of(tensors))
        if radius == 0:
            raise ValueError(
                "radius='initial' got weights of norm 0, which no sphere holds; leave them out of "
                "params (biases start at 0) or give radius a number"
            )
        return radius
    if not (isinstance(radius, int | float) and math.isfinite(radius) and radius > 0):
        raise ValueError(f"radius must be a finite number above 0, 'initial' or None, got {radius}")
    return float(radius)


@torch.no_grad()
def project_(params: Tensor | Iterable[Tensor], radius: float | None = None) -> None:
    """Scale all tensors by one number, in place, so that their joint norm is ``radius``.

    Args:
        params: Tensors of any shape, taken as one vector of N elements.
        radius: The norm to reach; None is √N.

    Raises:
        ValueError: If the joint norm is 0 or not finite, or the radius is not above 0. Nothing
            has changed then.

    Source: Richemond & Guo 2019, Algorithm 1, line "project".

    Example:
        >>> w = torch.tensor([3.0, 4.0])
        >>> project_(w, radius=1.0)
        >>> w
        tensor([0.6000, 0.8000])
    """
    tensors = [params] if isinstance(params, Tensor) else list(params)
    if not tensors:
        raise ValueError("params is empty; pass the tensors that share the sphere")
    target = _checked_radius(radius, tensors)
    norm = float(norm_of(tensors))
    if not (math.isfinite(norm) and norm > 0):
        raise ValueError(
            f"params have norm {norm}, which has no direction to keep; "
            "start from weights that are finite and not all 0"
        )
    if norm != target:
        torch._foreach_mul_(tensors, target / norm)


@torch.no_grad()
def _project_there(tensors: list[Tensor], radius: float) -> None:
    """`project_` by tensor operations alone: the host neither waits for the norm nor checks it."""
    norm = torch.as_tensor(norm_of(tensors))
    torch._foreach_mul_(tensors, (radius / norm).to(tensors[0].device, tensors[0].dtype))


def _elsewhere(tensors: list[Tensor]) -> bool:
    """Whether all lie whole on one accelerator, where a number would be a wait."""
    kinds = {(t.dtype, t.device) for t in tensors}
    return len(kinds) == 1 and tensors[0].device.type not in HOST and all_plain(tensors)


def sphere_lr(lr: float, weight_decay: float) -> float:
    """The learning rate that L2 amounts to when every step ends on a sphere: η / (1 - η w).

    Args:
        lr: η of plain SGD.
        weight_decay: torch's w; the paper's λ is w / 2.

    Raises:
        ValueError: If η w >= 1: the step would turn the weights into their mirror image.

    Source: CGD-S1 (exact). Holds for decoupled decay too.

    Example:
        >>> sphere_lr(0.1, 5e-4)
        0.10000500025001251
    """
    if not 0 <= lr * weight_decay < 1:
        raise ValueError(
            f"lr * weight_decay must lie in [0, 1) on a sphere, got {lr} * {weight_decay} = "
            f"{lr * weight_decay}; lower weight_decay below {1 / lr if lr else math.inf}"
        )
    return lr / (1 - lr * weight_decay)


def spheres_of(
    params: Iterable[Tensor], radius: Radius, per: str
) -> list[tuple[list[Tensor], float]]:
    """The tensors and the radius of each sphere."""
    if per not in ("all", "tensor"):
        raise ValueError(f"per must be 'all' or 'tensor', got {per!r}")
    tensors = list(params)
    if not tensors:
        raise ValueError("params is empty; pass the tensors to keep on the sphere")
    blocks = [tensors] if per == "all" else [[t] for t in tensors]
    return [(block, _checked_radius(radius, block)) for block in blocks]


class OnSpheres:
    """Tensors on spheres: their radii, and the way back."""

    _spheres: list[tuple[list[Tensor], float]]

    @property
    def radii(self) -> list[float]:
        """The radius of each sphere: one for all tensors, or one a tensor."""
        return [radius for _, radius in self._spheres]

    def project_(self) -> None:
        """Put the weights on their spheres now: before they are saved, averaged or looked at."""
        for tensors, radius in self._spheres:
            project_(tensors, radius)


class SphereHandle(OnSpheres):
    """What `keep_on_sphere` returns: the radii it keeps, and ``remove()``.

    Example:
        >>> w = torch.nn.Parameter(torch.tensor([3.0, 4.0]))
        >>> handle = keep_on_sphere(torch.optim.SGD([w], lr=0.5), [w], radius="initial")
        >>> handle.radii
        [5.0]
        >>> handle.remove()
    """

    def __init__(
        self, optimizer: Optimizer, spheres: list[tuple[list[Tensor], float]], checked: bool
    ) -> None:
        self._optimizer, self._spheres, self._checked = optimizer, spheres, checked
        self._hooks = [
            optimizer.register_step_pre_hook(self._before),
            optimizer.register_step_post_hook(self._after),
        ]
        self.project_()

    def remove(self) -> None:
        """Let the weights go: from the next step on nothing is projected."""
        for hook in self._hooks:
            hook.remove()

    def _before(self, *_: Any) -> None:
        """Refuse the pole of CGD-S1 while nothing has moved."""
        if not self._checked:
            return
        kept = {id(tensor) for tensors, _ in self._spheres for tensor in tensors}
        for group in self._optimizer.param_groups:
            lr, weight_decay = float(group["lr"]), float(group.get("weight_decay", 0.0))
            if lr * weight_decay >= 1 and any(id(p) in kept for p in group["params"]):
                sphere_lr(lr, weight_decay)

    @torch.no_grad()
    def _after(self, *_: Any) -> None:
        for tensors, radius in self._spheres:
            (_project_there if _elsewhere(tensors) else project_)(tensors, radius)


def keep_on_sphere(
    optimizer: Optimizer,
    params: Iterable[Tensor],
    radius: Radius = None,
    *,
    per: Literal["all", "tensor"] = "all",
) -> SphereHandle:
    """Project ``params`` onto their sphere now and after every step of ``optimizer``.

    Args:
        optimizer: Any torch optimizer; its step gets a post-hook.
        params: The tensors to project. The others (biases, norms) move freely.
        radius: None is √N, "initial" the norm at this call, or a number.
        per: "all" tensors share one sphere, or each "tensor" has its own.

    Returns:
        A handle with ``remove()``, ``project_()`` and ``radii``.

    Raises:
        ValueError: For a bad ``per`` or ``radius``, weights of norm 0, and before a step of SGD,
            SGDW or SGDS whose lr · weight_decay >= 1 (CGD-S1). On an accelerator no step waits to
            look: weights that a step has left without a direction are NaN there.

    Source: Richemond & Guo 2019, Algorithms 1 to 3.

    Example:
        >>> w = torch.nn.Parameter(torch.tensor([3.0, 4.0]))
        >>> optimizer = torch.optim.SGD([w], lr=0.5)
        >>> handle = keep_on_sphere(optimizer, [w], radius="initial")
        >>> w.grad = torch.tensor([6.0, 0.0])
        >>> optimizer.step()  # to (0, 4), then back to norm 5
        >>> w.detach()
        tensor([0., 5.])
    """
    spheres = spheres_of(params, radius, per)
    # Adam divides its L2 by √v̂, so the pole of CGD-S1 is a fact of SGD and of decoupled decay.
    checked = isinstance(optimizer, torch.optim.SGD | torch.optim.AdamW) or type(
        optimizer
    ).__name__ in ("SGDW", "SGDS")
    return SphereHandle(optimizer, spheres, checked)
