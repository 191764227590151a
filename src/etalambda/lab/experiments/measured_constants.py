"""The constants f(0), f'(0), f''(0) of a drawn landscape, measured as a network's would be.

`etalambda.diagnose.covariance_constants` needs random networks; a random point of the landscape is
one whose output is the energy there. The mean energy is 0 here; of a network it is measured, too.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from etalambda.diagnose import CovarianceConstants, covariance_constants
from etalambda.lab.models.stacked import seeded
from etalambda.theory.gaussian_field import GaussianField


class Point(nn.Module):
    """A landscape as a network: its weights are a random point, its output is ε there.

    ``spread`` is |x|/√N of the random points: 1 on the sphere, where they live. In flat space they
    have to lie far apart, or what they have in common is missing in f(0).
    """

    def __init__(self, landscape: Any, spread: float) -> None:
        super().__init__()
        z = torch.randn(landscape.size, dtype=torch.float64)
        self.landscape = landscape
        self.x = nn.Parameter(z * (spread * landscape.size**0.5 / z.norm()))

    def forward(self, inputs: Tensor) -> Tensor:
        return self.landscape.energy(self.x) / self.landscape.size


def measure(landscape: Any, samples: int, seed: int, *, spread: float = 6.0) -> CovarianceConstants:
    """What `covariance_constants` finds on one draw, from ``samples`` random points.

    In flat space the points lie at |x| = ``spread`` √N, which scales f'(0) by spread² and f''(0)
    by spread⁴; `field_of` takes that back.
    """
    spread = 1.0 if landscape.on_sphere else spread
    nothing = torch.zeros(0, dtype=torch.float64)

    def look() -> CovarianceConstants:
        return covariance_constants(
            lambda: Point(landscape, spread),
            lambda energy, _: energy,
            (nothing, nothing),
            samples=samples,
            h=0.2 / spread,
            seed=seed,
        )

    return seeded(look, seed)  # torch's random state is one for all jobs


def field_of(landscape: Any, found: CovarianceConstants, *, spread: float = 6.0) -> GaussianField:
    """The Gaussian field with measured constants, in the landscape's geometry, at its size.

    Every covariance has f(0) >= f'(0)²/(f''(0) + κ|f'(0)|). Where noise breaks that, f(0), the
    least certain of the three, is raised to it.
    """
    spread = 1.0 if landscape.on_sphere else spread
    f1, f2 = found.f1.value / spread**2, found.f2.value / spread**4
    least = f1**2 / (f2 + (abs(f1) if landscape.on_sphere else 0.0))
    geometry = "sphere" if landscape.on_sphere else "flat"
    return GaussianField(max(found.f0.value, least), f1, f2, geometry, landscape.size)
