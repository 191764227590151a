"""Curvature against other people's libraries, where they are installed.

hessian-eigenthings is a development dependency. curvlinops is not: it brings torchvision; without
it: ``pip install --no-deps curvlinops-for-pytorch==3.0.1 backpack-for-pytorch==1.7.1 einconv einops
linear_operator jaxtyping wadler_lindig opt_einsum unfoldNd``.
"""

import pytest
import torch
from torch import nn

from etalambda.diagnose import curvature, hessian_vector_product


def setting():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3)).double()
    return net, (torch.randn(40, 6).double(), torch.randint(3, (40,)))


@pytest.mark.filterwarnings("ignore")
def test_products_and_edges_of_curvlinops():
    curvlinops = pytest.importorskip("curvlinops", reason="not installed: it brings torchvision")
    net, batch = setting()
    loss = nn.CrossEntropyLoss()
    theirs = curvlinops.HessianLinearOperator(net, loss, list(net.parameters()), [batch])
    product, n = hessian_vector_product(net, loss, batch)
    for v in torch.randn(5, n).double():
        torch.testing.assert_close(product(v), theirs @ v, rtol=1e-9, atol=1e-11)
    from scipy.sparse.linalg import eigsh

    found = curvature(net, loss, batch, steps=n)
    operator = theirs.to_scipy()
    assert found.maximum == pytest.approx(eigsh(operator, k=1, which="LA")[0][0], abs=1e-8)
    assert found.minimum == pytest.approx(eigsh(operator, k=1, which="SA")[0][0], abs=1e-8)


@pytest.mark.filterwarnings("ignore")
def test_products_and_edges_of_hessian_eigenthings():
    other = pytest.importorskip("hessian_eigenthings", reason="a development dependency")
    net, batch = setting()
    loss = nn.CrossEntropyLoss()
    operator = other.HessianOperator(net, [batch], other.supervised_loss(loss))
    product, n = hessian_vector_product(net, loss, batch)
    for v in torch.randn(5, n).double():
        torch.testing.assert_close(product(v), operator.matvec(v), rtol=1e-9, atol=1e-11)
    found = curvature(net, loss, batch, steps=n)
    for which, ours in (("LA", found.maximum), ("SA", found.minimum)):
        theirs = other.lanczos(operator, k=1, max_iter=50, which=which)
        assert ours == pytest.approx(float(theirs.eigenvalues[0]), abs=1e-7)
