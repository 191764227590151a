"""Equivalence classes: torch's own optimizers from c θ_0 with the moved hyperparameters."""

import math

import pytest
import torch

from etalambda.optim import AdamS
from etalambda.theory import norm_dynamics_scaling as scaling

OPTIMIZERS = {
    "sgd": lambda p, h: torch.optim.SGD(
        [p], lr=h["lr"], weight_decay=h["weight_decay"], momentum=0.9
    ),
    "adamw": lambda p, h: torch.optim.AdamW([p], **h),
    "adam": lambda p, h: torch.optim.Adam([p], **h),
    "adams": lambda p, h: AdamS([p], **h),
}
HYPER = {
    "sgd": dict(lr=0.1, weight_decay=0.05),
    "adamw": dict(lr=0.02, weight_decay=0.5, eps=1e-3),
    "adam": dict(lr=0.02, weight_decay=0.05, eps=1e-3),
    "adams": dict(lr=0.02, weight_decay=0.05, eps=1e-3),
}


def run(name, hyper, factor, steps=60):
    """θ_t/c of a scale-invariant loss with a fresh random batch a step."""
    generator = torch.Generator().manual_seed(0)
    p = torch.nn.Parameter(factor * torch.linspace(0.5, 1.5, 6, dtype=torch.float64))
    optimizer = OPTIMIZERS[name](p, hyper)
    for _ in range(steps):
        batch = torch.randn(8, 6, dtype=torch.float64, generator=generator)
        optimizer.zero_grad()
        torch.tanh(batch @ p / p.norm()).square().mean().backward()
        optimizer.step()
    return p.detach() / factor


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("factor", [0.3, 7.0])
def test_moved_run_is_the_same_run(name, factor):
    moved = scaling.rescaled(name, factor, **HYPER[name])
    if name == "sgd":
        moved = {key: moved[key] for key in ("lr", "weight_decay")}
    here, there = run(name, HYPER[name], 1.0), run(name, moved, factor)
    torch.testing.assert_close(there, here, rtol=1e-9, atol=0)
    assert (here - run(name, HYPER[name], factor)).norm() > 1e-3  # and the unmoved one is not


def test_c1_removes_the_lr():
    """c = η^(-1/2): lr 1, decay λ_e."""
    moved = scaling.rescaled("SGD", 0.1**-0.5, lr=0.1, weight_decay=0.05)
    assert moved["lr"] == pytest.approx(1)
    assert moved["weight_decay"] == pytest.approx(0.005)


def test_decoupled_runs_keep_lr_times_decay():
    for name in ("sgd", "adamw", "lion"):
        moved = scaling.rescaled(name, 3.0, lr=0.1, weight_decay=0.05)
        assert moved["lr"] * moved["weight_decay"] == pytest.approx(0.005)


def test_growing_lr():
    assert scaling.growing_lr(10.0, 0.1, 0.05).item() == pytest.approx(0.1 * math.e)


@pytest.mark.parametrize(
    ("call", "names"),
    [
        (lambda: scaling.rescaled("adamv", 1.0, lr=1, weight_decay=1), "did you mean"),
        (lambda: scaling.rescaled("adam", 0.0, lr=1, weight_decay=1), "factor must be"),
        (lambda: scaling.rescaled("adam", 1.0, lr=-1, weight_decay=1), "lr must be"),
    ],
)
def test_errors_name_the_argument(call, names):
    with pytest.raises(ValueError, match=names):
        call()
