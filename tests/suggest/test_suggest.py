"""Predictors against the numbers that their sources print, and `suggest` as a whole."""

import json
import math
from types import FunctionType

import pytest
import torch

import etalambda as el
from etalambda.suggest import DecayBudget
from etalambda.suggest.measure import Coefficient
from etalambda.suggest.predictors import (
    PREDICTORS,
    source_of,
    target_budget,
)
from etalambda.suggest.run_plan import NotApplicable, Plan

CIFAR = dict(steps=78_200, batch_size=128, dataset_size=50_000)


def said(found, name):
    return {p.name: p for p in found.predictions}[name].weight_decay


def constant(optimizer="adamw", lr=1e-3, steps=1000, gain=1.0, **known):
    return Plan.steady(optimizer, lr, steps, gain=gain, **known)


@pytest.mark.parametrize("optimizer", ["adamw", "lion", "muon", "sgdw", "sgd"])
@pytest.mark.parametrize("lr_schedule", ["constant", "linear", "cosine"])
@pytest.mark.parametrize("decay_schedule", ["constant", "matched", "cosine"])
def test_the_plan_spends_the_target_whatever_optimizer_and_schedules(
    optimizer, lr_schedule, decay_schedule
):
    found = el.suggest(
        optimizer=optimizer,
        lr=0.01,
        lr_schedule=lr_schedule,
        momentum=0.9,
        weight_decay_schedule=decay_schedule,
        **CIFAR,
    )
    assert found.chosen == "decay_budget"
    assert found.plan.total == pytest.approx(0.08 * 200.192, rel=1e-9)
    spent = DecayBudget.of(
        optimizer,
        lr=0.01,
        weight_decay=found.weight_decay,
        steps=78_200,
        lr_schedule=lr_schedule,
        weight_decay_schedule=decay_schedule,
        momentum=0.9,
    )
    assert spent.total == pytest.approx(0.08 * 200.192, rel=1e-9)


def test_tenth_over_epochs_gives_the_papers_decay():
    """200 epochs: 5e-4 for SGD and AdamS, 0.5 for AdamW (Xie et al. B.1)."""
    values = {
        name: PREDICTORS["tenth_over_epochs"](
            constant(name, lr, steps=200, batch_size=50_000, dataset_size=50_000)
        )
        for name, lr in [("sgd", 0.1), ("adams", 1e-3), ("adamw", 1e-3), ("adam", 1e-3)]
    }
    assert values == pytest.approx({"sgd": 5e-4, "adams": 5e-4, "adamw": 0.5, "adam": 0.5})


def test_time_to_peak_gives_the_listed_weight_decays():
    """Lewkowycz & Gur-Ari: λ = 0.0065625/T epochs at lr 0.2, momentum 0.9, 48.8 steps an epoch."""
    c = 0.0065625 * 48.83 * 0.2 / 0.1
    for epochs, listed in [(100, 6.5625e-5), (500, 1.3125e-5)]:
        plan = constant("sgd", 0.2, round(epochs * 48.83), gain=10.0, coefficient=c)
        assert PREDICTORS["peak_time"](plan) == pytest.approx(listed, rel=1e-3)


def test_time_to_peak_counts_to_the_first_drop():
    """With the lr cut at 0.3 T, λ = c/(0.3 T)."""
    drops = torch.tensor([1.0] * 300 + [0.2] * 700, dtype=torch.float64)
    ones = torch.ones_like(drops)
    cut = Plan("adamw", 1e-3, 1000, drops, ones, coefficient=0.6)
    assert PREDICTORS["peak_time"](cut) == pytest.approx(0.6 / (300 * 1e-3))


def test_c_is_a_range_and_never_a_number_alone():
    """c at a small λ is up to twice that at a large one: λ comes as c/T to 2c/T."""
    measured = Coefficient(decay_done=0.4, epochs=0.1, steps=400.0, time=200.0, weight_decay=2.0)
    plan = dict(optimizer="sgd", lr=0.1, momentum=0.9, steps=1000)
    found = el.suggest(**plan, coefficient=measured)
    (rule,) = [p for p in found.predictions if p.name == "peak_time"]
    assert (rule.low, rule.weight_decay) == pytest.approx((0.4 / 1000, 0.8 / 1000))
    assert "0.0004 to 0.0008" in str(found)
    assert found.spread[0] <= rule.low
    assert el.suggest(**plan, coefficient=0.8).predictions == found.predictions


def test_width_transfer_keeps_the_product():
    """Kosson: lr ∝ 1/width asks for λ ∝ width, from the reference run's K."""
    reference = dict(lr=4e-3, weight_decay=0.1, steps=1000, optimizer="adamw")
    found = el.suggest(optimizer="adamw", lr=1e-3, steps=1000, reference=reference)
    assert found.weight_decay == pytest.approx(0.4)


def test_power_lines_and_the_regimes():
    plan = constant(steps=1000, lr=1e-3, batch_size=2000, parameters=1e5)
    assert plan.tokens_per_parameter == 20
    assert PREDICTORS["power_lines"](plan) == pytest.approx(20**0.527 / 1.084)
    assert target_budget(1, 20)[0] == pytest.approx(0.5 * 20**0.527 / 1.084)
    assert target_budget(3, 20)[0] == pytest.approx(0.24)
    assert target_budget(1000, None)[0] == 17
    assert "assumed" in target_budget(None, None)[1]


def test_ema_timescale_and_loshchilov_hutter_on_cifar():
    plan = constant(steps=78_125, batch_size=128, dataset_size=50_000)
    assert plan.passes == pytest.approx(200)
    assert 1 / (1e-3 * PREDICTORS["ema_timescale"](plan)) == pytest.approx(
        math.sqrt(200) * 50_000 / 128
    )
    rate = 0.05 * math.sqrt(128 / (50_000 * 200))
    assert PREDICTORS["loshchilov_hutter"](plan) == pytest.approx(rate / 1e-3)


def test_anchored_is_nanochats_line():
    """λ = λ_ref √(B/B_ref) D_ref/D at fixed tokens per parameter and lr ∝ √B."""
    reference = dict(lr=0.02, weight_decay=0.28, steps=2000, batch_size=5e5, parameters=1e8)
    data, batch = 2.0, 4.0
    found = el.suggest(
        optimizer="muon",
        lr=0.02 * math.sqrt(batch),
        steps=round(2000 * data / batch),
        batch_size=5e5 * batch,
        parameters=1e8 * data,
        reference=reference | dict(optimizer="muon"),
    )
    assert found.chosen == "anchored"
    assert found.weight_decay == pytest.approx(0.28 * math.sqrt(batch) / data)


def test_anchored_at_twice_the_tokens_per_parameter():
    reference = dict(lr=1e-3, weight_decay=0.1, steps=1000, batch_size=100, parameters=1e4)
    found = el.suggest(
        optimizer="adamw", lr=1e-3, steps=2000, batch_size=100, parameters=1e4, reference=reference
    )
    assert found.plan.total == pytest.approx(0.1 * 2**0.527)


def test_stable_decay_needs_its_second_moment():
    found = el.suggest(optimizer="adams", lr=1e-3, **CIFAR)
    assert found.chosen == "tenth_over_epochs"
    assert math.isnan(said(found, "decay_budget"))
    assert {p.reason for p in found.predictions if p.name == "decay_budget"} == {
        "needs v_mean, the mean squared gradient of a short run"
    }
    known = el.suggest(optimizer="adams", lr=1e-3, v_mean=1e-6, **CIFAR)
    assert known.chosen == "decay_budget"
    assert known.plan.total == pytest.approx(0.08 * 200.192)


def test_warnings_say_what_to_be_careful_about():
    def warned(**options):
        return " | ".join(el.suggest(**dict(optimizer="adamw", lr=1e-3) | options).warnings)

    reference = dict(lr=1e-3, weight_decay=1e-3, steps=1000)
    assert "decay is inert: K = 0.001" in warned(steps=1000, reference=reference)
    assert "equilibrium never reached" in warned(steps=1000, reference=reference)
    assert "> 0.1" in warned(steps=20, batch_size=100, dataset_size=10)
    assert "disagree by a factor" in warned(**CIFAR)
    assert "passes unknown" in warned(steps=1000)
    assert "momentum taken as 0" in warned(optimizer="sgd", **CIFAR)


def test_printed_and_json():
    found = el.suggest(optimizer="adamw", lr=1e-3, lr_schedule="cosine", **CIFAR)
    text = str(found)
    assert text.startswith("weight_decay ≈ 0.4, rules say 0.02 to 0.5 (adamw, lr 0.001)")
    assert all(name in text for name in PREDICTORS)
    row = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert row["chosen"] == "decay_budget"
    assert row["budget"] == pytest.approx(0.08 * 200.192)
    assert row["predictions"][0]["weight_decay"] is None


def test_every_predictor_names_its_source_domain_and_failures():
    for name, rule in PREDICTORS.items():
        for word in ("Source:", "Domain:", "Fails:"):
            assert word in (rule.__doc__ or ""), (name, word)
        assert source_of(rule), name


def test_every_public_function_has_a_doctest():
    functions = [f for f in vars(el.suggest).values() if isinstance(f, FunctionType)]
    public = [f for f in functions if f.__name__ in el.suggest.__all__]
    assert len(public) > 10
    for function in [*public, *PREDICTORS.values()]:
        assert ">>>" in (function.__doc__ or ""), function.__name__


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(steps=0), "steps must be a positive whole number, got 0"),
        (dict(lr=0.0), "lr must be a finite number above 0, got 0.0"),
        (dict(lr=math.nan), "lr must be a finite number above 0, got nan"),
        (dict(batch_size=-1), "batch_size must be a finite number above 0, got -1"),
        (dict(optimizer="adamv"), "unknown optimizer 'adamv'; did you mean 'adam"),
        (dict(lr_schedule="cosin"), "unknown schedule 'cosin'; did you mean 'cosine'"),
        (dict(lr_schedule=[1.0]), "the schedule has 1 factors for steps=100"),
        (dict(lr_schedule=[0.0] * 100), "sum_of_the_lr_schedule"),
        (dict(weight_decay_schedule="mached"), "did you mean 'matched'"),
        (dict(reference=dict(lr=0.1)), r"reference lacks \['steps', 'weight_decay'\]"),
        (dict(reference=dict(lr=0.1, weight_decay=0.0, steps=3)), "K of the reference"),
        (dict(momentum=1.0), "momentum must lie in"),
        (dict(optimizer="adam"), "no rule applies to optimizer='adam'.*decoupled form"),
    ],
)
def test_bad_input_is_named(options, message):
    with pytest.raises(ValueError, match=message):
        el.suggest(**dict(optimizer="adamw", lr=1e-3, steps=100) | options)


def test_not_applicable_is_an_answer_with_a_reason():
    with pytest.raises(NotApplicable, match="needs batch_size and parameters"):
        PREDICTORS["power_lines"](constant())
    with pytest.raises(NotApplicable, match="one pass"):
        PREDICTORS["power_lines"](constant(batch_size=9, dataset_size=9, parameters=1))
    with pytest.raises(NotApplicable, match="50 to 2000 passes"):
        PREDICTORS["tenth_over_epochs"](constant(batch_size=1, dataset_size=1000))
    with pytest.raises(NotApplicable, match="more than one pass"):
        PREDICTORS["ema_timescale"](constant(batch_size=1, dataset_size=1e9))
