r"""Spin models as energy functions with exact gradients: landscapes with known answers.

Richemond & Guo 2019, section 2, eq. (2), (5), (6). The idea: these energies are Gaussian fields
whose minima, saddles and thresholds are known, so an optimizer or a diagnosis can be held against
the truth.

    Ising          H = -J Σ_⟨ij⟩ s_i s_j, on a periodic lattice                          (2)
    Sherrington-K. H = -N^(-1/2) Σ_{i,j} J_ij s_i s_j, all N² pairs                      (5)
    p-spin         H = -N^(-(p-1)/2) Σ_{i₁...i_p} J_{i₁...i_p} s_{i₁}...s_{i_p}          (6)
    mixed          H = Σ_p a_p H_p,  covariance N ξ(q),  ξ(q) = Σ a_p² q^p,  q = x·y/N

Spins s are ±1; the p-spin models live on the sphere |x|² = N. Energies are extensive, O(N), and
take any leading dimensions.

Departures from the paper: (6) prints the sum over i, j; it runs over i₁...i_p. The lattice of (2)
lies in Z^d, not in R^d. Couplings are stored symmetrized, which leaves each energy as it is.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from etalambda.theory._amplitudes import check_amplitudes
from etalambda.theory.gaussian_field import GaussianField

_LARGEST = 2**27  # entries of one coupling tensor: 1 GiB


@dataclass(frozen=True)
class PairModel:
    """H(s) = -½ sᵀAs + constant for spins ±1, A symmetric with a zero diagonal, shape (N, N).

    Example:
        >>> chain = ising([4])
        >>> chain.energy(torch.ones(4).double())
        tensor(-4., dtype=torch.float64)
    """

    couplings: Tensor
    constant: float = 0.0

    @property
    def size(self) -> int:
        """N, the number of spins."""
        return len(self.couplings)

    def energy(self, spins: Tensor) -> Tensor:
        """H, of shape ``spins.shape[:-1]``."""
        spins = _checked(spins, self.size)
        return self.constant - (spins * (spins @ self.couplings)).sum(-1) / 2

    def gradient(self, spins: Tensor) -> Tensor:
        """∂H/∂s = -As, in the shape of ``spins``; minus the local field."""
        return -_checked(spins, self.size) @ self.couplings


def ising(shape: Sequence[int], coupling: float = 1.0) -> PairModel:
    """The Ising model of eq. (2) on a periodic lattice; spins in row-major order.

    A side of length 2 has one bond, not two.

    Args:
        shape: The lattice's sides, for instance [4, 4].
        coupling: J; positive is ferromagnetic.

    >>> ising([3, 3]).couplings.sum()
    tensor(36., dtype=torch.float64)
    """
    if not shape or any(side < 1 for side in shape):
        raise ValueError(f"shape must hold sides of at least 1, got {list(shape)}")
    sites = torch.arange(math.prod(shape)).reshape(*shape)
    bonds = torch.zeros(sites.numel(), sites.numel(), dtype=torch.float64)
    for axis in range(len(shape)):
        bonds[sites.flatten(), sites.roll(-1, axis).flatten()] = coupling
    bonds = torch.where(bonds == 0, bonds.T, bonds)
    return PairModel(bonds.fill_diagonal_(0))


def sherrington_kirkpatrick(size: int, *, seed: int = 0) -> PairModel:
    """The model of eq. (5): N² independent standard couplings, covariance N q².

    >>> sherrington_kirkpatrick(8).couplings.diagonal().abs().sum()
    tensor(0., dtype=torch.float64)
    """
    _check_size(size)
    raw = torch.randn(size, size, dtype=torch.float64, generator=_generator(seed)) / size**0.5
    constant = -raw.trace().item()  # s_i² = 1
    return PairModel((raw + raw.T).fill_diagonal_(0), constant)


class SphericalSpinGlass:
    """A pure or mixed p-spin model on the sphere |x|² = N, eq. (6), with exact derivatives.

    Args:
        amplitudes: p -> a_p, for instance {3: 1.0} for the pure 3-spin model.
        size: N. Memory is 8 N^p bytes for the largest p.
        seed: The disorder.

    Example:
        >>> glass = SphericalSpinGlass({3: 1.0}, 20)
        >>> x = glass.sample(4, seed=1)
        >>> glass.energy(x).shape, glass.hessian(x).shape
        (torch.Size([4]), torch.Size([4, 20, 20]))
        >>> bool(torch.isclose((glass.gradient(x) * x).sum(-1), 3 * glass.energy(x)).all())
        True
    """

    on_sphere = True

    def __init__(self, amplitudes: Mapping[int, float], size: int, *, seed: int = 0) -> None:
        check_amplitudes(amplitudes)
        _check_size(size)
        for p in amplitudes:
            if size**p > _LARGEST:
                raise ValueError(f"size={size} with p={p} needs {size**p:.1e} couplings; reduce")
        self.field = GaussianField.mixed(amplitudes)
        self.size = size
        generator = _generator(seed)
        self.couplings = {
            p: -a * size ** (-(p - 1) / 2) * _symmetric(size, p, generator)
            for p, a in sorted(amplitudes.items())
        }

    def energy(self, x: Tensor) -> Tensor:
        """H, of shape ``x.shape[:-1]``."""
        x = _checked(x, self.size)
        return sum((self._contract(p, x, p) for p in self.couplings), torch.zeros(()).double())

    def gradient(self, x: Tensor) -> Tensor:
        """The Euclidean gradient, in the shape of ``x``."""
        x = _checked(x, self.size)
        return sum((p * self._contract(p, x, p - 1) for p in self.couplings), torch.zeros_like(x))

    def hessian(self, x: Tensor) -> Tensor:
        """The Euclidean Hessian, of shape ``(*x.shape, N)``."""
        x = _checked(x, self.size)
        terms = (p * (p - 1) * self._contract(p, x, p - 2) for p in self.couplings if p > 1)
        return sum(terms, x.new_zeros(*x.shape, self.size))

    def derivatives(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Energy, gradient and Hessian; for one pure p at the price of the Hessian alone."""
        if len(self.couplings) > 1:
            return self.energy(x), self.gradient(x), self.hessian(x)
        (p,) = self.couplings
        hessian = self.hessian(x)
        gradient = torch.einsum("...ij,...j->...i", hessian, x) / (p - 1)
        return (gradient * x).sum(-1) / p, gradient, hessian

    def sample(self, count: int, *, seed: int = 0) -> Tensor:
        """``count`` uniform points of the sphere, shape (count, N)."""
        z = torch.randn(count, self.size, dtype=torch.float64, generator=_generator(seed))
        return z * (self.size**0.5 / z.norm(dim=-1, keepdim=True))

    def _contract(self, p: int, x: Tensor, times: int) -> Tensor:
        """The coupling tensor with ``times`` of its p slots filled by x."""
        flat = x.reshape(-1, self.size)
        if times == 0:
            shape = (*x.shape[:-1], *self.couplings[p].shape)
            return self.couplings[p].expand(shape)
        value = flat @ self.couplings[p].reshape(self.size, -1)
        for _ in range(times - 1):
            value = torch.bmm(flat[:, None], value.reshape(len(flat), self.size, -1))[:, 0]
        return value.reshape((*x.shape[:-1], *[self.size] * (p - times)))


def _symmetric(size: int, p: int, generator: torch.Generator) -> Tensor:
    """N^p independent standard couplings, averaged over the orders of their indices."""
    raw = torch.randn(*[size] * p, dtype=torch.float64, generator=generator)
    total = torch.zeros_like(raw)
    for order in itertools.permutations(range(p)):
        total += raw.permute(order)
    return (total / math.factorial(p)).contiguous()


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _check_size(size: int) -> None:
    if size < 2:
        raise ValueError(f"size must be at least 2, got {size}")


def _checked(x: Tensor, size: int) -> Tensor:
    if x.shape[-1:] != (size,):
        raise ValueError(f"the last dimension must be {size}, got shape {tuple(x.shape)}")
    return x
