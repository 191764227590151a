"""Equilibrium of norm and angle against random walks of torch's own optimizers."""

import math

import mpmath
import pytest
import torch

from etalambda.theory import norm_dynamics, rotation
from etalambda.theory.plan import angular_step

SIZE = 4000


class Lion(torch.optim.Optimizer):
    """Chen et al. 2023, Algorithm 2, as a reference."""

    def __init__(self, params, lr, betas, weight_decay):
        super().__init__(params, dict(lr=lr, betas=betas, weight_decay=weight_decay))

    def step(self, closure=None):
        for group in self.param_groups:
            b1, b2 = group["betas"]
            for p in group["params"]:
                m = self.state[p].setdefault("m", torch.zeros_like(p))
                update = (b1 * m + (1 - b1) * p.grad).sign()
                with torch.no_grad():
                    p.sub_(group["lr"] * (update + group["weight_decay"] * p))
                m.lerp_(p.grad, 1 - b2)


def walk(make, start, noise, steps=1500, settle=1000):
    """Mean norm and mean angle after ``settle`` steps of tangent noise, E‖g‖² = noise/‖w‖²."""
    generator = torch.Generator().manual_seed(0)
    p = torch.nn.Parameter(torch.randn(SIZE, generator=generator).double())
    p.data *= start / p.data.norm()
    optimizer, norms, angles = make([p]), [], []
    for step in range(steps):
        before = p.detach().clone()
        norm2 = before.square().sum()
        g = torch.randn(SIZE, generator=generator).double()
        g -= before * ((g @ before) / norm2)
        p.grad = g * (noise / SIZE / norm2) ** 0.5
        optimizer.step()
        if step >= settle:
            after = p.detach()
            norms.append(after.norm().item())
            cross = (before @ after) / (before.norm() * after.norm())
            angles.append(math.acos(min(1.0, cross.item())))
    return sum(norms) / len(norms), sum(angles) / len(angles)


CASES = {
    "sgd": (torch.optim.SGD, dict(lr=0.1, weight_decay=0.04), dict(momentum=0.0)),
    "sgd with momentum": (torch.optim.SGD, dict(lr=0.1, weight_decay=0.004), dict(momentum=0.9)),
    "adamw": (torch.optim.AdamW, dict(lr=0.01, weight_decay=0.4), dict(betas=(0.9, 0.99))),
    "adam": (torch.optim.Adam, dict(lr=0.01, weight_decay=2e-4), dict(betas=(0.9, 0.99))),
    "lion": (Lion, dict(lr=0.01, weight_decay=0.4), dict(betas=(0.5, 0.8))),
}


@pytest.mark.parametrize("case", CASES)
def test_random_walks_settle_there(case):
    """Within 4 %: the closed forms hold to first order in ηλ = 0.004."""
    cls, hyper, rest = CASES[case]
    name = case.split()[0]
    expected = rotation.equilibrium(name, size=SIZE, noise=4.0, **hyper, **rest)
    eps = {} if name in ("sgd", "lion") else dict(eps=1e-12)
    norm, angle = walk(lambda p: cls(p, **hyper, **rest, **eps), 1.3 * expected.norm, 4.0)
    assert norm == pytest.approx(expected.norm, rel=0.04)
    assert angle == pytest.approx(expected.angle, rel=0.04)


def test_gap_to_sgd_closes_at_first_order_in_the_decay_rate():
    """‖w‖ by the exact discrete law over the closed form: 1 + O(ηλ)."""
    rates = torch.tensor([1e-2, 1e-3, 1e-4], dtype=torch.float64)
    exact = norm_dynamics.equilibrium_norm(0.1, rates / 0.1, 4.0, 0.9)
    closed = [rotation.equilibrium("sgd", 0.1, r / 0.1, 9, noise=4.0, momentum=0.9).norm
              for r in rates.tolist()]  # fmt: skip
    gap = exact / torch.tensor(closed, dtype=torch.float64) - 1
    slopes = gap.log().diff() / rates.log().diff()
    torch.testing.assert_close(slopes, torch.ones(2).double(), rtol=0, atol=0.02)


@pytest.mark.parametrize("betas", [(0.9, 0.999), (0.95, 0.98)])
def test_angles_are_those_of_the_plan(betas):
    found = rotation.equilibrium("adamw", 1e-3, 0.1, 100, betas=betas)
    assert found.angle == pytest.approx(angular_step("adamw", 1e-4, betas=betas).item())
    found = rotation.equilibrium("sgd", 0.1, 1e-3, 100, momentum=betas[0])
    gain = 1 / (1 - betas[0])
    step = angular_step("sgd", 1e-4 * gain, momentum=betas[0])
    assert found.angle == pytest.approx(step.item())


@pytest.mark.parametrize("betas", [(0.9, 0.99), (0.95, 0.98), (0.5, 0.5)])
def test_lions_linear_angle_is_near_the_exact_one(betas):
    exact = rotation.equilibrium("lion", 1e-4, 1.0, 100, betas=betas).angle
    assert angular_step("lion", 1e-4, betas=betas).item() == pytest.approx(exact, rel=0.12)


@pytest.mark.parametrize("betas", [(0.9, 0.99), (0.6, 0.8), (0.95, 0.98)])
def test_sign_freshness_is_golden(betas):
    """The arcsine sum in 40 digits, correlations from the weights of the moving average."""
    with mpmath.workdps(40):
        b1, b2 = map(mpmath.mpf, betas)
        late = b1 * (1 - b2)
        weight = lambda j: 1 - b1 if j == 0 else late * b2 ** (j - 1)
        terms = int(100 / (1 - betas[1]))
        own = sum(weight(j) ** 2 for j in range(terms))
        first = sum(weight(j) * weight(j + 1) for j in range(terms))
        angles = (mpmath.asin(first / own * b2**k) for k in range(terms))
        expected = 1 / (1 + 4 / mpmath.pi * sum(angles))
    assert rotation.sign_freshness(betas) == pytest.approx(float(expected), rel=1e-12)
    tuned = rotation.equilibrium("lion", 1e-3, 0.1, 100, betas=betas)
    exact = mpmath.sqrt(2 * mpmath.mpf("1e-4") * expected)
    assert tuned.angle == pytest.approx(float(exact), rel=1e-12)


def test_sign_freshness_is_the_arcsine_law():
    """Against the long-run variance of the signs of simulated inputs, 40 000 steps of 200."""
    b1, b2 = betas = (0.6, 0.8)
    g = torch.randn(40_000, 200, generator=torch.Generator().manual_seed(0)).double()
    m, total = torch.zeros(200).double(), torch.zeros(200).double()
    blocks = []
    for step, row in enumerate(g):
        total += (b1 * m + (1 - b1) * row).sign()
        m = b2 * m + (1 - b2) * row
        if step % 400 == 399:
            blocks.append(total)
            total = torch.zeros(200).double()
    long_run = torch.stack(blocks).square().mean().item() / 400
    assert rotation.sign_freshness(betas) == pytest.approx(1 / long_run, rel=0.04)


@pytest.mark.parametrize(
    ("call", "names"),
    [
        (lambda: rotation.equilibrium("adamv", 0.1, 0.1, 9), "did you mean"),
        (lambda: rotation.equilibrium("adamw", 0.1, 0.0, 9), "weight_decay must be"),
        (lambda: rotation.equilibrium("sgd", 0.1, 0.1, 9, momentum=1.0), "must lie in"),
    ],
)
def test_errors_name_the_argument(call, names):
    with pytest.raises(ValueError, match=names):
        call()
