"""Plans: schedules, the equilibrium angles against simulated random walks, exact times."""

import math

import pytest
import torch

from etalambda.theory import norm_dynamics
from etalambda.theory.plan import (
    DecayBudget,
    angular_step,
    factors,
    steps_to_equilibrium,
    weight_decay_factors,
)

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
    rate, size, g = 0.01, 0.3, 25.0
    end = size / (2 * rate - rate**2)
    predicted = steps_to_equilibrium(g, end, rate, tolerance=0.05).item()
    steps = 0
    while abs(g - end) > 0.05 * end:
        g, steps = (1 - rate) ** 2 * g + size, steps + 1
    assert steps == math.ceil(predicted)
    assert steps_to_equilibrium(end, end, rate) == 0
    assert steps_to_equilibrium(1.0, 2.0, 0.0) == math.inf


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_simulated_sgd_reaches_the_predicted_norm_in_the_predicted_time(momentum):
    """Scale-invariant SGD: norm within 2 η λ/(1-μ) relative, time within 10 %."""
    torch.manual_seed(0)
    lr, decay, dim = 0.1, 0.02 * (1 - momentum), 400
    noise, rate = float(dim - 1), 0.1 * 0.02
    limit = norm_dynamics.equilibrium_norm(lr, decay, noise, momentum).item()
    w = torch.randn(dim, dtype=torch.float64)
    w *= limit * 2 / w.norm()
    v, squares = torch.zeros_like(w), []
    for _ in range(3000):
        unit = w / w.norm()
        g = torch.randn_like(w)
        g -= (g @ unit) * unit
        v = momentum * v + g / w.norm() + decay * w
        w = w - lr * v
        squares.append((w @ w).item())
    settled = sum(squares[2000:]) / 1000
    assert settled == pytest.approx(limit**2, rel=2 * rate + 0.02)  # sd of the mean: 0.7 %
    gammas = torch.tensor(squares) ** 2 / lr**2
    end = limit**4 / lr**2
    reached = int(((gammas - end).abs() <= 0.3 * end).nonzero()[0]) + 1
    predicted = norm_dynamics.time_to_equilibrium(
        16 * end, rate, end * 2 * rate, tolerance=0.3
    ).item()
    assert reached == pytest.approx(predicted, rel=0.1)


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
        (lambda: DecayBudget.of("adamw", lr=-1.0, weight_decay=0, steps=1), "lr must be a finite"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
