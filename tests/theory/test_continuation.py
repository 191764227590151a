"""From a convexified landscape back to the true one."""

import pytest
import torch

from etalambda.theory import continuation
from etalambda.theory.random_field import RandomFourierField
from etalambda.theory.spin_glass import SphericalSpinGlass

FIELD = RandomFourierField(12, features=600, seed=3)


def ends(l2):
    found = [continuation.minimize(FIELD, x, l2)[0] for x in FIELD.sample(6, seed=1)]
    return len(torch.unique((torch.stack(found) * 1e3).round(), dim=0)), torch.stack(found)


def test_one_minimum_is_left_above_the_trivializing_l2():
    """One end from six starts at 1.5 times √f₂/2, several at a fifth of it."""
    trivial = FIELD.field.trivializing_l2
    assert ends(0.2 * trivial)[0] > 2
    assert ends(1.5 * trivial)[0] == 1


def test_the_convexifying_l2_leaves_no_negative_curvature():
    l2 = FIELD.field.convexifying_l2(0.0).item()
    eye = 2 * l2 * torch.eye(12).double()
    points = FIELD.sample(200, seed=5)
    lowest = torch.linalg.eigvalsh(FIELD.hessian(points) + eye)[:, 0]
    assert (lowest > 0).double().mean() > 0.5  # typical points; 1 at N = ∞
    half = torch.linalg.eigvalsh(FIELD.hessian(points) + eye / 2)[:, 0]
    assert (half > 0).double().mean() < 0.1


@pytest.mark.parametrize("path", continuation.PATHS)
def test_following_the_minimum(path):
    found = continuation.follow(FIELD, FIELD.sample(1)[0], stages=10, path=path)
    assert found.l2[0] == pytest.approx(FIELD.field.f2**0.5)
    assert found.l2[-1] == 0
    assert all(a >= b for a, b in zip(found.l2, found.l2[1:]))
    assert all(a >= b - 1e-9 for a, b in zip(found.energies, found.energies[1:]))
    assert FIELD.gradient(found.point).norm() < 1e-5
    assert torch.linalg.eigvalsh(FIELD.hessian(found.point))[0] > 0
    again = continuation.follow(FIELD, FIELD.sample(2)[1], stages=10, path=path)
    torch.testing.assert_close(again.point, found.point, rtol=1e-4, atol=1e-4)  # start forgotten


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: continuation.follow(FIELD, x, path="ridged"), "did you mean 'ridge'"),
        (lambda x: continuation.follow(FIELD, x, stages=0), "stages must be"),
        (lambda x: continuation.follow(FIELD, x, l2=-1.0), "l2 must be"),
        (lambda x: continuation.minimize(SphericalSpinGlass({2: 1.0}, 12), x), "must be flat"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call(FIELD.sample(1)[0])
