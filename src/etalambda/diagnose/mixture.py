"""ξ(q) of a network before training, and the mixture of pure spin models that it is.

Richemond & Guo 2019, section 3.1, after Choromanska et al. 2015: the loss of a network of depth p
is said to be a p-spin model, whose covariance is the monomial q^p of the overlap. The idea here:
measure the covariance at pairs of initializations of given overlap, and fit it by monomials,

    ξ(q) = Cov(L(x), L(x'))/Var L,   x·x' = N q,        ξ(q) ≈ Σ_p a_p q^p,  a_p >= 0

    paper   q           ξ(q)                    a_p
    code    overlaps    overlap_covariance      fit_mixture(...).weights

Departures from the paper: it expands f in the distance; pure models are monomials of the overlap.
The constant a_0 holds what all initializations share, such as the loss of a bias that is fixed.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from etalambda._common import check_positive, need
from etalambda.diagnose._tensors import Loss
from etalambda.diagnose.covariance import Sphere


@dataclass(frozen=True)
class OverlapCovariance:
    """ξ at the overlaps, its standard error, and Var L.

    Example:
        >>> def make_model():
        ...     return torch.nn.Linear(8, 1, bias=False).double()
        >>> x = torch.ones(1, 8).double()
        >>> found = overlap_covariance(make_model, lambda out, _: out.sum(), (x, x), [0.0, 0.5])
        >>> found.overlaps.shape == found.values.shape
        True
    """

    overlaps: np.ndarray
    values: np.ndarray
    standard_errors: np.ndarray
    variance: float


@dataclass(frozen=True)
class Mixture:
    """What `fit_mixture` found: ``weights`` p -> a_p, and the misfit in standard errors.

    ``misfit`` is the root mean square of (fit - ξ)/s.e.: about 1 where the mixture explains ξ and
    errors are independent, less where overlaps share their draws, as in `overlap_covariance`.
    ``mean_degree`` is Σ p a_p / Σ a_p = ξ'(1)/ξ(1).

    Example:
        >>> q = np.linspace(0, 1, 20)
        >>> found = fit_mixture(q, q**2, np.full(20, 0.01), degrees=(1, 2, 3))
        >>> round(found.mean_degree, 3)
        2.0
    """

    weights: dict[int, float]
    misfit: float

    @property
    def mean_degree(self) -> float:
        """Σ p a_p / Σ a_p; NaN if every weight is 0."""
        total = sum(self.weights.values())
        return sum(p * a for p, a in self.weights.items()) / total if total else float("nan")


def overlap_covariance(
    make_model: Callable[[], nn.Module],
    loss: Loss,
    batch: tuple[Tensor, Tensor],
    overlaps: Sequence[float],
    *,
    samples: int = 500,
    seed: int = 0,
) -> OverlapCovariance:
    """ξ(q) of a network's loss over its initializations.

    Args:
        make_model, loss, batch, seed: As for `covariance_constants`.
        overlaps: Values of q in [-1, 1].
        samples: Pairs for each q; they share their first point. Each costs two forward passes.

    Raises:
        ValueError: If an overlap lies outside [-1, 1] or no tensor varies.

    Example:
        >>> def make_model():
        ...     return torch.nn.Linear(8, 1, bias=False).double()
        >>> x = torch.ones(1, 8).double()
        >>> found = overlap_covariance(make_model, lambda out, _: out.sum(), (x, x), [0.0, 0.5])
        >>> bool(abs(found.values[1] - 0.5) < 4 * found.standard_errors[1])  # one layer: ξ = q
        True
    """
    check_positive(samples=samples)
    q = torch.tensor(list(overlaps), dtype=torch.float64)
    if not ((q >= -1) & (q <= 1)).all():
        raise ValueError(f"overlaps must lie in [-1, 1], got {q[(q < -1) | (q > 1)][0].item()}")
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(seed)
        sphere = Sphere.of(make_model, loss, batch)
        rows = [_losses(sphere, q) for _ in range(samples)]
    there = torch.stack(rows)  # (samples, 1 + overlaps)
    centred = there - there.mean(0)
    variance = float(there.var(0).mean())
    products = centred[:, :1] * centred[:, 1:] / variance
    error = products.std(0) / samples**0.5
    return OverlapCovariance(q.numpy(), products.mean(0).numpy(), error.numpy(), variance)


def _losses(sphere: Sphere, overlaps: Tensor) -> Tensor:
    """L at a random point and at one point of each overlap with it."""
    x, y = sphere.sample(), sphere.sample()
    across = y - x * (x @ y) / sphere.dimension
    across *= x.norm() / across.norm()
    points = [x, *(q * x + (1 - q * q).sqrt() * across for q in overlaps.to(x))]
    return torch.stack([sphere.energy(point).double() for point in points])


def fit_mixture(
    overlaps: ArrayLike,
    values: ArrayLike,
    standard_errors: ArrayLike,
    degrees: Sequence[int] = tuple(range(9)),
) -> Mixture:
    """Non-negative weights a_p of q^p that fit ξ best, each point counted by its error.

    Raises:
        ValueError: If an error is not above 0, or there are fewer points than degrees.

    Example:
        >>> q = np.linspace(0, 1, 20)
        >>> found = fit_mixture(q, 0.25 * q + 0.75 * q**3, np.full(20, 0.01), degrees=(1, 2, 3))
        >>> {p: round(a, 6) for p, a in found.weights.items()}
        {1: 0.25, 2: 0.0, 3: 0.75}
    """
    q, xi, error = (
        np.asarray(part, dtype=np.float64) for part in (overlaps, values, standard_errors)
    )
    if not (error > 0).all():
        raise ValueError(f"standard_errors must be above 0, got {error.min()}")
    if len(q) < len(degrees):
        raise ValueError(f"{len(degrees)} degrees need as many overlaps, got {len(q)}")
    terms = np.stack([q**p for p in degrees], 1)
    weights, _ = need("scipy.optimize", "lab").nnls(terms / error[:, None], xi / error)
    misfit = float(np.sqrt(np.mean(((terms @ weights - xi) / error) ** 2)))
    return Mixture({p: float(a) for p, a in zip(degrees, weights)}, misfit)
