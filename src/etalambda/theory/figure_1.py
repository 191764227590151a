r"""Figure 1 of Richemond & Guo 2019 as arrays: spectrum, index by curvature, index by energy.

The idea of the figure: the Hessian's semicircle slides to the right as the energy falls, so the
index falls with it and vanishes at ε_c.

    panel (a)  ρ(x) on λ̄ ± 2√f₂                       eq. (9)
    panel (b)  α(λ̄) on ±2√f₂, falling from 1 to 0     eq. (9)
    panel (c)  α(ε) on ±ε_c, rising from 0 to 1       eq. (11), a dashed line at ε_c < 0

Departures from the paper: none in the curves; the text's "α increases" under L2 is "decreases".
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from etalambda.theory.gaussian_field import GaussianField


class Panel(NamedTuple):
    """One curve: ``x`` and ``y`` of shape (points,), the axes' names, and a marked abscissa.

    Example:
        >>> panels(GaussianField.p_spin(3), points=3)[2].y_name
        'index'
    """

    x: Tensor
    y: Tensor
    x_name: str
    y_name: str
    mark: float | None = None


def panels(
    field: GaussianField, *, mean_eigenvalue: float = 0.0, points: int = 401
) -> tuple[Panel, Panel, Panel]:
    """The three panels for a field; the first at the given λ̄.

    Raises:
        ValueError: If ``points`` is below 2.

    >>> spectrum, by_curvature, by_energy = panels(GaussianField.p_spin(3), points=3)
    >>> by_energy.y
    tensor([0.0000, 0.5000, 1.0000], dtype=torch.float64)
    >>> round(by_energy.mark, 3)
    -1.633
    """
    if points < 2:
        raise ValueError(f"points must be at least 2, got {points}")
    unit = torch.linspace(-1, 1, points, dtype=torch.float64)
    spectrum, energy = unit * field.radius, -unit * field.critical_energy
    density = field.hessian_density(mean_eigenvalue + spectrum, mean_eigenvalue)
    return (
        Panel(mean_eigenvalue + spectrum, density, "Hessian eigenvalue", "density", 0.0),
        Panel(spectrum, field.index(spectrum), "mean eigenvalue", "index"),
        Panel(energy, field.index_at_energy(energy), "energy", "index", field.critical_energy),
    )


def complexity_map(
    field: GaussianField, *, energies: int = 101, indices: int = 101
) -> tuple[Tensor, Tensor, Tensor]:
    """(ε, α, Σ(α, ε)) over ±ε_c and (0, 1); Σ has shape (energies, indices).

    Raises:
        ValueError: If Q = 0: Σ is finite on one line only, α = α(ε).

    >>> energy, index, sigma = complexity_map(GaussianField.rational_quadratic(), energies=5)
    >>> sigma.shape, sigma.max()
    (torch.Size([5, 101]), tensor(0.3466, dtype=torch.float64))
    """
    if field.Q == 0:
        raise ValueError("complexity_map needs Q > 0, got Q = 0: use total_complexity(energy)")
    energy = torch.linspace(-1, 1, energies, dtype=torch.float64) * abs(field.critical_energy)
    index = (torch.arange(indices, dtype=torch.float64) + 0.5) / indices
    return energy, index, field.complexity(index, energy[:, None])
