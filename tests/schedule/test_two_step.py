"""Two-step annealing against the transcription of Algorithm 3, for every variant."""

import io
import warnings

import pytest
import torch

from etalambda.optim import keep_on_sphere
from etalambda.schedule import MatchedAnnealing, Scheduler, TwoStepAnnealing, linear, power_law
from tests.reference import annealing

LR, BASE, STEPS = 0.05, 0.8, 12
HESSIAN = torch.diag(torch.tensor([2.0, 0.5, 1.0], dtype=torch.float64))
MINIMUM = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
START = torch.tensor([0.3, 0.1, -0.7], dtype=torch.float64)
SIZES = {
    "literal": lambda lam, before: lam - before,
    "abs": lambda lam, before: abs(lam - before),
    "relative": lambda lam, before: min(1.0, abs(lam - before) / before),
    "none": lambda lam, before: 0.0,
    "twice": lambda lam, before: 1.0,
}


def gradient(theta):
    return HESSIAN @ (theta - MINIMUM)


def problem(optimizer=torch.optim.SGD, **flags):
    theta = torch.nn.Parameter(START.clone())
    optimizer = optimizer([theta], lr=LR, weight_decay=BASE, **flags)

    def closure():
        theta.grad = gradient(theta.detach())
        return 0.5 * (theta - MINIMUM) @ HESSIAN @ (theta - MINIMUM)

    return theta, optimizer, closure


def run(variant, rule, steps=STEPS, **flags):
    theta, optimizer, closure = problem(**flags)
    annealing_ = TwoStepAnnealing(optimizer, rule, variant=variant)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(steps):
            annealing_.step(closure)
    return theta.detach()


@pytest.mark.parametrize("rule", [power_law(), linear(6, 0.2, 1.0)], ids=str)
@pytest.mark.parametrize("variant", SIZES)
def test_equals_algorithm_3(variant, rule):
    lams = [BASE / 2 * rule(i) for i in range(STEPS)]
    paper = annealing.two_step(START, gradient, lams, LR, SIZES[variant])
    assert (run(variant, rule) - paper).abs().max() < 1e-12


def test_predictor_equals_its_transcription():
    lams = [BASE / 2 * power_law()(i) for i in range(STEPS)]
    paper = annealing.two_step_predictor(START, gradient, lams, LR)
    assert (run("predictor", power_law()) - paper).abs().max() < 1e-12


@pytest.mark.parametrize("variant", ["relative", "predictor"])
def test_covariant_variants_and_the_literal_that_is_not(variant):
    """L -> cL, λ -> cλ, η -> η/c must give the same path."""

    def path(variant, c):
        theta = torch.nn.Parameter(START.clone())
        optimizer = torch.optim.SGD([theta], lr=LR / c, weight_decay=c * BASE)

        def closure():
            theta.grad = c * gradient(theta.detach())
            return torch.zeros(())

        two_step = TwoStepAnnealing(optimizer, power_law(), variant=variant)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for _ in range(STEPS):
                two_step.step(closure)
        return theta.detach()

    assert (path(variant, 1) - path(variant, 8)).abs().max() < 1e-12
    assert (path("literal", 1) - path("literal", 8)).abs().max() > 1e-3


def test_twice_is_two_plain_steps_and_none_is_one():
    theta, optimizer, closure = problem()
    scheduler = Scheduler(optimizer, weight_decay=power_law())
    for _ in range(STEPS):
        optimizer.step(closure)
        optimizer.step(closure)
        scheduler.step()
    assert torch.equal(run("twice", power_law()), theta.detach())

    theta, optimizer, closure = problem()
    scheduler = Scheduler(optimizer, weight_decay=power_law())
    for _ in range(STEPS):
        optimizer.step(closure)
        scheduler.step()
    assert torch.equal(run("none", power_law()), theta.detach())


@pytest.mark.parametrize("variant", [*SIZES, "predictor"])
def test_constant_decay_makes_the_second_step_empty(variant):
    if variant != "twice":
        assert torch.equal(run(variant, lambda i: 1.0), run("none", lambda i: 1.0))


@pytest.mark.parametrize("variant", [*SIZES, "predictor"])
def test_a_sphere_is_applied_once_after_the_m_step(variant):
    rule, radius = linear(10, 1.0, 0.5), float(START.norm())
    theta, optimizer, closure = problem()
    handle = keep_on_sphere(optimizer, [theta], radius="initial")
    apart = []
    two_step = TwoStepAnnealing(optimizer, rule, variant=variant)
    expected, before = START, BASE / 2
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for i in range(4):
            two_step.step(closure)
            lam = BASE / 2 * rule(i)
            if variant == "predictor":
                expected = expected - LR * (gradient(expected) + 2 * lam * expected)
                expected = expected - (lam - before) * LR * 2 * expected
            else:
                sizes = (1.0, SIZES[variant](lam, before))
                for size in sizes:
                    expected = expected - size * LR * (gradient(expected) + 2 * lam * expected)
            expected, before = expected / expected.norm() * radius, lam
            apart.append((theta.detach() - expected).abs().max().item())
    assert max(apart) < 1e-12
    assert handle.radii == [pytest.approx(radius)]
    optimizer.step(closure)
    assert float(theta.detach().norm()) == pytest.approx(radius)  # the hook is back in its place


def test_on_a_sphere_the_predictor_does_nothing():
    paths = []
    for variant in ("predictor", "none"):
        theta, optimizer, closure = problem()
        keep_on_sphere(optimizer, [theta], radius="initial")
        two_step = TwoStepAnnealing(optimizer, power_law(), variant=variant)
        for _ in range(STEPS):
            two_step.step(closure)
        paths.append(theta.detach())
    assert (paths[0] - paths[1]).abs().max() < 1e-12


@pytest.mark.parametrize("variant", [*SIZES, "predictor"])
def test_resume_equals_straight_run(variant):
    flags = dict(momentum=0.9)
    straight = run(variant, power_law(), steps=8, **flags)
    theta, optimizer, closure = problem(**flags)
    two_step = TwoStepAnnealing(optimizer, power_law(), variant=variant)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(4):
            two_step.step(closure)
        file = io.BytesIO()
        torch.save([two_step.state_dict(), optimizer.state_dict()], file)
        file.seek(0)
        state, optimizer_state = torch.load(file, weights_only=True)
        again, optimizer, closure = problem(**flags)
        again.data.copy_(theta.data)
        two_step = TwoStepAnnealing(optimizer, power_law(), variant=variant)
        optimizer.load_state_dict(optimizer_state)
        two_step.load_state_dict(state)
        for _ in range(4):
            two_step.step(closure)
    assert torch.equal(again.detach(), straight)
    assert optimizer.param_groups[0]["lr"] == LR
    with pytest.raises(ValueError, match="TwoStepAnnealing"):
        two_step.load_state_dict(two_step.state_dict()["scheduler"])


def test_a_rule_with_memory_reads_the_closures_loss():
    _, optimizer, closure = problem(torch.optim.AdamW)
    two_step = TwoStepAnnealing(optimizer, MatchedAnnealing(), variant="relative")
    losses = [two_step.step(closure).item() for _ in range(5)]
    assert two_step.last() == pytest.approx([BASE * losses[-1] / losses[0]])


def test_literal_says_once_that_it_climbs():
    _, optimizer, closure = problem()
    two_step = TwoStepAnnealing(optimizer, power_law())
    two_step.step(closure)
    with pytest.warns(UserWarning, match="climbs the loss"):
        two_step.step(closure)
    two_step.step(closure)


def test_errors_restore_the_lr():
    theta, optimizer, closure = problem()
    with pytest.raises(ValueError, match="did you mean 'relative'"):
        TwoStepAnnealing(optimizer, power_law(), variant="relativ")
    with pytest.raises(ValueError, match="takes one optimizer, got 2"):
        TwoStepAnnealing([optimizer, problem()[1]], power_law())
    two_step = TwoStepAnnealing(optimizer, power_law(), variant="relative")
    with pytest.raises(TypeError, match="needs a closure"):
        two_step.step(None)
    calls = []

    def failing():
        calls.append(1)
        if len(calls) == 2:
            raise RuntimeError("out of memory")
        return closure()

    with pytest.raises(RuntimeError, match="out of memory"):
        two_step.step(failing)
    assert optimizer.param_groups[0]["lr"] == LR
    assert theta.grad is not None
