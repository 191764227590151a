r"""Free energies averaged over the couplings: quenched, and the annealed bound above it.

Richemond & Guo 2019, eq. (4). The idea: (4) averages the logarithm of Z over the disorder, and what
has a closed form is the logarithm of the average. By Jensen the second is never smaller:

    F_N(β) = (1/Nβ) E ln Z  <=  (1/Nβ) ln E Z = ln 2/β + β f₀/2                          (4)
    E ln Z = N ln 2 - ∫₀^β E⟨H⟩_b db

for a Gaussian energy of variance N f₀ at each of the 2^N states (on a sphere, of measure 1, without
the ln 2). For Sherrington-Kirkpatrick, (5), they meet at N = ∞ up to β = 1/√2: Nβ times their
distance tends to β²/2 + ¼ (-ln(1 - 2β²) - 2β²) (Aizenman, Lebowitz & Ruelle 1987; β²/2 is what the
diagonal of (5) costs). Colder, the annealed one is wrong at N = ∞ too: it grows as β/2, while F_N
tends to minus the ground state's energy density.

    paper   β                    F_N(β)
    code    inverse_temperature  quenched_free_energy

Departures from the paper: its complexities, eq. (7), are annealed; this is the distance that such
an average can have, on models where both sides are known. The sign of F_N is the paper's.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from etalambda._common import check_positive
from etalambda.theory._arrays import ArrayLike, nonnegative, positive
from etalambda.theory.critical_points import Landscape, retract
from etalambda.theory.gibbs import exact_free_energy, legendre, sweep
from etalambda.theory.spin_glass import PairModel


@dataclass(frozen=True)
class FreeEnergy:
    """F_N(β) averaged over draws.

    Attributes:
        value: The mean.
        error: Its standard error over draws, sampling included.
        sampling_error: The part of it that more sweeps or chains would remove.
        by_draw: F_N of each draw, shape (draws,).

    Example:
        >>> found = FreeEnergy(0.9, 0.02, 0.01, torch.tensor([0.88, 0.92]))
        >>> found.value  # as `quenched_free_energy` has it
        0.9
    """

    value: float
    error: float
    sampling_error: float
    by_draw: Tensor


def annealed_free_energy(
    inverse_temperature: ArrayLike, *, variance: ArrayLike = 1.0, log_states: float = math.log(2)
) -> Tensor:
    """(1/Nβ) ln E Z = ``log_states``/β + β f₀/2, exact at every N; the arguments broadcast.

    Args:
        inverse_temperature: β > 0.
        variance: f₀, the variance of the energy over N: 1 for eq. (5) and (6).
        log_states: (1/N) ln of the number of states: ln 2 for ±1, 0 for a sphere of measure 1.

    >>> annealed_free_energy(1.0)
    tensor(1.1931, dtype=torch.float64)
    """
    (beta,), (variance,) = (
        positive(inverse_temperature=inverse_temperature),
        nonnegative(variance=variance),
    )
    return log_states / beta + beta * variance / 2


def annealing_gap(inverse_temperature: ArrayLike) -> Tensor:
    """ln E Z - E ln Z of Sherrington-Kirkpatrick at N = ∞, for β < 1/√2; infinite from there on.

    >>> annealing_gap([0.0, 0.4, 0.8])
    tensor([0.0000, 0.0964,    inf], dtype=torch.float64)
    """
    (beta,) = nonnegative(inverse_temperature=inverse_temperature)
    u = 2 * beta**2
    return torch.where(u < 1, beta**2 / 2 - (torch.log1p(-u.clamp_max(1.0)) + u) / 4, math.inf)


def exact_quenched_free_energy(
    draw: Callable[[int], PairModel], inverse_temperature: float, *, draws: int = 100, seed: int = 0
) -> FreeEnergy:
    """F_N(β) by enumeration of all states of each draw, N up to 20.

    Args:
        draw: seed -> a model, called with ``seed`` and the ``draws`` - 1 numbers after it.
        inverse_temperature: β > 0.
        draws: At least 2.
        seed: The first draw.

    Example:
        >>> from etalambda.theory.spin_glass import sherrington_kirkpatrick
        >>> found = exact_quenched_free_energy(
        ...     lambda seed: sherrington_kirkpatrick(6, seed=seed), 1.0, draws=50)
        >>> found.value < annealed_free_energy(1.0)
        tensor(True)
    """
    _check_draws(draws)
    values = [exact_free_energy(draw(seed + k), inverse_temperature) for k in range(draws)]
    return _averaged(torch.stack(values), torch.zeros(draws).double())


def quenched_free_energy(
    draw: Callable[[int], PairModel],
    inverse_temperature: float,
    *,
    draws: int = 32,
    points: int = 10,
    sweeps: int = 240,
    chains: int = 16,
    seed: int = 0,
) -> FreeEnergy:
    """F_N(β) by thermodynamic integration, all draws and temperatures side by side.

    Metropolis at Gauss-Legendre points of β; the first quarter of the sweeps cools from b = 0 and
    is dropped. Cold and large models have to be given more sweeps.

    Args:
        draw: seed -> a model, as in `exact_quenched_free_energy`; all of one size.
        inverse_temperature: β > 0.
        draws: At least 2.
        points: Temperatures of the integral.
        sweeps: Of each chain, at least 4.
        chains: A draw and temperature, at least 2.
        seed: The first draw, and the seed of the chains.

    Raises:
        ValueError: If a number is out of range.

    Example:
        >>> from etalambda.theory.spin_glass import sherrington_kirkpatrick
        >>> draw = lambda seed: sherrington_kirkpatrick(6, seed=seed)
        >>> found = quenched_free_energy(draw, 0.8, draws=4, sweeps=100)
        >>> exact = exact_quenched_free_energy(draw, 0.8, draws=4)
        >>> abs(found.value - exact.value) < 5 * found.sampling_error
        True
    """
    check_positive(inverse_temperature=inverse_temperature, points=points)
    _check_draws(draws)
    if sweeps < 4 or chains < 2:
        raise ValueError(f"sweeps must be >= 4 and chains >= 2, got {sweeps} and {chains}")
    models = [draw(seed + k) for k in range(draws)]
    couplings = torch.stack([model.couplings for model in models])[:, None]
    constants = torch.tensor([model.constant for model in models]).double()[:, None]
    size = couplings.shape[-1]
    nodes, weights = (torch.tensor(v).double() for v in legendre(points, inverse_temperature))
    generator = torch.Generator().manual_seed(seed)
    spins = torch.randint(0, 2, (points, draws, chains, size), generator=generator).double() * 2 - 1
    field = (spins[..., None, :] @ couplings)[..., 0, :]
    total, warm = torch.zeros(points, draws, chains).double(), sweeps // 4
    for t in range(sweeps):
        beta = nodes[:, None, None] * min(1.0, t / warm)
        sweep(spins, field, couplings, beta, generator)
        if t >= warm:
            total += constants - (spins * field).sum(-1) / 2
    means = total / (sweeps - warm)
    scale = size * inverse_temperature
    by_draw = (size * math.log(2) - (weights[:, None] * means.mean(-1)).sum(0)) / scale
    variances = (weights[:, None] ** 2 * means.var(-1) / chains).sum(0) / scale**2
    return _averaged(by_draw, variances)


def sphere_free_energy(
    landscape: Landscape,
    inverse_temperature: float,
    *,
    points: int = 6,
    steps: int = 800,
    chains: int = 32,
    step_size: float = 0.02,
    seed: int = 0,
) -> tuple[float, float]:
    """(F_N(β), its standard error) of one draw on the sphere of measure 1, by Langevin dynamics.

    Thermodynamic integration, all temperatures side by side; the first quarter of the ``steps`` is
    dropped. A step moves each coordinate by √(2 ``step_size``), and its bias is O(``step_size``).

    >>> from etalambda.theory.spin_glass import SphericalSpinGlass
    >>> value, error = sphere_free_energy(SphericalSpinGlass({3: 1.0}, 20), 0.5, steps=100)
    >>> abs(value - 0.25) < 0.1  # annealed: β/2
    True
    """
    check_positive(inverse_temperature=inverse_temperature, points=points, step_size=step_size)
    if steps < 4 or chains < 2:
        raise ValueError(f"steps must be >= 4 and chains >= 2, got {steps} and {chains}")
    if not landscape.on_sphere:
        raise ValueError("landscape must lie on the sphere; flat space has no finite measure")
    nodes, weights = (torch.tensor(v).double() for v in legendre(points, inverse_temperature))
    rate = step_size * nodes[:, None, None]  # so that the noise of a step is the same at every β
    generator = torch.Generator().manual_seed(seed)
    x = landscape.sample(points * chains, seed=seed).reshape(points, chains, -1)
    total = torch.zeros(points, chains).double()
    for t in range(steps):
        kick = torch.randn(x.shape, dtype=torch.float64, generator=generator)
        moved = x - rate * landscape.gradient(x) + math.sqrt(2 * step_size) * kick
        x = retract(landscape, moved)
        if t >= steps // 4:
            total += landscape.energy(x)
    means = total / (steps - steps // 4)
    scale = landscape.size * inverse_temperature
    variance = (weights**2 * means.var(-1) / chains).sum()
    return -(weights * means.mean(-1)).sum().item() / scale, variance.sqrt().item() / scale


def _averaged(by_draw: Tensor, variances: Tensor) -> FreeEnergy:
    error = by_draw.std().item() / len(by_draw) ** 0.5
    sampling = variances.sum().sqrt().item() / len(by_draw)
    return FreeEnergy(by_draw.mean().item(), error, sampling, by_draw)


def _check_draws(draws: int) -> None:
    if draws < 2:
        raise ValueError(f"draws must be at least 2 for a standard error, got {draws}")
