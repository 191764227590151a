"""MatchedAnnealing and AutoL2, proved by folding scripted losses: no model."""

import math

import pytest

from etalambda.schedule import AutoL2, CoupledToLR, MatchedAnnealing, clip, fold, times
from tests.reference import annealing
from tests.reference.auto_l2 import auto_l2

LOSSES = [4.0, 3.1, 3.3, 2.2, 2.6, 2.5, 1.4, 1.1, 1.3, 0.7, 0.9, 0.4]
SMOOTH = {
    "sma": annealing.sma,
    "ema": annealing.ema,
    "median": annealing.median,
    "min": annealing.minimum,
}


def seen(losses, **more):
    return [{"loss": loss, **{k: v[i] for k, v in more.items()}} for i, loss in enumerate(losses)]


@pytest.mark.parametrize("memory", [0, 1, 2, 3, 5])
@pytest.mark.parametrize("smoothing", SMOOTH)
def test_matched_is_algorithm_1(smoothing, memory):
    ours = fold(MatchedAnnealing(memory, smoothing), seen(LOSSES))
    paper = annealing.matched(LOSSES, 1.0, memory, SMOOTH[smoothing])
    assert ours == pytest.approx(paper, abs=1e-12)


@pytest.mark.parametrize("smoothing", SMOOTH)
def test_memory_0_is_the_raw_ratio(smoothing):
    ratios = [loss / LOSSES[0] for loss in LOSSES]
    assert fold(MatchedAnnealing(0, smoothing), seen(LOSSES)) == pytest.approx(ratios)


def test_scale_of_the_loss_does_not_matter_but_an_added_constant_does():
    shifted, scaled = [loss + 5 for loss in LOSSES], [7 * loss for loss in LOSSES]
    plain = fold(MatchedAnnealing(2, "ema"), seen(LOSSES))
    assert fold(MatchedAnnealing(2, "ema"), seen(scaled)) == pytest.approx(plain)
    # (L0 S + c) / (L0 + c): linear smoothing does not remove the constant, as the paper hopes.
    expected = [1.0, 1.0] + [(4 * s + 5) / 9 for s in plain[2:]]
    assert fold(MatchedAnnealing(2, "ema"), seen(shifted)) == pytest.approx(expected)
    repaired = MatchedAnnealing(2, "ema", reference=5.0)
    assert fold(repaired, seen(shifted)) == pytest.approx(plain)


@pytest.mark.parametrize("variant", ["increment", "aitken"])
@pytest.mark.parametrize("memory", [0, 2])
def test_variants_ignore_shift_and_scale(variant, memory):
    rule = MatchedAnnealing(memory, variant=variant)
    plain = fold(rule, seen(LOSSES))
    assert fold(rule, seen([3 * loss + 5 for loss in LOSSES])) == pytest.approx(plain, rel=1e-9)
    assert min(plain) < 0.5


def test_increment_and_aitken_on_a_geometric_loss():
    """L = 2 + 3 · 0.5^i: increments halve; Aitken finds the limit 2 exactly."""
    losses = [2 + 3 * 0.5**i for i in range(8)]
    increments = fold(MatchedAnnealing(variant="increment"), seen(losses))
    assert increments == pytest.approx([1, 1] + [0.5**i for i in range(1, 7)])
    aitken = fold(MatchedAnnealing(variant="aitken"), seen(losses))
    assert aitken == pytest.approx([1, 1] + [0.5**i for i in range(2, 8)])


def test_aitken_on_a_line_and_on_a_plateau():
    rule = MatchedAnnealing(variant="aitken")
    assert fold(rule, seen([3.0, 2.0, 1.0])) == [1, 1, 1]  # no limit in sight: full decay
    assert fold(rule, seen([3.0, 2.0, 2.0])) == [1, 1, 0]  # the limit is reached
    assert fold(rule, seen([2.0, 2.0, 2.0, 3.0])) == [1, 1, 1, 1]  # nothing to divide by
    assert fold(MatchedAnnealing(variant="increment"), seen([2.0, 2.0, 1.0, 0.5])) == [1, 1, 1, 0.5]


def test_reference_floor_and_clip():
    rule = MatchedAnnealing(reference=1.0)  # λ ∝ (L - L_c)₊
    assert fold(rule, seen([3.0, 2.0, 1.0, 0.5])) == [1, 0.5, 0, 0]
    assert fold(MatchedAnnealing(floor=0.3), seen([2.0, 1.0, 0.1])) == [1, 0.5, 0.3]
    pole = MatchedAnnealing(clip=0.9)  # lr * weight_decay stays below 0.9
    run = seen([1.0, 2.0, 8.0], lr=[0.5, 0.5, 0.5])
    assert fold(pole, run, initial=0.5) == pytest.approx([1, 2, 3.6])


def test_a_loss_that_is_not_finite_changes_nothing():
    good = fold(MatchedAnnealing(1), seen([4.0, 2.0, 1.0]))
    with_nan = fold(MatchedAnnealing(1), seen([4.0, 2.0, math.nan, math.inf, 1.0]))
    assert with_nan == [*good[:2], good[1], good[1], good[2]]


FIRST_ERRORS = {
    "nan": (MatchedAnnealing(), [math.nan], "first loss is nan"),
    "at reference": (MatchedAnnealing(reference=2.0), [2.0], "not above reference=2.0"),
    "zero": (MatchedAnnealing(), [0.0], "not above reference"),
    "no loss": (MatchedAnnealing(), None, "reads 'loss'"),
    "text": (MatchedAnnealing(), ["low"], "must be a number"),
}


@pytest.mark.parametrize("case", FIRST_ERRORS)
def test_first_tick_errors(case):
    rule, losses, message = FIRST_ERRORS[case]
    with pytest.raises((ValueError, TypeError), match=message):
        fold(rule, [{}] if losses is None else seen(losses))


BAD = {
    "memory": (lambda: MatchedAnnealing(-1), "memory"),
    "memory 1.5": (lambda: MatchedAnnealing(1.5), "whole number"),
    "smoothing": (lambda: MatchedAnnealing(smoothing="sam"), "did you mean 'sma'"),
    "variant": (lambda: MatchedAnnealing(variant="aitkin"), "did you mean 'aitken'"),
    "reference": (lambda: MatchedAnnealing(reference=math.nan), "reference"),
    "clip": (lambda: MatchedAnnealing(clip=0), "clip"),
    "every": (lambda: AutoL2(every=0), "every"),
    "ratio": (lambda: AutoL2(ratio=1), "ratio must be above 1"),
    "refractory": (lambda: AutoL2(refractory=-1), "refractory"),
    "unit": (lambda: AutoL2(unit="step"), "did you mean 'steps'"),
    "power": (lambda: CoupledToLR(-1), "power"),
    "peak": (lambda: CoupledToLR(peak_lr=0), "peak_lr"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_arguments(case):
    make, message = BAD[case]
    with pytest.raises(ValueError, match=message):
        make()


def noisy(steps, seed):
    """A loss that falls, then turns up, with ripples; the error follows it in stairs."""
    losses = [
        math.exp(-i / 40) + 0.1 * math.sin(seed + i * 0.7) + (i / 300) ** 2 for i in range(steps)
    ]
    return losses, [round(loss, 1) for loss in losses]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("every", [1, 5, 10])
@pytest.mark.parametrize("lam0", [0.1, 0.8, 16.0])
def test_autol2_is_algorithm_1(lam0, every, seed):
    losses, errors = noisy(400, seed)
    ours = fold(AutoL2(every=every), seen(losses, error=errors), initial=lam0)
    paper = auto_l2(losses, errors, lam0, every, 0.1)
    assert [lam0 * f for f in ours] == pytest.approx(paper, rel=1e-12)
    assert len(set(paper)) > 2


def test_autol2_waits_ten_then_a_hundred_steps():
    """From λ = 0.1 the waits at the new λ are 10, 100, 1000 steps."""
    factors = fold(
        AutoL2(every=1), seen([1.0, 2.0] + [3.0] * 1200, error=[0.5] * 1202), initial=0.1
    )
    drops = [t for t in range(1, len(factors)) if factors[t] < factors[t - 1]]
    assert drops == [2, 13, 114, 1115]


def test_autol2_looks_every_tenth_tick_only():
    calls = []

    def loss():
        calls.append(len(calls))
        return 1.0

    fold(AutoL2(every=10), [{"loss": loss, "error": 0.1} if t % 10 == 0 else {} for t in range(25)])
    assert len(calls) == 3


def test_autol2_cannot_start_from_nan():
    for loss, error in ((math.nan, 0.5), (1.0, math.inf)):
        with pytest.raises(ValueError, match="the first loss and error are"):
            fold(AutoL2(), [{"loss": loss, "error": error}])


def test_autol2_turns_on_the_error_too_and_survives_nan():
    rule = AutoL2(every=1, refractory=0)
    up = seen([5.0, 4.0, 3.0, 2.0], error=[0.1, 0.2, 0.3, 0.3])
    assert fold(rule, up) == [1, 1, 0.1, 0.01]
    bad = seen([1.0, math.nan, 2.0, math.inf, 3.0], error=[0.5] * 5)
    assert fold(rule, bad) == [1, 1, 1, 1, 0.1]


def test_decay_time_is_step_time_at_constant_lr_and_stretches_with_it():
    losses = [1.0, 2.0] + [3.0] * 4000
    constant = {"lr": [0.1] * 4002, "error": [0.5] * 4002, "peak_lr": [0.1] * 4002}
    steps = fold(AutoL2(every=1), seen(losses, **constant), initial=0.1)
    decay = fold(AutoL2(every=1, unit="decay"), seen(losses, **constant), initial=0.1)

    def drops(factors):
        return [t for t in range(1, len(factors)) if factors[t] < factors[t - 1]]

    # The wait is the same; the next look is `every` steps of the first λ, so ten times later.
    assert drops(steps)[:3] == [2, 13, 114]
    assert drops(decay)[:3] == [2, 22, 222]
    halved = constant | {"lr": [0.05] * 4002}
    slower = fold(AutoL2(every=1, unit="decay"), seen(losses, **halved), initial=0.1)
    waits = [b - a for a, b in zip(drops(decay), drops(decay)[1:])]
    longer = [b - a for a, b in zip(drops(slower), drops(slower)[1:])]
    assert longer == [2 * wait for wait in waits[:2]]


def test_compositions_with_memory_are_products_of_their_parts():
    signals = seen(LOSSES, lr=[0.1 / (1 + i) for i in range(12)])
    both = fold(times(MatchedAnnealing(), CoupledToLR()), signals)
    parts = zip(fold(MatchedAnnealing(), signals), fold(CoupledToLR(), signals))
    assert both == pytest.approx([a * b for a, b in parts])
    held = fold(clip(MatchedAnnealing(), low=0.25), signals)
    assert min(held) == 0.25


def test_fold_of_a_shape_and_of_nothing():
    assert fold(lambda step: step, [{}] * 3) == [0, 1, 2]
    assert fold(MatchedAnnealing(), []) == []
