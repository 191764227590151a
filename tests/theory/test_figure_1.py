"""The figure's arrays against the integrated semicircle."""

import pytest
import torch
from scipy.integrate import quad

from etalambda.theory import figure_1
from etalambda.theory.gaussian_field import GaussianField

RQ = GaussianField.rational_quadratic()


def test_panels_are_the_integrated_semicircle():
    spectrum, by_curvature, by_energy = figure_1.panels(RQ, mean_eigenvalue=0.8, points=21)
    shape = lambda t: (max(1 - t * t, 0)) ** 0.5 * 2 / torch.pi
    for panel, scale in ((by_curvature, RQ.radius), (by_energy, RQ.critical_energy)):
        exact = [quad(shape, x / scale, 1, epsabs=1e-12, limit=200)[0] for x in panel.x.tolist()]
        torch.testing.assert_close(
            panel.y, torch.tensor(exact, dtype=torch.float64), rtol=0, atol=1e-9
        )
    assert (by_curvature.y.diff() < 0).all()
    assert (by_energy.y.diff() > 0).all()
    assert by_energy.mark == RQ.critical_energy < 0
    centre = (spectrum.x[0] + spectrum.x[-1]) / 2
    assert centre.item() == pytest.approx(0.8)
    assert spectrum.y.argmax() == 10


def test_complexity_map_peaks_at_zero_energy_and_half_index():
    energy, index, sigma = figure_1.complexity_map(RQ, energies=41, indices=41)
    best = divmod(int(sigma.argmax()), 41)
    assert abs(energy[best[0]]) < 1e-12
    assert index[best[1]].item() == pytest.approx(0.5)
    with pytest.raises(ValueError, match="got Q = 0"):
        figure_1.complexity_map(GaussianField.p_spin(3))
    with pytest.raises(ValueError, match="points must be at least 2"):
        figure_1.panels(RQ, points=1)
