"""Figure 1 of Richemond & Guo 2019, *Combining learning rate decay and weight decay with
complexity gradient descent, Part I*: index and energy of the critical points of a Gaussian field.

Three panels: (a) the density of Hessian eigenvalues at a critical point, a semicircle around λ̄;
(b) the index α against λ̄, eq. (9); (c) α against the energy ε, eq. (11), with ε_c dashed.

Departures from the paper: none known; it does not name its field, so ours is an argument.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from etalambda.lab.figures.style import OKABE_ITO, figure, house_style

if TYPE_CHECKING:
    from etalambda.theory.gaussian_field import GaussianField

POINTS = 401


@house_style
def figure_1(field: GaussianField, mean_eigenvalue: float = 0.5) -> Any:
    """The three panels for one field.

    Args:
        field: Any Gaussian field; energies and eigenvalues are in its units.
        mean_eigenvalue: λ̄ of panel (a), as a share of √f₂.

    Returns:
        A matplotlib Figure.

    Example:
        >>> from etalambda.theory.gaussian_field import GaussianField
        >>> len(figure_1(GaussianField.rational_quadratic()).axes)
        3
    """
    made, (density, index, energy) = figure(12.0, 3.7, columns=3)
    edge = 2 * np.sqrt(field.f2)
    centre = mean_eigenvalue * np.sqrt(field.f2)
    _draw_density(density, field, centre, edge)
    shifts = np.linspace(-edge, edge, POINTS)
    index.plot(shifts, field.index(shifts).numpy(), color=OKABE_ITO[0])
    index.set(xlabel="mean eigenvalue λ̄", ylabel="index α", title="(b) index and mean curvature")
    critical = field.critical_energy
    energies = np.linspace(critical, -critical, POINTS)
    energy.plot(energies, field.index_at_energy(energies).numpy(), color=OKABE_ITO[0])
    energy.axvline(critical, color="red", linestyle="--", label="ε_c")
    energy.set(xlabel="energy ε", ylabel="index α", title="(c) index and energy")
    energy.legend()
    return made


def _draw_density(axis: Any, field: GaussianField, centre: float, edge: float) -> None:
    """The semicircle; its share left of 0, the downhill directions, is shaded."""
    x = np.linspace(centre - edge, centre + edge, POINTS)
    rho = field.hessian_density(x, centre).numpy()
    axis.plot(x, rho, color=OKABE_ITO[0])
    axis.fill_between(x, rho, where=x <= 0, color=OKABE_ITO[1], alpha=0.3, lw=0, label="α")
    axis.set(xlabel="Hessian eigenvalue x", ylabel="density ρ(x)", title="(a) around λ̄")
    axis.legend()
