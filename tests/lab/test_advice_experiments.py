"""The experiments behind the advice: the predicted clock, the regret of each rule, the gradient."""

import math

import pytest

from etalambda.lab import records
from etalambda.lab.experiments import clock_prediction, gradient_norm, regret
from etalambda.lab.experiments.parts import rows_of


def test_a_perfect_clock_is_predicted_exactly():
    config = clock_prediction.Config(lr=3e-3, steps=3600, seeds=2)
    rows = []
    for name, (decay, rules) in clock_prediction.plans(config.steps).items():
        ones = lambda step: 1.0
        spent = 0.0
        for step in range(config.steps):
            lr, wd = (rules.get(key, ones)(step) for key in ("lr", "weight_decay"))
            spent += 3e-3 * lr * decay * wd
            if spent >= 1.8:
                rows += [dict(plan=name, seed=s, step=step + 1.0, K=1.8) for s in range(2)]
                break
    lines = clock_prediction.predict(config, rows)
    assert len(lines) == 9
    assert all(line["n"] == 2 for line in lines)
    assert all(abs(line["predicted"] - line["measured"]) <= 1 for line in lines)


def test_a_plan_that_never_arrives_is_counted():
    config = clock_prediction.Config(steps=3600, seeds=1)
    rows = [
        dict(plan=name, seed=0, step=math.nan if "up" in name else 1500.0, K=1.8)
        for name in clock_prediction.plans(3600)
    ]
    by_name = {line["plan"]: line for line in clock_prediction.predict(config, rows)}
    assert by_name["up 0 to 0.8"]["never"] == 1
    assert math.isnan(by_name["up 0 to 0.8"]["error"])
    shown = {row[0]: row for row in clock_prediction.table(config, by_name.values()).rows}
    assert shown["up 0 to 0.8"][2:] == ("0 of 1", "2325", "–")


def test_the_clock_is_recorded_and_goes_on_where_it_stopped(tmp_path, capsys):
    config = clock_prediction.Config(p=5, steps=20, seeds=2, every=10)
    with records.open_run(tmp_path / "run", vars(config), kind="clock_prediction") as record:
        record.add("seed=0", runs=_never(0))  # and then it was killed
    clock_prediction.main(config, tmp_path / "run")
    tables = records.read(tmp_path / "run").tables
    assert len(tables["runs"]["plan"]) == 18
    kept = [row for row in rows_of(tables["runs"]) if row["seed"] == 0]
    assert all(row["K"] == 7.0 for row in kept)  # not trained again
    assert len(tables["predictions"]["plan"]) == 9
    assert "lr 0.003" in capsys.readouterr().out


def _never(seed):
    names = list(clock_prediction.plans(20))
    return dict(plan=names, seed=[seed] * 9, step=[math.nan] * 9, K=[7.0] * 9)


def test_regret_is_recorded_and_a_finished_run_is_only_read(tmp_path, capsys):
    config = regret.Config(epochs=(1,), seeds=1, only="mlp sgd, clean")
    regret.main(config, tmp_path / "run")
    printed = capsys.readouterr().out
    tables = records.read(tmp_path / "run").tables
    assert len(tables["runs"]["seed"]) >= 14
    default = next(row for row in rows_of(tables["regrets"]) if row["rule"] == "default")
    assert default["weight_decay"] == 0
    assert (default["task"], default["epochs"]) == ("mlp sgd, clean", 1)
    before = (tmp_path / "run" / "runs.parquet").stat().st_mtime_ns
    regret.main(config, tmp_path / "run")
    assert (tmp_path / "run" / "runs.parquet").stat().st_mtime_ns == before
    assert capsys.readouterr().out == printed
    assert "may be default" in printed


def lines(*settings):
    return [
        dict(task=f"task {i}", epochs=1, rule=rule, regret=value)
        for i, found in enumerate(settings)
        for rule, value in found.items()
    ]


def test_the_verdict_follows_the_rule_that_was_decided_beforehand():
    found = regret.verdict(
        lines(
            dict(default=0.04, good=0.005, wild=0.3, some=0.01),
            dict(default=0.02, good=-0.001, wild=0.0, some=0.02),
            dict(default=0.06, good=0.002, wild=0.5),
        )
    )
    by_rule = {row["rule"]: row for row in found}
    assert by_rule["default"]["median"] == 0.04
    assert by_rule["good"]["may_be_default"]
    assert not by_rule["wild"]["may_be_default"]
    assert by_rule["wild"]["worst"] == 2
    assert not by_rule["some"]["may_be_default"]  # it does not always apply


def test_a_task_that_is_not_there_is_named():
    with pytest.raises(ValueError, match="no task has 'lstm' in its name; they are: mlp sgd"):
        regret.Config(only="lstm")


def test_gradient_norms_print_every_plan(tmp_path, capsys):
    config = gradient_norm.GradientNormConfig(
        steps=40, seeds=2, width=16, depth=1, context=8, budget=2.0
    )
    gradient_norm.main(config, tmp_path / "run")
    printed = capsys.readouterr().out
    assert all(plan in printed for plan in gradient_norm.PLANS)
