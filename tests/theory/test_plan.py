"""Plans: schedules, the equilibrium angles against simulated random walks, exact times."""

import math

import pytest
import torch

from etalambda.theory import norm_dynamics
from etalambda.theory.plan import (
    DecayBudget,
    angular_step,
    steps_to_equilibrium,
)
from etalambda.theory.shapes import factors, weight_decay_factors

WALKS = {
    "sgd": (lambda w: torch.optim.SGD([w], 0.05, momentum=0.9, weight_decay=0.02), 2000),
    "adamw": (lambda w: torch.optim.AdamW([w], 0.01, weight_decay=0.5), 2000),
    "muon": (lambda w: torch.optim.Muon([w], 0.05, weight_decay=0.1, momentum=0.9), 1200),
}


@pytest.mark.parametrize("name", WALKS)
def test_equilibrium_angle_of_a_random_walk(name):
    """Noise gradients orthogonal to w, of the size a scale-invariant loss has: 1/‖w‖."""
    torch.manual_seed(1)
    w = torch.nn.Parameter(torch.randn(48, 48) / 7)
    make, steps = WALKS[name]
    optimizer, turned = make(w), []
    for step in range(steps):
        direction = w.detach() / w.detach().norm()
        noise = torch.randn_like(w)
        w.grad = (noise - (noise * direction).sum() * direction) / w.detach().norm()
        optimizer.step()
        if step > steps // 2:
            cosine = (direction * w.detach()).sum() / w.detach().norm()
            turned.append(math.acos(min(1.0, cosine.item())))
    group = optimizer.param_groups[0]
    gain = 10 if name == "sgd" else 1
    predicted = angular_step(name, group["lr"] * group["weight_decay"] * gain, momentum=0.9)
    assert sum(turned) / len(turned) == pytest.approx(predicted.item(), rel=0.06)


def test_lion_with_equal_betas_is_adamw_up_to_the_sign():
    """√(π/2) apart: s(β, β)² = (1 - β)/(1 + β) is AdamW's factor, for every β."""
    for beta in (0.5, 0.9, 0.99):
        ratio = angular_step("lion", 1e-4, betas=(beta, beta)) / angular_step(
            "adamw", 1e-4, betas=(beta, beta)
        )
        assert ratio.item() == pytest.approx(math.sqrt(math.pi / 2))
    assert angular_step("adafactor", 1e-4).isnan()
    assert angular_step("adams", 1e-4) == angular_step("adamw", 1e-4)


def test_steps_to_equilibrium_are_exact_for_fixed_updates():
    rate, size, g0 = 0.01, 0.3, 25.0
    g = g0
    end = size / (2 * rate - rate**2)
    predicted = steps_to_equilibrium(g, end, rate, tolerance=0.05).item()
    steps = 0
    while abs(g - end) > 0.05 * end:
        g, steps = (1 - rate) ** 2 * g + size, steps + 1
    assert steps == math.ceil(predicted)
    plan = DecayBudget.of("adamw", lr=0.1, weight_decay=0.1, steps=500)
    assert plan.steps_to_equilibrium(math.sqrt(g0), math.sqrt(end)) == steps
    assert plan.steps_to_equilibrium(1.0, 1.0) == 0
    assert plan.steps_to_equilibrium(1e9, 1.0, tolerance=1e-9) == math.inf
    assert plan.relaxation[-1].item() == pytest.approx((1 - rate) ** 1000)
    assert steps_to_equilibrium(end, end, rate) == 0
    assert steps_to_equilibrium(1.0, 2.0, 0.0) == math.inf


ANY = DecayBudget.of("adamw", lr=0.1, weight_decay=0.1, steps=5)


def walk(momentum, start, rate, steps, walks, dim=200, lr=0.1):
    """‖w‖² of scale-invariant SGD, gradients of size 1/‖w‖ orthogonal to w; (steps, walks)."""
    torch.manual_seed(0)
    decay = rate * (1 - momentum) / lr
    limit = norm_dynamics.equilibrium_norm(lr, decay, 1.0, momentum).item()
    w = torch.randn(walks, dim, dtype=torch.float64)
    w *= start * limit / w.norm(dim=1, keepdim=True)
    v, squares = torch.zeros_like(w), []
    for _ in range(steps):
        size = w.norm(dim=1, keepdim=True)
        g = torch.randn_like(w)
        g -= (g * w).sum(1, keepdim=True) * w / size**2
        v = momentum * v + g / g.norm(dim=1, keepdim=True) / size + decay * w
        w = w - lr * v
        squares.append(w.square().sum(1))
    return limit, torch.stack(squares)


@pytest.mark.parametrize("rate", [0.01, 0.03])
@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9])
def test_simulated_sgd_settles_at_the_predicted_norm(momentum, rate):
    """Within 2 η λ/(1-μ), relative: exact without momentum, a mean over walks and time with it."""
    limit, squares = walk(momentum, 1.0, rate, steps=600, walks=1 if momentum == 0 else 64)
    settled = squares[300:].mean().sqrt().item()
    assert settled == pytest.approx(limit, rel=2 * rate)
    assert settled == pytest.approx(limit, rel=1e-9 if momentum == 0 else 0.003)


@pytest.mark.parametrize("start", [0.5, 2.0])
@pytest.mark.parametrize(("momentum", "rate", "steps"), [(0.0, 4e-3, 400), (0.9, 8e-4, 2000)])
def test_simulated_sgd_settles_in_the_predicted_time(momentum, rate, steps, start):
    """Within 10 %: ‖W‖⁴ from its start to a tenth of the way to equilibrium."""
    limit, squares = walk(momentum, start, rate, steps, walks=1 if momentum == 0 else 32)
    fourth = squares.square().mean(1)
    reached = int(((fourth - limit**4).abs() <= 0.1 * limit**4).nonzero()[0]) + 1
    decay = rate * (1 - momentum) / 0.1
    plan = DecayBudget.of("sgd", lr=0.1, weight_decay=decay, steps=steps, momentum=momentum)
    predicted = plan.steps_to_equilibrium(start * limit, limit, tolerance=0.1)
    assert reached == pytest.approx(predicted, rel=0.1)
    noise = limit**4 / 0.1**2 * 2 * rate
    closed = norm_dynamics.time_to_equilibrium(
        (start * limit) ** 4 / 0.1**2, rate, noise, tolerance=0.1
    )
    assert predicted == pytest.approx(closed.item(), rel=0.01)


def test_plan_numbers():
    plan = DecayBudget.of(
        "sgd", lr=0.1, weight_decay=5e-4, steps=1000, lr_schedule="linear", momentum=0.9
    )
    assert plan.total == pytest.approx(0.5 * 0.5, rel=2e-3)
    assert plan.peak == pytest.approx(0.5)
    assert (plan.tau, plan.tau_share) == (pytest.approx(2000), pytest.approx(2))
    assert (plan.tau_in(1 / 100), plan.tau_in(512)) == (pytest.approx(20), pytest.approx(1.024e6))
    assert plan.cumulative[-1].item() == pytest.approx(plan.total)
    assert plan.shrink == pytest.approx(-math.expm1(-plan.total), rel=1e-3)
    assert plan.dual_coefficients[0].item() == pytest.approx(math.exp(-plan.total), rel=1e-2)
    assert plan.angular_steps[0].item() == pytest.approx(math.sqrt(2 * 5e-5 / 1.9))
    assert DecayBudget.of("adamw", lr=0.1, weight_decay=0.0, steps=5).tau == math.inf


def test_step_at_inverts_the_cumulative_budget():
    plan = DecayBudget.of("adamw", lr=0.01, weight_decay=0.1, steps=100, lr_schedule="linear")
    for step in (1, 7, 60):
        assert plan.step_at(plan.cumulative[step - 1].item()) == step
    assert plan.step_at(plan.total * 1.01) == math.inf


def test_couplings_of_the_plan():
    lr = factors("linear", 4)
    assert weight_decay_factors("matched", lr).tolist() == lr.tolist()
    assert (weight_decay_factors("constant_product", lr) * lr).tolist() == [1.0] * 4
    assert weight_decay_factors("cosine", lr)[2].item() == pytest.approx(0.5)
    assert weight_decay_factors("constant_product", torch.tensor([0.0])).tolist() == [0.0]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: factors("cosin", 3), "unknown schedule 'cosin'; did you mean 'cosine'"),
        (lambda: factors("constant", 0), "steps must be a positive whole number, got 0"),
        (lambda: factors([1.0], 2), "1 factors for steps=2"),
        (lambda: factors([1.0, math.nan], 2), "factor at step 1 is nan"),
        (lambda: weight_decay_factors("mached", factors("linear", 2)), "did you mean 'matched'"),
        (lambda: steps_to_equilibrium(1.0, 1.0, 0.1, tolerance=0.0), "tolerance must be"),
        (lambda: ANY.steps_to_equilibrium(0.0, 1.0), "norm must be a finite number above 0"),
        (lambda: DecayBudget.of("adamw", lr=-1.0, weight_decay=0, steps=1), "lr must be a finite"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
