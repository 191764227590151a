"""Lanczos against dense eigenvalues, and against spectra that are known in closed form."""

import math

import pytest
import torch

from etalambda.diagnose import lanczos


def dense(eigenvalues, seed=0):
    """A symmetric matrix with these eigenvalues, and its product."""
    torch.manual_seed(seed)
    values = torch.as_tensor(eigenvalues, dtype=torch.float64)
    q, _ = torch.linalg.qr(torch.randn(len(values), len(values)).double())
    matrix = q @ torch.diag(values) @ q.T
    return lambda v: matrix @ v


def test_as_many_steps_as_eigenvalues_are_exact():
    values = [-3.0, -0.5, 0.0, 0.25, 1.0, 7.0]
    found = lanczos(dense(values), 6, steps=6, probes=3, dtype=torch.float64)
    for nodes in found.nodes:
        assert nodes.tolist() == pytest.approx(values, abs=1e-12)
    assert found.error_low == pytest.approx(0, abs=1e-9)
    assert sum(w.sum() for w in found.weights) == pytest.approx(3, rel=1e-13)


def test_repeated_eigenvalues_end_in_an_invariant_subspace():
    found = lanczos(dense([2.0] * 50 + [-1.0] * 50), 100, steps=64, probes=40, dtype=torch.float64)
    assert all(len(nodes) == 2 for nodes in found.nodes)
    assert found.low == pytest.approx(-1, abs=1e-12)
    index = found.index(threshold=0.1)
    assert abs(index.value - 0.5) < 4 * index.standard_error


def test_edges_of_a_semicircle_and_its_moments():
    """GOE of variance 1: edges ±2, trace 0, half the eigenvalues negative, density at 0 is 1/π."""
    n = 600
    torch.manual_seed(0)
    a = torch.randn(n, n).double()
    matrix = (a + a.T) / math.sqrt(2 * n)
    truth = torch.linalg.eigvalsh(matrix)
    found = lanczos(lambda v: matrix @ v, n, steps=80, probes=6, dtype=torch.float64)
    assert found.low == pytest.approx(truth[0].item(), abs=1e-3)
    assert found.high == pytest.approx(truth[-1].item(), abs=1e-3)
    assert abs(found.trace().value - truth.sum()) < 4 * found.trace().standard_error
    share = (truth < -0.05 * truth.abs().max()).double().mean()
    index = found.index(0.05)
    assert abs(index.value - share) < max(4 * index.standard_error, 0.02)
    grid = torch.linspace(-3, 3, 601).double()
    density = found.density(grid, 0.2)
    assert torch.trapezoid(density, grid) == pytest.approx(1, abs=1e-4)
    assert density[300] == pytest.approx(1 / math.pi, abs=0.03)


def test_error_of_the_edge_bounds_the_true_error():
    values = torch.linspace(-1, 1, 200).double()
    for steps in (5, 10, 20):
        found = lanczos(dense(values), 200, steps=steps, dtype=torch.float64)
        assert 1 - found.high <= found.error_high + 1e-12
        assert found.low + 1 <= found.error_low + 1e-12


def test_float32_keeps_its_basis_orthogonal():
    """Without reorthogonalization a far edge would be found several times over."""
    values = torch.cat([torch.linspace(0, 1, 299), torch.tensor([100.0])])
    matrix = torch.diag(values)
    found = lanczos(lambda v: matrix @ v, 300, steps=100)
    assert int((found.nodes[0] > 50).sum()) == 1


@pytest.mark.parametrize("bad", [dict(steps=0), dict(probes=0)])
def test_counts_are_checked(bad):
    (name,) = bad
    with pytest.raises(ValueError, match=name):
        lanczos(lambda v: v, 3, **bad)


def test_a_product_that_is_not_finite_is_named():
    with pytest.raises(ValueError, match="not finite"):
        lanczos(lambda v: v * math.nan, 3)
