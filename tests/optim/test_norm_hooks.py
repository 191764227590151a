"""Hooks that act on norms, and noise: against their papers, their limits and their laws."""

import math

import pytest
import torch
from torch.nn import Parameter

from etalambda.optim import (
    AdamS,
    cautious_decay,
    constrained_decay,
    hyperball,
    keep_on_sphere,
    stable_decay,
    target_norm_decay,
    weight_noise,
)
from tests.optim._drive import agree, gradients, run, weights
from tests.reference import norm_hooks as paper

SHAPE = ((4, 3),)


def sgd(params, weight_decay=0.5):
    return torch.optim.SGD(params, lr=0.05, weight_decay=weight_decay)


def paper_run(rule, params, steps, *arguments):
    grads = [g[0] for g in gradients(params, steps)]
    start = params[0].detach().clone()
    return (theta.reshape(-1) for theta in rule(start, grads, *arguments))


@pytest.mark.parametrize("ratio", [0.0, 0.5, 1.0, 3.0])
def test_target_norm_follows_the_paper(ratio):
    params = weights(shapes=SHAPE)
    optimizer = sgd(params)
    target_norm_decay(optimizer, ratio)
    theirs = paper_run(paper.weight_norm_control, params, 60, 0.05, 0.05 * 0.5, ratio)
    agree(run(optimizer, params), theirs)


@pytest.mark.parametrize("rate", [0.01, 1.0])
def test_cpr_follows_the_paper(rate):
    """Small steps, so that 1 - 2μ stays above 0, where the paper has no bound."""
    params = weights(shapes=SHAPE)
    optimizer = torch.optim.SGD(params, lr=0.003, weight_decay=1.0)
    hook = constrained_decay(optimizer, warm_start=5, rate=rate)
    theirs = paper_run(paper.constrained, params, 60, 0.003, rate, 5)
    multipliers = []

    def watched():
        for theta in run(optimizer, params):
            multipliers.append(*(own["multiplier"] for own in hook.state.values()))
            yield theta

    agree(watched(), theirs)
    assert max(multipliers) > 0


def test_hyperball_follows_the_paper():
    params = weights(shapes=SHAPE)
    optimizer = sgd(params)
    hyperball(optimizer)
    agree(run(optimizer, params), paper_run(paper.hyperball, params, 60, 0.05))


def test_noise_follows_its_formula():
    params = weights(shapes=SHAPE)
    optimizer = sgd(params, weight_decay=0.0)
    weight_noise(optimizer, std=0.1, timescale=7.0, params=params, seed=3)
    generator = torch.Generator().manual_seed(3)
    draws = [torch.empty(4, 3).double().normal_(generator=generator) for _ in range(40)]
    theirs = paper_run(paper.noisy, params, 40, 0.05, 0.1, 7.0, draws)
    agree(run(optimizer, params, 40), theirs)


def test_target_zero_is_adamw():
    """arXiv 2311.11446: decoupled decay is norm control with target 0."""
    ours, theirs = weights(), weights()
    optimizer = torch.optim.AdamW(ours, lr=0.02, weight_decay=0.3)
    target_norm_decay(optimizer, ratio=0.0)
    adamw = torch.optim.AdamW(theirs, lr=0.02, weight_decay=0.3)
    agree(run(optimizer, ours), run(adamw, theirs))


def test_the_norm_closes_in_on_its_target_at_the_rate_lr_times_decay():
    """Without gradients ‖θ_t‖ - target = (1 - k)^t (‖θ_0‖ - target), exactly, from both sides."""
    for ratio in (0.5, 2.0):
        w = Parameter(torch.randn(4, 3).double())
        start = w.detach().norm().item()
        optimizer = torch.optim.SGD([w], lr=0.1, weight_decay=0.3)
        target_norm_decay(optimizer, ratio)
        w.grad = torch.zeros_like(w)
        for step in range(1, 30):
            optimizer.step()
            expected = ratio * start + (1 - 0.03) ** step * (1 - ratio) * start
            assert abs(w.detach().norm().item() - expected) < 1e-12


def test_cpr_is_no_decay_below_its_bound_and_holds_it_above():
    free, bound = weights(shapes=SHAPE), weights(shapes=SHAPE)
    plain, constrained = sgd(free, 0.0), sgd(bound)
    constrained_decay(constrained, bound=1e6)
    agree(run(constrained, bound), run(plain, free))

    w = Parameter(torch.randn(5, 8).double())
    optimizer = torch.optim.SGD([w], lr=0.01, weight_decay=1.0)
    hook = constrained_decay(optimizer, bound=0.3)
    for _ in range(2000):
        w.grad = w.detach() - 2.0  # pulls every weight to 2
        optimizer.step()
    # The constraint is seen after the gradient's step, at w' = w + lr (2 - w); at rest it holds
    # there, and lr (2 - w) = 2 μ w': the multiplier is the one of KKT.
    rest = w.detach().mean().item()
    moved = rest + 0.01 * (2 - rest)
    assert abs(moved**2 / 0.3 - 1) < 1e-6
    assert abs(hook.state[w]["multiplier"] - (moved - rest) / (2 * moved)) < 1e-6


def test_the_multiplier_never_turns_the_weights_around():
    w = Parameter(torch.full((3,), 10.0))
    optimizer = torch.optim.SGD([w], lr=0.1, weight_decay=1.0)
    constrained_decay(optimizer, bound=0.0)
    w.grad = torch.zeros(3)
    optimizer.step()
    assert torch.equal(w.detach(), torch.zeros(3))


def test_hyperball_keeps_the_norm_and_turns_by_lr():
    """A step at a right angle turns W by arctan(η), whatever the optimizer's step length."""
    w, bias = Parameter(torch.randn(4, 3).double()), Parameter(torch.ones(3).double())
    optimizer = torch.optim.AdamW([w, bias], lr=0.02, weight_decay=7.0)
    hook = hyperball(optimizer)
    radius = w.detach().norm().item()
    assert set(hook.state) == {w}
    for step in range(20):
        g = torch.randn(4, 3, generator=torch.Generator().manual_seed(step)).double()
        w.grad, bias.grad = g, torch.zeros(3).double()
        optimizer.step()
        assert abs(w.detach().norm().item() - radius) < 1e-12
    assert torch.equal(bias.detach(), torch.ones(3).double())  # moves freely, is not decayed

    angle = sgd([w])
    hook.remove()
    hyperball(angle)
    start = w.detach().clone()
    g = torch.randn(4, 3).double()
    w.grad = g - (g * start).sum() / radius**2 * start
    angle.step()
    cosine = ((w.detach() * start).sum() / radius**2).item()
    assert abs(math.acos(cosine) - math.atan(0.05)) < 1e-9


def test_hyperball_without_a_direction_stays():
    w = Parameter(torch.randn(4, 3))
    optimizer = sgd([w])
    hyperball(optimizer)
    before = w.detach().clone()
    w.grad = torch.zeros(4, 3)
    optimizer.step()
    assert torch.equal(w.detach(), before)


@pytest.mark.parametrize("relative", [True, False])
def test_the_noise_s_variance_falls_on_its_timescale(relative):
    """Fit log σ_t² against t over 60 steps of 20k draws: slope -1 / t_0, intercept log σ²."""
    w = Parameter(torch.ones(20_000).double())
    optimizer = torch.optim.SGD([w], lr=0.1)
    weight_noise(optimizer, 0.02, timescale=15.0, params=[w], relative=relative)
    logs = []
    for _ in range(60):
        with torch.no_grad():
            w.fill_(1.0)
        w.grad = torch.zeros_like(w)
        optimizer.step()
        logs.append(math.log((w.detach() - 1).square().mean().item()))
    times = torch.arange(60.0).double()
    design = torch.stack([times, torch.ones_like(times)], 1)
    slope, intercept = torch.linalg.lstsq(design, torch.tensor(logs).double()[:, None])[0][:, 0]
    assert abs(slope * 15.0 + 1) < 0.01
    assert abs(intercept - math.log(0.02**2)) < 0.02


def test_noise_leaves_the_run_s_random_state_and_zero_weights_alone():
    w = Parameter(torch.zeros(10))
    optimizer = torch.optim.SGD([w], lr=0.1)
    weight_noise(optimizer, 1.0, timescale=10, params=[w])
    before = torch.get_rng_state()
    w.grad = torch.zeros(10)
    optimizer.step()
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(w.detach(), torch.zeros(10))


def test_noise_composes_with_a_decay_and_a_sphere():
    params = weights(shapes=SHAPE)
    optimizer = AdamS(params, lr=0.1, weight_decay=0.1)
    radius = params[0].detach().norm()
    cautious_decay(optimizer), weight_noise(optimizer, 0.1, timescale=10)
    keep_on_sphere(optimizer, params, "initial")
    list(run(optimizer, params, 5))
    torch.testing.assert_close(params[0].detach().norm(), radius)


def test_a_group_has_one_decay():
    optimizer = sgd(weights())
    handle = cautious_decay(optimizer)
    with pytest.raises(ValueError, match=r"SGD has its decay from Cautious already; remove\(\)"):
        hyperball(optimizer)
    handle.remove()
    target_norm_decay(optimizer)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda o: target_norm_decay(o, -1.0), "ratio must be .* got -1.0"),
        (lambda o: target_norm_decay(o, math.inf), "ratio must be .* got inf"),
        (lambda o: constrained_decay(o), "one of warm_start and bound, got warm_start=None"),
        (lambda o: constrained_decay(o, warm_start=1, bound=1.0), "one of warm_start and bound"),
        (lambda o: constrained_decay(o, bound=-1.0), "bound must be .* got -1.0"),
        (lambda o: constrained_decay(o, bound=1.0, rate=math.nan), "rate must be .* got nan"),
        (lambda o: weight_noise(o, -0.1, 1.0), "std must be .* got -0.1"),
        (lambda o: weight_noise(o, 0.1, 0.0), "timescale must be above 0 .* got 0.0"),
        (lambda o: hyperball(o, [torch.zeros(2, 2)]), "params holds tensors that are in no group"),
        (lambda o: stable_decay(o), "stable_decay needs betas"),
    ],
)
def test_errors_leave_the_optimizer_alone(call, message):
    optimizer = sgd(weights())
    with pytest.raises(ValueError, match=message):
        call(optimizer)
    assert not optimizer._optimizer_step_pre_hooks
    cautious_decay(optimizer)  # nobody has claimed the decay


def test_weights_that_a_hook_cannot_take_are_refused():
    with pytest.raises(ValueError, match=r"shape \(2, 2\) and norm 0"):
        hyperball(sgd([Parameter(torch.zeros(2, 2))]))
    with pytest.raises(ValueError, match="no group has a weight_decay other than 0"):
        weight_noise(sgd(weights(), 0.0), 0.1, 10)
    split = AdamS(weights(), process_group="some ranks")
    for call in (target_norm_decay, hyperball, lambda o: constrained_decay(o, bound=1.0)):
        with pytest.raises(ValueError, match="process_group=some ranks: the norm of a local"):
            call(split)
    with pytest.raises(ValueError, match="weight_noise got sharded parameters"):
        weight_noise(split, 0.1, 10)


def test_a_group_added_later_takes_part_from_then_on():
    first, late = (Parameter(torch.randn(3, 2).double()) for _ in range(2))
    optimizer = sgd([first])
    hook = hyperball(optimizer)
    optimizer.add_param_group(dict(params=[late], weight_decay=0.1))
    radius = late.detach().norm()
    for p in (first, late):
        p.grad = torch.ones_like(p)
    optimizer.step()
    torch.testing.assert_close(late.detach().norm(), radius)
    assert set(hook.state) == {first, late}
