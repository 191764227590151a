"""The sphere without a pass of its own, for losses that are homogeneous on it.

Projecting after each step (Richemond & Guo 2019, Algorithms 1 to 3) reads the weights for their
norm and writes them scaled. Leave them unscaled instead, at θ̃ = θ / a with a = r / ‖θ̃‖, and let
the next step do it: its decay multiplies the weights anyway,

    (1 - η w) θ - η u(∇L(θ))  =  a (1 - η w) θ̃ - η u(a^(d-1) ∇L(θ̃))

for L homogeneous of degree d: p for a p-spin glass, 0 where normalization layers make the loss
scale invariant. So the step takes weight_decay (1 - a (1 - η w)) / η and gradients times a^(d-1),
and only the norm is left to pay for.

    paper   η    w = 2λ        r        d
    code    lr   weight_decay  radius   degree

Departures from the paper: none in what is computed; between steps the weights are off the sphere
by one step, which such a loss sees through a known factor only (degree 0: not at all).
"""

from collections.abc import Iterable
from typing import Any, Literal

import torch
from torch import Tensor
from torch.optim import Optimizer

from etalambda.optim._base import as_float
from etalambda.optim.hooks import Active, DecayHook
from etalambda.optim.sphere import OnSpheres, Radius, norm_of, project_, sphere_lr, spheres_of

Sphere = tuple[list[Tensor], float]


class LazySphere(OnSpheres, DecayHook):
    """What `lazy_sphere` returns: the radii it keeps, ``project_()`` and ``remove()``.

    Example:
        >>> w = torch.nn.Parameter(torch.tensor([3.0, 4.0]))
        >>> handle = lazy_sphere(torch.optim.SGD([w], lr=0.5), [w], "initial", degree=0)
        >>> handle.radii
        [5.0]
        >>> handle.remove()
    """

    def __init__(self, optimizer: Optimizer, spheres: list[Sphere], degree: float) -> None:
        _check_rule(optimizer)
        self._spheres, self._degree = spheres, degree
        self._of_group(optimizer.param_groups)
        self._former_scale: tuple[Any, ...] | None = None
        super().__init__(optimizer)

    def remove(self) -> None:
        """Project a last time and let the weights go."""
        self.project_()
        super().remove()

    def state_dict(self) -> dict[str, Any]:
        """The radii; how far the weights are off them is in the weights."""
        return super().state_dict() | dict(radii=self.radii)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on with the radii of a `state_dict`; load the weights as well, in any order."""
        if len(state_dict["radii"]) != len(self._spheres):
            raise ValueError(
                f"state_dict has {len(state_dict['radii'])} radii for {len(self._spheres)} "
                "spheres; set the hook with the same per= as it was saved with"
            )
        super().load_state_dict(state_dict)
        radii = state_dict["radii"]
        self._spheres = [(ts, radius) for (ts, _), radius in zip(self._spheres, radii)]

    def begin(self, rows: Active) -> None:
        self.project_()

    def act(self, optimizer: Optimizer, active: Active) -> None:
        """Nothing is left to do after the step."""

    @torch.no_grad()
    def _before(self, optimizer: Optimizer, *arguments: Any) -> None:
        groups = optimizer.param_groups
        pairs = [(group, sphere) for group, sphere in zip(groups, self._of_group(groups))]
        for group, sphere in pairs:
            if sphere is not None:
                sphere_lr(as_float(group["lr"]), as_float(group["weight_decay"]))  # the pole
        closure = _closure(arguments)
        shares = {id(sphere): self._share(sphere, groups, closure) for sphere in self._spheres}
        super()._before(optimizer)
        plain = len(self._spheres) == 1 and all(sphere is not None for _, sphere in pairs)
        for (group, sphere), decay in zip(pairs, self._taken[optimizer]):
            group["weight_decay"] = decay
            if sphere is not None:
                share, lr = shares[id(sphere)], as_float(group["lr"])
                if share != 1:
                    group["weight_decay"] = (1 - share * (1 - lr * as_float(decay))) / lr
                if not plain:
                    _multiply(group["params"], share ** (self._degree - 1))
        if plain:
            self._multiply_all(optimizer, shares[id(self._spheres[0])] ** (self._degree - 1))

    def _share(self, sphere: Sphere, groups: list[dict[str, Any]], closure: bool) -> float:
        """a = r / ‖θ̃‖; 1 after projecting at once, where the step could not carry it."""
        tensors, radius = sphere
        norm = as_float(norm_of(tensors))
        if not norm > 0:
            project_(tensors, radius)  # raises, and says why
        share = radius / norm
        frozen = any(p.grad is None for p in tensors)
        still = any(as_float(g["lr"]) == 0 for g in groups)
        if not (closure or frozen or still):
            return share
        project_(tensors, radius)
        if not closure:
            _multiply(tensors, share ** (self._degree - 1))
        return 1.0

    def _multiply_all(self, optimizer: Optimizer, factor: float) -> None:
        """All gradients times ``factor``, by the fused kernel if it can, which divides."""
        grads = [p.grad for group in optimizer.param_groups for p in group["params"]]
        wide = any(g is not None and g.dtype == torch.float64 for g in grads)
        if factor == 1 or wide or not optimizer.defaults.get("fused"):
            for group in optimizer.param_groups:
                _multiply(group["params"], factor)
            return
        former = getattr(optimizer, "grad_scale", None)
        device = next(g.device for g in grads if g is not None)
        scale = torch.full((), 1 / factor, device=device) * (1 if former is None else former)
        self._former_scale = (former,)
        optimizer.grad_scale = scale.reshape(()).float()  # type: ignore[attr-defined]

    def _give_back(self, optimizer: Optimizer) -> None:
        super()._give_back(optimizer)
        if self._former_scale is not None:
            (former,), self._former_scale = self._former_scale, None
            if former is None:
                del optimizer.grad_scale  # type: ignore[attr-defined]
            else:
                optimizer.grad_scale = former  # type: ignore[attr-defined]

    def _of_group(self, groups: list[dict[str, Any]]) -> list[Sphere | None]:
        """The sphere of each group, which has one factor and so at most one sphere."""
        home = {p: sphere for sphere in self._spheres for p in sphere[0]}
        found: list[Sphere | None] = []
        for index, group in enumerate(groups):
            spheres = [home.get(p) for p in group["params"] if p.requires_grad]
            if any(sphere is not spheres[0] for sphere in spheres):
                raise ValueError(
                    f"param group {index} has tensors on different spheres, or on and off one; "
                    "give each sphere groups of its own, or use keep_on_sphere"
                )
            found.append(spheres[0] if spheres else None)
        return found


def _closure(arguments: tuple[Any, ...]) -> bool:
    """Whether gradients are still to come: then the weights must be on the sphere already."""
    args, kwargs = arguments
    return any(a is not None for a in args[1:]) or kwargs.get("closure") is not None


def _multiply(params: list[Tensor], factor: float) -> None:
    grads = [p.grad for p in params if p.grad is not None]
    if factor != 1 and grads:
        torch._foreach_mul_(grads, factor)


def _check_rule(optimizer: Optimizer) -> None:
    """Only a step that multiplies the weights by 1 - η w and nothing else can carry a factor."""
    name, groups = type(optimizer).__name__, optimizer.param_groups
    if name in ("AdamW", "Muon") or all(g.get("decoupled_weight_decay") for g in groups):
        return
    if name == "AdamS" and all(g["power"] == 0 for g in groups):
        return
    if name in ("SGD", "SGDW", "SGDS") and all(g["momentum"] == 0 for g in groups):
        return
    raise ValueError(
        f"lazy_sphere needs a step that keeps 1 - lr · weight_decay of the weights (AdamW, Muon, "
        f"AdamS at power=0, SGD without momentum), and {name} is none; use keep_on_sphere"
    )


def lazy_sphere(
    optimizer: Optimizer,
    params: Iterable[Tensor],
    radius: Radius = None,
    *,
    degree: float,
    per: Literal["all", "tensor"] = "all",
) -> LazySphere:
    """`keep_on_sphere` at the price of a norm, for a loss that is homogeneous in ``params``.

    Step for step the same directions as the eager projection (1e-14 in float64). Between steps the
    weights are one step off the sphere: call ``project_()`` before you save, average or evaluate
    them, unless the loss is scale invariant. Gradients are multiplied in place.

    Args:
        optimizer: torch's AdamW or Muon, AdamS at ``power=0``, or SGD without momentum.
        params: The tensors on the sphere: whole param groups.
        radius: None is √N, "initial" the norm at this call, or a number.
        degree: d, with L(aθ) = a^d L(θ): 0 for scale-invariant weights, p for a p-spin glass. A
            wrong degree gives wrong steps; `etalambda.diagnose.homogeneity` measures it.
        per: "all" tensors share one sphere, or each "tensor" has its own (and its own group).

    Returns:
        A handle with ``project_()``, ``radii``, ``state_dict()`` and ``remove()``.

    Raises:
        ValueError: For another optimizer, a group that is only partly on a sphere, weights of norm
            0, and before a step with lr · weight_decay >= 1 (CGD-S1).

    Source: Richemond & Guo 2019, Algorithms 1 to 3; the fold is exact algebra.

    Example:
        >>> w = torch.nn.Parameter(torch.tensor([3.0, 4.0]))
        >>> optimizer = torch.optim.SGD([w], lr=0.5)
        >>> handle = lazy_sphere(optimizer, [w], "initial", degree=0)
        >>> w.grad = torch.tensor([6.0, 0.0])
        >>> optimizer.step()  # to (0, 4), and not yet back to norm 5
        >>> w.detach()
        tensor([0., 4.])
        >>> handle.project_()
        >>> w.detach()
        tensor([0., 5.])
    """
    return LazySphere(optimizer, spheres_of(params, radius, per), float(degree))
