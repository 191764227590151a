"""Lanczos with full reorthogonalization: both edges, density, trace and index from one call.

Golub & Meurant 2010; Ghorbani, Krishnan & Xiao 2019 for networks. The idea: m products with a
symmetric matrix H, started from a random unit vector v, give a tridiagonal T whose eigenvalues θ_k
(nodes) and squared first eigenvector entries ω_k (weights) integrate the spectrum as v sees it:

    vᵀ f(H) v ≈ Σ_k ω_k f(θ_k),      E_v vᵀ f(H) v = tr f(H) / n

Exact once m reaches the number of distinct eigenvalues. Without reorthogonalization copies of the
edges would appear among the nodes; two passes keep the basis orthogonal to rounding.

Departures from the literature: the index counts eigenvalues below a threshold -τ max|θ|, never
below 0. Networks have a huge mass near 0 whose sign Lanczos cannot see (measured on a network of
100 000 weights: raw index 0.10, 0.61, 0.04 for m = 32, 64, 128).
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from etalambda._common import check_nonnegative, check_positive


@dataclass(frozen=True)
class Estimate:
    """A mean over random probes with its standard error (NaN for a single probe)."""

    value: float
    standard_error: float


class Ritz(NamedTuple):
    """An approximate eigenvalue; an exact one lies within ``residual`` of it.

    Example:
        >>> diagonal = torch.tensor([-1.0, 0.0, 2.0, 5.0], dtype=torch.float64)
        >>> top = lanczos(lambda v: diagonal * v, 4, steps=4, dtype=torch.float64).top(1)[0]
        >>> round(top.value, 6), top.residual < 1e-6
        (5.0, True)
    """

    value: float
    residual: float


def _estimate(samples: Tensor) -> Estimate:
    probes = len(samples)
    error = float(samples.std() / probes**0.5) if probes > 1 else float("nan")
    return Estimate(float(samples.mean()), error)


@dataclass(frozen=True)
class Spectrum:
    """What Lanczos saw of a symmetric matrix.

    Attributes:
        nodes: One tensor of at most ``steps`` Ritz values a probe, ascending, float64.
        weights: Their weights, in the same shapes; each sums to 1.
        dimension: n, the number of rows of the matrix.
        error_low: Residual norm of the smallest Ritz pair: an eigenvalue lies this near to it.
        error_high: The same for the largest.
        residuals: Of all Ritz pairs, in the shapes of ``nodes``.

    Example:
        >>> diagonal = torch.tensor([-1.0, 0.0, 2.0, 5.0], dtype=torch.float64)
        >>> spectrum = lanczos(lambda v: diagonal * v, 4, steps=4, dtype=torch.float64)
        >>> spectrum.dimension, round(spectrum.low, 6)
        (4, -1.0)
    """

    nodes: list[Tensor]
    weights: list[Tensor]
    dimension: int
    error_low: float
    error_high: float
    residuals: list[Tensor] = field(default_factory=list)

    @property
    def low(self) -> float:
        """The smallest eigenvalue, from above."""
        return min(float(nodes[0]) for nodes in self.nodes)

    @property
    def high(self) -> float:
        """The largest eigenvalue, from below."""
        return max(float(nodes[-1]) for nodes in self.nodes)

    def top(self, k: int) -> list[Ritz]:
        """The k largest eigenvalues, the largest first, as one probe saw them.

        A repeated eigenvalue shows once: a single start vector has one direction in its space.

        Raises:
            ValueError: If k is not between 1 and the number of Ritz values.
        """
        best = max(range(len(self.nodes)), key=lambda i: float(self.nodes[i][-1]))
        nodes, residuals = self.nodes[best].flip(0), self.residuals[best].flip(0)
        if not 1 <= k <= len(nodes):
            raise ValueError(f"k must lie in [1, {len(nodes)}], got {k}; take more steps for more")
        return [Ritz(v, r) for v, r in zip(nodes[:k].tolist(), residuals[:k].tolist())]

    def trace(self) -> Estimate:
        """tr H, over the probes."""
        sums = [self.dimension * (w * t).sum() for t, w in zip(self.nodes, self.weights)]
        return _estimate(torch.stack(sums))

    def index(self, threshold: float = 0.01) -> Estimate:
        """Fraction of eigenvalues below ``-threshold`` times the largest absolute one."""
        check_nonnegative(threshold=threshold)
        cut = -threshold * max(abs(self.low), abs(self.high))
        return _estimate(torch.stack([w[t < cut].sum() for t, w in zip(self.nodes, self.weights)]))

    def density(self, grid: Tensor, width: float) -> Tensor:
        """Spectral density on ``grid``: each node a Gaussian of this width, 1 in all."""
        check_positive(width=width)
        nodes, weights = torch.cat(self.nodes), torch.cat(self.weights) / len(self.nodes)
        z = (grid.to(nodes)[:, None] - nodes) / width
        return (weights * torch.exp(-z.square() / 2)).sum(1) / (width * (2 * torch.pi) ** 0.5)


def lanczos(
    matvec: Callable[[Tensor], Tensor],
    dimension: int,
    *,
    steps: int = 64,
    probes: int = 1,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
) -> Spectrum:
    """The spectrum of a symmetric matrix that is known by its products with vectors.

    Args:
        matvec: v -> H v, both of shape ``(dimension,)``.
        dimension: n.
        steps: Products a probe, m. 40 give the edges of a trained network to a few per cent, 80 to
            a tenth of one.
        probes: Random start vectors. Edges need one; error bars on trace and index need several.
        seed: Of the start vectors.
        dtype: Of the vectors; the small problem is always solved in float64.
        device: Of the vectors.

    Raises:
        ValueError: If a count is not positive, or a product is not finite.

    Example:
        >>> diagonal = torch.tensor([-1.0, 0.0, 2.0, 5.0], dtype=torch.float64)
        >>> spectrum = lanczos(lambda v: diagonal * v, 4, steps=4, dtype=torch.float64)
        >>> round(spectrum.low, 6), round(spectrum.high, 6)
        (-1.0, 5.0)
    """
    check_positive(dimension=dimension, steps=steps, probes=probes)
    generator = torch.Generator(device="cpu").manual_seed(seed)
    runs = []
    for _ in range(probes):
        start = torch.randn(dimension, generator=generator, dtype=torch.float64)
        runs.append(_tridiagonal(matvec, (start / start.norm()).to(device, dtype), steps))
    pairs = [torch.linalg.eigh(matrix) for matrix, _ in runs]
    weights = [vectors[0].square() for _, vectors in pairs]
    residuals = [rest * vectors[-1].abs() for (_, rest), (_, vectors) in zip(runs, pairs)]
    lowest = min(range(probes), key=lambda i: float(pairs[i][0][0]))
    highest = max(range(probes), key=lambda i: float(pairs[i][0][-1]))
    return Spectrum(
        [values for values, _ in pairs],
        weights,
        dimension,
        float(residuals[lowest][0]),
        float(residuals[highest][-1]),
        residuals,
    )


def _tridiagonal(
    matvec: Callable[[Tensor], Tensor], start: Tensor, steps: int
) -> tuple[Tensor, float]:
    """T in float64 on the CPU, and the norm of what the last product left outside the basis."""
    steps = min(steps, len(start))
    basis = start.new_zeros(steps, len(start))
    basis[0] = start
    alphas: list[Tensor] = []
    betas: list[Tensor] = []
    for k in range(steps):
        w = matvec(basis[k])
        alphas.append(basis[k].dot(w))
        if not torch.isfinite(alphas[-1]):
            raise ValueError("a Hessian-vector product is not finite; is the loss finite here?")
        known = basis[: k + 1]
        for _ in range(2):  # once is not enough in float32
            w = w - known.T @ (known @ w)
        betas.append(w.norm())
        # An invariant subspace: the nodes found so far are exact, and w is rounding noise.
        if k + 1 == steps or betas[-1] <= 1e-6 * (alphas[-1].abs() + betas[0] + 1e-30):
            break
        basis[k + 1] = w / betas[-1]
    off = torch.stack(betas[:-1]).double().cpu() if len(betas) > 1 else torch.zeros(0).double()
    matrix = torch.diag(torch.stack(alphas).double().cpu())
    return matrix + torch.diag(off, 1) + torch.diag(off, -1), float(betas[-1])
