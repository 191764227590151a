r"""Gibbs measures: sampling and annealing spins, free energies, and the exact sums beside them.

Richemond & Guo 2019, eq. (1), (3), (4). The idea: P(s) = exp(-βH)/Z prefers low energies, the more
so the colder; annealing cools slowly to find them. Energies are models of
`etalambda.theory.spin_glass`.

    P(s) = exp(-βH(s))/Z(β)                                                          (1), (3)
    F_N(β) = (1/Nβ) ln Σ_s exp(-βH(s)) -> -min H/N as β -> ∞                         (4)
    ln Z(β) = N ln 2 - ∫₀^β ⟨H⟩_b db

    paper   β                    F_N(β)
    code    inverse_temperature  free_energy

Departures from the paper: (4) has the sign opposite to the physicists' free energy, kept here; its
limit is minus the ground state's energy density. The paper averages over couplings; these functions
take one draw, `etalambda.theory.quenched` averages. The inner maximum of its log-sum-exp is of -H.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from etalambda._common import check_nonnegative, check_positive
from etalambda.theory._arrays import ArrayLike, nonnegative
from etalambda.theory.critical_points import Landscape, retract
from etalambda.theory.spin_glass import PairModel

_MOST = 20  # spins that are enumerated: a million states


def all_states(size: int) -> Tensor:
    """Every spin vector, shape (2^N, N), N up to 20.

    >>> all_states(2).tolist()
    [[-1.0, -1.0], [1.0, -1.0], [-1.0, 1.0], [1.0, 1.0]]
    """
    if not 1 <= size <= _MOST:
        raise ValueError(f"size must lie in [1, {_MOST}] to enumerate all states, got {size}")
    bits = torch.arange(2**size)[:, None] >> torch.arange(size) & 1
    return 2 * bits.double() - 1


def exact_energy(model: PairModel, inverse_temperature: ArrayLike) -> Tensor:
    """⟨H⟩ at each β by enumeration, in the shape of ``inverse_temperature``; N up to 20.

    >>> from etalambda.theory.spin_glass import ising
    >>> exact_energy(ising([4]), 0.0)
    tensor(0., dtype=torch.float64)
    """
    (beta,) = nonnegative(inverse_temperature=inverse_temperature)
    energies = model.energy(all_states(model.size))
    return (torch.softmax(-beta[..., None] * energies, -1) * energies).sum(-1)


def exact_free_energy(model: PairModel, inverse_temperature: ArrayLike) -> Tensor:
    """F_N(β), eq. (4), by enumeration, in the shape of ``inverse_temperature``; N up to 20, β > 0.

    >>> from etalambda.theory.spin_glass import ising
    >>> exact_free_energy(ising([4]), 50.0)
    tensor(1.0035, dtype=torch.float64)
    """
    (beta,) = nonnegative(inverse_temperature=inverse_temperature)
    if (beta == 0).any():
        raise ValueError("inverse_temperature must be above 0, got 0: F_N is ln 2/β there")
    energies = model.energy(all_states(model.size))
    return torch.logsumexp(-beta[..., None] * energies, -1) / (model.size * beta)


def metropolis(
    model: PairModel, inverse_temperatures: ArrayLike, *, chains: int = 64, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """Single-spin Metropolis with one sweep an entry of ``inverse_temperatures``, shape (sweeps,).

    A constant entry samples (3); a rising one is simulated annealing.

    Returns:
        The last spins, shape (chains, N), and the energies after each sweep, (sweeps, chains).

    >>> from etalambda.theory.spin_glass import ising
    >>> spins, energies = metropolis(ising([6]), torch.linspace(0, 5, 60))
    >>> energies[-1].min()
    tensor(-6., dtype=torch.float64)
    """
    check_positive(chains=chains)
    (betas,) = nonnegative(inverse_temperatures=inverse_temperatures)
    generator = torch.Generator().manual_seed(seed)
    spins = torch.randint(0, 2, (chains, model.size), generator=generator).double() * 2 - 1
    field = spins @ model.couplings
    energies = []
    for beta in betas.reshape(-1).tolist():
        sweep(spins, field, model.couplings, beta, generator)
        energies.append(model.energy(spins))
    return spins, torch.stack(energies)


def sweep(
    spins: Tensor,
    field: Tensor,
    couplings: Tensor,
    inverse_temperature: float | Tensor,
    generator: torch.Generator,
) -> None:
    """Offer every spin one flip, in random order; ``spins`` and ``field`` change in place.

    ``field`` is ``spins @ couplings``, (..., N) as the spins. ``couplings`` (..., N, N) and
    ``inverse_temperature`` broadcast over the leading dimensions, so that many models or
    temperatures run side by side.

    >>> spins, bonds = torch.ones(2, 3).double(), torch.ones(3, 3).double().fill_diagonal_(0)
    >>> sweep(spins, spins @ bonds, bonds, 1e9, torch.Generator().manual_seed(0))
    >>> spins.sum()
    tensor(6., dtype=torch.float64)
    """
    for i in torch.randperm(spins.shape[-1], generator=generator).tolist():
        cost = 2 * spins[..., i] * field[..., i]
        u = torch.rand(cost.shape, dtype=torch.float64, generator=generator)
        step = torch.where(u < torch.exp(-inverse_temperature * cost), -2 * spins[..., i], 0.0)
        spins[..., i] += step
        field += step[..., None] * couplings[..., i, :]


def free_energy(
    model: PairModel,
    inverse_temperature: float,
    *,
    points: int = 16,
    sweeps: int = 400,
    chains: int = 64,
    seed: int = 0,
) -> tuple[float, float]:
    """(F_N(β), its standard error) by thermodynamic integration at Gauss-Legendre points of β.

    The error counts the chains as independent, their sweeps not; the first quarter is dropped.

    >>> from etalambda.theory.spin_glass import ising
    >>> value, error = free_energy(ising([4]), 0.5, sweeps=100)
    >>> abs(value - exact_free_energy(ising([4]), 0.5).item()) < 5 * error
    True
    """
    check_positive(inverse_temperature=inverse_temperature, points=points, sweeps=sweeps)
    nodes, weights = legendre(points, inverse_temperature)
    total, variance = model.size * math.log(2), 0.0
    for k, (beta, weight) in enumerate(zip(nodes, weights)):
        _, energies = metropolis(model, [beta] * sweeps, chains=chains, seed=seed + k)
        means = energies[sweeps // 4 :].mean(0)
        total -= weight * means.mean().item()
        variance += weight**2 * means.var().item() / chains
    scale = model.size * inverse_temperature
    return total / scale, math.sqrt(variance) / scale


def langevin(
    landscape: Landscape,
    start: Tensor,
    inverse_temperature: float,
    steps: int,
    *,
    step_size: float = 1e-3,
    seed: int = 0,
) -> Tensor:
    """Energies along Langevin dynamics dx = -∇φ dt + √(2/β) dW from ``start``, (steps, chains).

    On the sphere each step is projected. The Euler-Maruyama bias is O(``step_size``).

    >>> from etalambda.theory.spin_glass import SphericalSpinGlass
    >>> glass = SphericalSpinGlass({3: 1.0}, 10)
    >>> langevin(glass, glass.sample(4), 2.0, steps=5).shape
    torch.Size([5, 4])
    """
    check_nonnegative(steps=steps)
    check_positive(inverse_temperature=inverse_temperature, step_size=step_size)
    generator = torch.Generator().manual_seed(seed)
    noise = math.sqrt(2 * step_size / inverse_temperature)
    x, energies = start, []
    for _ in range(steps):
        kick = torch.randn(x.shape, dtype=torch.float64, generator=generator)
        x = retract(landscape, x - step_size * landscape.gradient(x) + noise * kick)
        energies.append(landscape.energy(x))
    return torch.stack(energies)


def legendre(points: int, end: float) -> tuple[list[float], list[float]]:
    """Gauss-Legendre nodes and weights on [0, ``end``], by the Golub-Welsch eigenvalues.

    Example:
        >>> nodes, weights = legendre(2, 2.0)
        >>> [round(node, 4) for node in nodes], [round(weight, 4) for weight in weights]
        ([0.4226, 1.5774], [1.0, 1.0])
    """
    k = torch.arange(1, points, dtype=torch.float64)
    off = k / (4 * k * k - 1).sqrt()
    nodes, vectors = torch.linalg.eigh(torch.diag(off, 1) + torch.diag(off, -1))
    return ((nodes + 1) * end / 2).tolist(), (vectors[0] ** 2 * end).tolist()
