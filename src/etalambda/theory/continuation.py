r"""Continuation: minimize where L2 makes the landscape convex, then take the L2 away.

Richemond & Guo 2019, section 3.3 and the end of section 4 ("convex optimization"). The idea: at
λ = `GaussianField.convexifying_l2` the landscape φ + λ|x|² has no negative curvature at typical
points and above ``trivializing_l2`` one minimum; follow that minimum while λ falls to 0.

Departures from the paper: it proposes no algorithm. L-BFGS is the inner method; λ falls linearly,
or along the ridge, λ = √f₂(1 - ε/ε_c)₊ at the energy ε just reached. Flat space only.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from etalambda._common import check_nonnegative, check_positive, unknown
from etalambda.theory.critical_points import Landscape

PATHS = ("linear", "ridge")


@dataclass(frozen=True)
class Followed:
    """A path of minima: λ and ε at each stage, the last point, and the gradients spent.

    Example:
        >>> found = Followed([1.0, 0.0], [-0.4, -1.5], torch.zeros(2), calls=12)  # from `follow`
        >>> found.energies[-1]
        -1.5
    """

    l2: list[float]
    energies: list[float]
    point: Tensor
    calls: int


def minimize(
    landscape: Landscape, start: Tensor, l2: float = 0.0, *, max_iter: int = 500
) -> tuple[Tensor, int]:
    """A minimum of φ + λ|x|² by L-BFGS from ``start``, shape (N,), and the gradients spent.

    >>> from etalambda.theory.random_field import RandomFourierField
    >>> field = RandomFourierField(5, features=100)
    >>> x, calls = minimize(field, field.sample(1)[0])
    >>> bool(field.gradient(x).norm() < 1e-6), calls > 1
    (True, True)
    """
    check_nonnegative(l2=l2)
    check_positive(max_iter=max_iter)
    _need_flat(landscape)
    x = start.clone().requires_grad_()
    optimizer = torch.optim.LBFGS(
        [x],
        max_iter=max_iter,
        tolerance_grad=1e-9,
        tolerance_change=1e-14,
        line_search_fn="strong_wolfe",
    )
    calls = 0

    def closure() -> Tensor:
        nonlocal calls
        calls += 1
        point = x.detach()
        x.grad = landscape.gradient(point) + 2 * l2 * point
        return landscape.energy(point) + l2 * point.square().sum()

    optimizer.step(closure)
    return x.detach(), calls


def follow(
    landscape: Landscape,
    start: Tensor,
    *,
    stages: int = 20,
    l2: float | None = None,
    path: str = "linear",
) -> Followed:
    """Minimize at λ₀, lower λ in ``stages`` steps to 0, minimizing again at each.

    Args:
        landscape: A flat one.
        start: Shape (N,).
        stages: How many values of λ after the first.
        l2: λ₀; the default is the convexifying one at ε = 0, √f₂.
        path: "linear", or "ridge": the convexifying λ at the energy just reached, but never above
            the linear path, so that it ends at 0.

    Raises:
        ValueError: On the sphere, where L2 bends nothing, or for an unknown path.

    >>> from etalambda.theory.random_field import RandomFourierField
    >>> field = RandomFourierField(5, features=100)
    >>> found = follow(field, field.sample(1)[0], stages=4)
    >>> found.l2[-1], found.energies[-1] < found.energies[0]
    (0.0, True)
    """
    _need_flat(landscape)
    check_positive(stages=stages)
    if path not in PATHS:
        raise unknown("path", path, PATHS)
    field = landscape.field
    first = float(field.convexifying_l2(0.0)) if l2 is None else l2
    check_nonnegative(l2=first)
    x, calls = minimize(landscape, start, first)
    values, energies = [first], [landscape.energy(x).item() / landscape.size]
    for stage in range(1, stages + 1):
        now = first * (1 - stage / stages)
        if path == "ridge":
            now = min(now, float(field.convexifying_l2(energies[-1])))
        x, spent = minimize(landscape, x, now)
        calls += spent
        values.append(now)
        energies.append(landscape.energy(x).item() / landscape.size)
    return Followed(values, energies, x, calls)


def _need_flat(landscape: Landscape) -> None:
    if landscape.on_sphere:
        raise ValueError(
            "landscape must be flat, got one on the sphere: |x|² is constant there and L2 bends "
            "nothing; use RandomFourierField"
        )
