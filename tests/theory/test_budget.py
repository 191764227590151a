"""The budget's formulas against exact recursions, and against what the optimizers really do."""

import math

import pytest
import torch

from etalambda.theory import budget

DECOUPLED = {
    "adamw": lambda w: torch.optim.AdamW([w], lr=0.01, weight_decay=0.1),
    "nadam": lambda w: torch.optim.NAdam(
        [w], lr=0.01, weight_decay=0.1, decoupled_weight_decay=True
    ),
    "radam": lambda w: torch.optim.RAdam(
        [w], lr=0.01, weight_decay=0.1, decoupled_weight_decay=True
    ),
    "muon": lambda w: torch.optim.Muon([w], lr=0.01, weight_decay=0.1),
    "adafactor": lambda w: torch.optim.Adafactor([w], lr=0.01, weight_decay=0.1),
}


@pytest.mark.parametrize("name", DECOUPLED)
def test_rate_is_what_a_step_without_gradient_removes(name):
    w = torch.nn.Parameter(torch.ones(3, 3))
    optimizer = DECOUPLED[name](w)
    w.grad = torch.zeros_like(w)
    optimizer.step()
    rate = budget.decay_rates(0.01, 0.1, name, decoupled=name in ("nadam", "radam"))
    assert 1 - w.detach().mean().item() == pytest.approx(rate.item(), abs=1e-7)


@pytest.mark.parametrize(
    ("momentum", "dampening"), [(0.0, 0.5), (0.5, 0.0), (0.9, 0.0), (0.5, 0.5)]
)
def test_momentum_gain_is_the_long_run_rate_of_torch(momentum, dampening):
    w = torch.nn.Parameter(torch.ones(1, dtype=torch.float64))
    optimizer = torch.optim.SGD(
        [w], lr=0.1, momentum=momentum, dampening=dampening, weight_decay=1e-4
    )
    norms = []
    for _ in range(400):
        w.grad = torch.zeros_like(w)
        optimizer.step()
        norms.append(w.item())
    measured = math.log(norms[-2] / norms[-1])
    rate = budget.decay_rates(0.1, 1e-4, "sgd", momentum=momentum, dampening=dampening)
    assert measured == pytest.approx(rate.item(), rel=2e-3)  # first order in r


def test_nesterov_has_the_same_gain():
    w = torch.nn.Parameter(torch.ones(1, dtype=torch.float64))
    optimizer = torch.optim.SGD([w], lr=0.1, momentum=0.9, nesterov=True, weight_decay=1e-4)
    for _ in range(400):
        before = w.item()
        w.grad = torch.zeros_like(w)
        optimizer.step()
    assert math.log(before / w.item()) == pytest.approx(1e-4, rel=1e-3)


def test_dual_coefficients_reconstruct_the_final_weights():
    torch.manual_seed(0)
    lrs, decays = torch.rand(50, dtype=torch.float64), torch.rand(50, dtype=torch.float64) * 0.1
    updates, w = torch.randn(50, dtype=torch.float64), torch.tensor(2.0, dtype=torch.float64)
    for lr, decay, update in zip(lrs, decays, updates):
        w = w - lr * decay * w - lr * update
    rates = budget.decay_rates(lrs, decays)
    kept = 1 - budget.shrink(rates)
    rebuilt = kept * 2.0 - (budget.dual_coefficients(lrs, rates) * updates).sum()
    assert w.item() == pytest.approx(rebuilt.item(), abs=1e-12)


def test_stable_decay_is_adamw_at_power_0():
    stable = budget.decay_rates(1e-3, 0.1, "adams", v_mean=1e-6, power=0.0)
    assert stable == budget.decay_rates(1e-3, 0.1, "adamw")
    assert budget.decay_rates(1e-3, 5e-4, "adams", v_mean=1e-6).item() == pytest.approx(5e-4)
    assert budget.decay_rates(1e-3, 5e-4, "adams").isnan()
    assert budget.decay_rates(1e-3, 5e-4, "adams", v_mean=0.0) == 0


def test_l2_in_adam_is_no_rate_but_no_decay_is_zero():
    assert budget.decay_rates(1e-3, 0.1, "adam").isnan()
    assert budget.decay_rates(1e-3, 0.0, "adam") == 0


def test_shrink_is_near_one_minus_exp_of_the_budget():
    rates = torch.full((2, 1000), 1e-3, dtype=torch.float64)
    assert budget.budget(rates).tolist() == pytest.approx([1.0, 1.0])
    assert budget.shrink(rates)[0].item() == pytest.approx(1 - math.exp(-1), abs=2e-4)
    assert budget.shrink([2.0, 0.1]) == 1


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: budget.form("adamv"), "did you mean 'adam.*Known: sgd"),
        (lambda: budget.gain("momentum", momentum=1.0), r"momentum must lie in \[0, 1\), got 1.0"),
        (lambda: budget.gain("momentum", dampening=2.0), "dampening must lie in"),
        (lambda: budget.gain("odd"), "unknown form 'odd'"),
        (lambda: budget.decay_rates(-1.0, 0.1), "lrs must be finite and at least 0, got -1.0"),
        (lambda: budget.decay_rates(0.1, float("nan")), "weight_decays must be finite .* got nan"),
        (lambda: budget.budget([0.1, -0.2]), "rates must be finite and at least 0, got -0.2"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
