"""Part II, E5 and E9: every class spends its K, the right tensors match, controls are chosen."""

from dataclasses import replace

import numpy as np
import pytest

from etalambda.lab.figures.parttwo import _matching, _scope, e5, e5text, e9
from etalambda.lab.reproduce import Bench
from etalambda.schedule import constant


@pytest.fixture(scope="module", params=[e5, e5text], ids=["cnn", "gpt"])
def plan(request):
    recipe = request.param.FIGURE.recipes["smoke"]
    return _scope._Plan(recipe, request.param.world(recipe, Bench()), "cpu")


@pytest.mark.parametrize("arm", _scope.ARMS)
@pytest.mark.parametrize("shape", _scope.SHAPES)
def test_every_class_that_decays_spends_the_budget(plan, arm, shape):
    trial = plan.cell(shape, arm, 2.0, seed=0).trial
    bases = {"weight_decay": trial.weight_decay} | dict(trial.decays)
    assert set(bases) == set(_scope.ARMS[arm])
    for name, base in bases.items():
        lr, course = trial.rules["lr"], trial.rules[name]
        steps = range(plan.recipe.steps)
        spent = sum(trial.lr * lr(step) * base * course(step) for step in steps)
        assert plan.gain * spent == pytest.approx(2.0, rel=1e-12)
        follows = _scope.ARMS[arm][name]
        assert (course == lr) if follows else (course == constant())


def test_the_invariant_matrices_are_those_in_front_of_a_norm(plan):
    net = plan.world.make()
    kinds = {}
    for name, p in net.named_parameters():
        kinds.setdefault(plan.classes(name, p), set()).add(name)
    if "head.bias" in dict(net.named_parameters()):
        assert kinds["weight_decay"] == {f"features.{i}.weight" for i in (0, 3, 6)}
        assert kinds["others"] == {"head.weight"}
        assert kinds["gains"] == {f"features.{i}.weight" for i in (1, 4, 7)}
    else:
        own = ("attention.qkv", "attention.out", "mlp.2")
        assert kinds["weight_decay"] == {f"blocks.0.{part}.weight" for part in own}
        assert {"head.weight", "tokens.weight", "blocks.0.mlp.0.weight"} <= kinds["others"]
        assert all("norm" in name for name in kinds["gains"])


def test_loss_is_taken_at_each_arms_own_budget_and_rise_at_the_common_one():
    def table(rows):
        names = ("shape", "arm", "budget", "common", "seed", "val", "test", "rise")
        columns = {name: np.array(column) for name, column in zip(names, zip(*rows))}
        return columns | {name: columns[name].astype(object) for name in ("shape", "arm")}

    best = {"invariant": 4.0, "all": 4.0, "none": 1.0, "gains": 1.0}
    grid = [
        ("s", arm, K, K == 4, 1001, float(best[arm] != K), 0.0, 0.0)
        for arm in best
        for K in (1.0, 4.0)
    ]
    cells = [
        ("s", arm, K, K == 4, seed, 0.0, seed + K / 10 * (arm == "none"), K + seed)
        for arm in best
        for K in (1.0, 4.0)
        for seed in (2, 0, 1)
    ]
    found = _matching.estimate({"grid": table(grid), "cells": table(cells)})
    assert set(found) == set(_matching.criteria(["s"]))
    assert found["loss, s"].value == pytest.approx(-0.1)
    assert found["rise where it matches, s"].value == pytest.approx(5.0)
    assert found["rise lower, s"].value == 0


def masked(errors, passes=(1, 20)):
    """Tables of E9 with these errors by mask, K and regime."""
    rows = {"grid": [], "cells": []}
    for seed in range(4):
        for p in passes:
            for mask in e9.MASKS:
                for K in (0.0, 0.5, 1.0, 2.0, 4.0):
                    error = errors(p, mask, K) + 0.01 * seed
                    rows["cells"].append((p, mask, K, 1e-3, seed, error, error))
                    if K:
                        rows["grid"].append((p, mask, K, 1e-3, 1001 + seed, error, error))
    names = ("passes", "mask", "budget", "lr", "seed", "val", "test")
    made = {
        key: {n: np.array(c, dtype=object if n == "mask" else None) for n, c in zip(names, zip(*t))}
        for key, t in rows.items()
    }
    return made


def test_cautious_decay_that_only_decays_half_gains_nothing():
    def errors(passes, mask, K):
        spent = K if mask == "AdamW" else K / 2
        return 5 + (np.log2(max(spent, 1e-9)) - 0) ** 2 * 1e-3

    tables = masked(errors)
    grid = dict(e9.regimes(tables))["one pass"]["grid"]
    settings = e9.settings_of(grid)
    assert settings["AdamW"].budget == 1.0
    assert settings["cautious"].budget == settings["cautious, 2λ"].budget == 2.0
    assert settings["AdamW, λ/2"].budget == 0.5
    assert all(abs(each.value) < 1e-12 for each in e9.estimate(tables).values())


def test_cautious_decay_is_held_against_the_better_control():
    best = {"AdamW": 5.0, "random": 4.5, "cautious": 4.8}
    found = e9.estimate(masked(lambda p, mask, K: best[mask] - (p == 20 and mask == "AdamW")))
    assert found["one pass"].value == pytest.approx(0.3)  # against the random mask
    assert found["many passes"].value == pytest.approx(0.8)  # against AdamW


def test_the_curves_that_are_kept_are_means_over_seeds():
    recipe = replace(e5.FIGURE.recipes["smoke"], shapes=("linear",))
    plan = _scope._Plan(recipe, e5.world(recipe, Bench()), "cpu")
    cells = [plan.cell("linear", "none", 2.0, seed) for seed in (0, 1)]
    tables = plan.job("cells", cells)(lambda share: None)
    kept = _matching.compact(tables)["curves"]
    raw = tables["curves"]
    assert kept["step"].tolist() == list(range(recipe.steps + 1))
    for step, value in list(zip(kept["step"], kept["gradient_norm"]))[1:]:
        assert value == pytest.approx(raw["gradient_norm"][raw["step"] == step].mean())
