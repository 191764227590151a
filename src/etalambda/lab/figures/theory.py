"""The first theory panels: saddles of Gaussian fields, and the L2 that removes their way down.

Richemond & Guo 2019, eq. (9)-(11), through `etalambda.theory.gaussian_field`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from etalambda.lab.figures.style import OKABE_ITO, figure, house_style


def fields() -> dict[str, Any]:
    """The fields that are drawn, by name."""
    from etalambda.theory.gaussian_field import GaussianField

    return {
        "3-spin on the sphere": GaussianField.p_spin(3),
        "4-spin on the sphere": GaussianField.p_spin(4),
        "rational quadratic, flat": GaussianField.rational_quadratic(),
    }


@house_style
def index_panel() -> Any:
    """The share of downhill directions of a critical point against its energy, eq. (11)."""
    made, (axis,) = figure(5.4, 3.8)
    for (name, field), colour in zip(fields().items(), OKABE_ITO):
        energy = np.linspace(1.25 * field.critical_energy, -1.25 * field.critical_energy, 201)
        index = field.index_at_energy(energy).numpy()
        axis.plot(energy, index, color=colour, label=name)
        axis.plot(field.critical_energy, 0.0, "o", ms=5, color=colour)
    axis.set(xlabel="energy ε, the loss above its mean", ylabel="share of downhill directions α")
    axis.set_title("Low saddles have few ways down")
    axis.legend()
    return made


@house_style
def convexifying_panel() -> Any:
    """The least L2 that leaves no downhill direction, against the energy, flat fields."""
    made, (axis,) = figure(5.4, 3.8)
    flat = {name: field for name, field in fields().items() if field.geometry == "flat"}
    for (name, field), colour in zip(flat.items(), OKABE_ITO[2:]):
        energy = np.linspace(1.25 * field.critical_energy, 0.0, 101)
        for at, dash in (("critical", "-"), ("generic", "--")):
            decay = 2 * field.convexifying_l2(energy, at=at).numpy()  # torch's weight_decay is 2λ
            points = "critical" if at == "critical" else "typical"
            axis.plot(energy, decay, dash, color=colour, label=f"{name}, {points} points")
    axis.set(xlabel="energy ε, the loss above its mean", ylabel="weight_decay to be convex")
    axis.set_title("As the loss falls, less decay is needed")
    axis.legend()
    return made
