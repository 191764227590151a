r"""The full and the reduced stochastic dynamics of scale-invariant weights, with any schedules.

Li, Lyu & Arora 2020, Theorem 5.1 and eqs. (5) to (10), (13); the closed forms at constant lr and
noise are in ``norm_dynamics``. The idea: with G = ‖W‖² and W̄ = W/‖W‖ the dynamics

    dW = -η (∇L(W) dt + Σ_W^(1/2) dB) - η λ W dt                                    (5), (13)

close in W̄ and G, and G has no noise of its own:

    dW̄ = -(η/G) (∇L(W̄) dt + Σ_W̄^(1/2) dB) - (η²/2G²) Tr Σ_W̄ W̄ dt                   (6)
    dG/dt = -2 η λ G + (η²/G) Tr Σ_W̄,  so  d(G²)/dt = -4 η λ G² + 2 η² Tr Σ_W̄       (7)

    paper   η(t)  λ(t)          Tr Σ_W̄   W                Σ_W^(1/2)
    code    lr    weight_decay  noise     start, the path  noise_root

Time is counted in steps: at h = 1 Euler-Maruyama *is* SGD with this noise, eq. (4). Where lr
jumps, G is continuous and γ = (G/η)² jumps by (old lr / new lr)².

Departures from the paper: none; (9) and (10) hold between jumps of lr only, (7) always.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import pairwise

import torch
from torch import Tensor

from etalambda._common import check_positive
from etalambda.theory._arrays import ArrayLike, nonnegative, positive
from etalambda.theory.norm_dynamics import gamma

Schedule = float | Callable[[float], float]
Field = Callable[[Tensor], Tensor]


def phased_gamma(
    durations: ArrayLike,
    lrs: ArrayLike,
    weight_decays: ArrayLike,
    noise: ArrayLike,
    gamma0: float,
) -> Tensor:
    """γ at the end of each phase of a step-wise schedule, exact: (12) and the jumps between.

    Args:
        durations: Steps of each phase, shape (phases,).
        lrs: η of each, above 0.
        weight_decays: λ of each, or one number.
        noise: Tr Σ at unit norm of each, or one number.
        gamma0: (‖W_0‖²/η)² with the first phase's lr.

    Returns:
        float64, shape (phases,), each with its phase's lr.

    Raises:
        ValueError: If an entry is out of range.

    Example:
        >>> phased_gamma([1e5, 0.0, 1e6], [0.1, 0.01, 0.01], 5e-3, 4.0, 1.0)  # drop: x 100, : 10
        tensor([  4000., 400000.,  40000.], dtype=torch.float64)
    """
    (lrs,) = positive(lrs=lrs)
    durations, decays, noise, now = nonnegative(
        durations=durations, weight_decays=weight_decays, noise=noise, gamma0=gamma0
    )
    plan = torch.broadcast_tensors(durations, lrs, decays, noise)
    if plan[0].ndim != 1:
        raise ValueError("durations or lrs must be a sequence, one entry a phase")
    before, found = plan[1][0], []
    for duration, lr, decay, level in zip(*plan, strict=True):
        now = gamma(duration, now * (before / lr) ** 2, lr * decay, level)
        before = lr
        found.append(now)
    return torch.stack(found)


def scheduled_norms(
    t: ArrayLike,
    lr: Schedule,
    weight_decay: Schedule,
    noise: Schedule,
    initial: float,
    *,
    breaks: Iterable[float] = (),
    tolerance: float = 1e-12,
) -> Tensor:
    """‖W_t‖² under any η(t), λ(t) and Tr Σ(t), eq. (7), integrated (DOP853).

    Args:
        t: Times in increasing order, in steps, from 0 on.
        lr, weight_decay, noise: Numbers or functions of time.
        initial: ‖W_0‖² > 0.
        breaks: Times at which a function jumps; the integration restarts there.
        tolerance: Relative, of the integrator.

    Returns:
        float64, the shape of ``t``. γ is (this / lr(t))².

    Raises:
        ValueError: If ``t`` is not increasing, or a schedule turns negative.

    Example:
        >>> halved = lambda t: 0.1 if t < 50 else 0.05
        >>> scheduled_norms([0.0, 50.0, 100.0], halved, 0.1, 4.0, 1.0, breaks=[50.0])
        tensor([1.0000, 1.3655, 1.1481], dtype=torch.float64)
    """
    from scipy.integrate import solve_ivp

    check_positive(initial=initial, tolerance=tolerance)
    (t,) = nonnegative(t=t)
    if t.ndim != 1 or not len(t) or (t.diff() < 0).any():
        raise ValueError("t must be a sequence of increasing times, in steps")
    eta, lam, trace = (
        _as_function(name, part)
        for name, part in dict(lr=lr, weight_decay=weight_decay, noise=noise).items()
    )

    def slope(s: float, squared: float) -> float:
        return -4 * eta(s) * lam(s) * squared + 2 * eta(s) ** 2 * trace(s)  # (7)

    edges = sorted({0.0, t[-1].item(), *(b for b in breaks if 0 < b < t[-1].item())})
    found, now = torch.full_like(t, initial**2), [initial**2]
    for low, high in pairwise(edges):
        inside = (t > low) & (t <= high)
        # A jump at `high` belongs to the next stretch: evaluate strictly inside this one.
        stop = high - 1e-12 * max(high, 1.0)

        def inner(s: float, squared: float, low: float = low, stop: float = stop) -> float:
            return slope(min(max(s, low), stop), squared)

        options = dict(method="DOP853", rtol=tolerance, atol=1e-14 * initial**2)
        path = solve_ivp(inner, (low, high), now, dense_output=True, **options)
        if inside.any():
            found[inside] = torch.from_numpy(path.sol(t[inside].numpy())[0])
        now = path.y[:, -1]
    return found.sqrt()


def tangent_noise(noise: float) -> Field:
    """A ``noise_root``: isotropic on the tangent space, Tr Σ = noise/‖W‖², as Lemma B.1 demands.

    Example:
        >>> root = tangent_noise(4.0)(torch.tensor([[2.0, 0.0, 0.0]]))
        >>> (root @ root.mT).diagonal(dim1=1, dim2=2)  # none along W, 4/2² across
        tensor([[0.0000, 0.5000, 0.5000]])
    """
    check_positive(noise=noise)

    def root(w: Tensor) -> Tensor:
        norm = w.norm(dim=-1, keepdim=True)
        unit, d = w / norm, w.shape[-1]
        eye = torch.eye(d, dtype=w.dtype, device=w.device)
        across = eye - unit[..., :, None] * unit[..., None, :]
        return across * ((noise / (d - 1)) ** 0.5 / norm)[..., None]

    return root


def euler_maruyama(
    gradient: Field,
    noise_root: Field,
    start: Tensor,
    lr: Schedule,
    weight_decay: Schedule,
    steps: int,
    *,
    h: float = 1.0,
    increments: Tensor | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Paths of eq. (13), many trials at once: W += -η (∇L h + Σ^(1/2) ΔB) - η λ W h.

    Args:
        gradient: W -> ∇L(W), shape (trials, d) to (trials, d), of any loss.
        noise_root: W -> a root of Σ_W, shape (trials, d, m) or (d, m), such as ``tangent_noise``.
        start: W_0, shape (trials, d).
        lr, weight_decay: Numbers or functions of time.
        steps: How many.
        h: The time of one, in steps of SGD; 1 is SGD itself.
        increments: ΔB of each step, shape (steps, trials, m), to couple several paths.
        generator: Of the increments, if they are not given.

    Returns:
        The path, shape (steps + 1, trials, d), in the dtype of ``start``.

    Raises:
        ValueError: If ``start`` is not (trials, d), or steps or h are not above 0.

    Example:
        >>> flat = lambda w: torch.zeros_like(w)
        >>> start = torch.tensor([[1.0, 0.0, 0.0]], dtype=torch.float64)
        >>> seed = torch.Generator().manual_seed(0)
        >>> path = euler_maruyama(flat, tangent_noise(4.0), start, 0.1, 0.1, 5, generator=seed)
        >>> path.shape
        torch.Size([6, 1, 3])
    """
    check_positive(steps=steps, h=h)
    if start.ndim != 2:
        raise ValueError(f"start must have shape (trials, d), got {tuple(start.shape)}")
    eta, lam = _as_function("lr", lr), _as_function("weight_decay", weight_decay)
    w, found = start, [start]
    for step in range(steps):
        now, root = step * h, noise_root(w)
        if increments is None:
            shape = (len(w), root.shape[-1])
            kick = torch.randn(shape, dtype=w.dtype, device=w.device, generator=generator) * h**0.5
        else:
            kick = increments[step]
        noise = (root @ kick[..., None])[..., 0]
        w = (1 - eta(now) * lam(now) * h) * w - eta(now) * (gradient(w) * h + noise)  # (13)
        found.append(w)
    return torch.stack(found)


def reduced_euler_maruyama(
    gradient: Field,
    noise_root: Field,
    start: Tensor,
    lr: Schedule,
    weight_decay: Schedule,
    steps: int,
    *,
    h: float,
    increments: Tensor,
) -> tuple[Tensor, Tensor]:
    """The same paths in the variables of Theorem 5.1, eqs. (6) and (7).

    Arguments and errors as ``euler_maruyama``.

    Returns:
        W̄, shape (steps + 1, trials, d), of norm 1 up to the error of the scheme, and G, shape
        (steps + 1, trials).

    Example:
        >>> flat = lambda w: torch.zeros_like(w)
        >>> start = torch.tensor([[1.0, 0.0, 0.0]], dtype=torch.float64)
        >>> rest = dict(lr=0.1, weight_decay=0.1, steps=5, h=1.0)
        >>> rest["increments"] = torch.zeros(5, 1, 3, dtype=torch.float64)
        >>> found = reduced_euler_maruyama(flat, tangent_noise(4.0), start, **rest)
        >>> [part.shape for part in found]
        [torch.Size([6, 1, 3]), torch.Size([6, 1])]
    """
    check_positive(steps=steps, h=h)
    eta, lam = _as_function("lr", lr), _as_function("weight_decay", weight_decay)
    norm2 = start.square().sum(-1)
    unit = start / norm2.sqrt()[:, None]
    units, norms = [unit], [norm2]
    for step in range(steps):
        now, root = step * h, noise_root(unit)
        rate = eta(now) / norm2
        trace = root.square().sum((-2, -1))
        kick = gradient(unit) * h + (root @ increments[step][..., None])[..., 0]
        unit = unit - rate[:, None] * kick - (rate**2 * trace / 2 * h)[:, None] * unit  # (6)
        norm2 = norm2 + h * (-2 * eta(now) * lam(now) * norm2 + eta(now) * rate * trace)  # (7)
        units.append(unit)
        norms.append(norm2)
    return torch.stack(units), torch.stack(norms)


def _as_function(name: str, schedule: Schedule) -> Callable[[float], float]:
    """A schedule as a function of time that refuses negative values by name."""

    def value(t: float) -> float:
        found = float(schedule(t)) if callable(schedule) else float(schedule)
        if not found >= 0:
            raise ValueError(f"{name} must be at least 0, got {found} at t = {t}")
        return found

    value(0.0)
    return value
