"""The two experiments behind the advice: the predicted clock and the regret of each rule."""

import json
import math

from etalambda.lab.experiments import clock_prediction, regret


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


def test_the_clock_runs_and_writes(tmp_path, capsys):
    config = clock_prediction.Config(p=5, steps=20, seeds=1, every=10)
    clock_prediction.main(config, tmp_path)
    found = json.loads((tmp_path / "lr-0.003.json").read_text())
    assert len(found["runs"]) == 9
    assert "lr 0.003" in capsys.readouterr().out


def test_regret_runs_resumes_and_judges(tmp_path, capsys):
    config = regret.Config(epochs=(1,), seeds=1, only="mlp sgd, clean")
    regret.main(config, tmp_path)
    (path,) = tmp_path.glob("mlp-*.json")
    before = path.read_text()
    found = json.loads(before)
    assert found["regrets"]["default"]["weight_decay"] == 0
    assert len(found["runs"]) >= 14
    regret.main(config, tmp_path)
    assert path.read_text() == before
    assert "median" in capsys.readouterr().out


def result(**regrets):
    return dict(regrets={name: dict(regret=value) for name, value in regrets.items()})


def test_the_verdict_follows_the_rule_that_was_decided_beforehand():
    results = [
        result(default=0.04, good=0.005, wild=0.3, some=0.01),
        result(default=0.02, good=-0.001, wild=0.0, some=0.02),
        result(default=0.06, good=0.002, wild=0.5),
    ]
    found = regret.verdict(results)
    assert found["median_gap"] == 0.04
    assert found["rules"]["good"]["may_be_default"]
    assert not found["rules"]["wild"]["may_be_default"]
    assert found["rules"]["wild"]["worst"] == 2
    assert not found["rules"]["some"]["may_be_default"]  # it does not always apply
