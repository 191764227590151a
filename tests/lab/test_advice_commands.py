"""``etalambda suggest`` and ``etalambda doctor`` as typed at a terminal."""

import json

import numpy as np
import pytest

from etalambda.lab.cli import main

PLAN = "suggest --optimizer adamw --lr 1e-3 --steps 78200 --batch-size 128 --dataset-size 50000"


def test_suggest_prints_every_rule(capsys):
    assert main(PLAN.split()) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("weight_decay ≈ 0.2")
    assert "loshchilov_hutter" in printed


def test_suggest_as_json_and_as_another_tools_flags(capsys):
    assert main([*PLAN.split(), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["budget"] == pytest.approx(16, rel=0.01)
    assert main([*PLAN.split(), "--as", "hf"]) == 0
    assert capsys.readouterr().out.startswith("--optim adamw_torch")


def test_suggest_from_a_reference(capsys):
    words = "--reference lr=1e-3,weight_decay=0.1,steps=10000,optimizer=adamw"
    assert main([*PLAN.split(), *words.split(), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["chosen"] == "anchored"
    assert found["budget"] == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("suggest --optimizer adamv --lr 1e-3 --steps 10", "did you mean 'adam"),
        ("suggest --optimizer adamw --lr 1e-3 --steps 0", "steps must be a positive"),
        ("suggest --optimizer adamw --lr nan --steps 10", "lr must be a finite number above 0"),
        ("suggest --optimizer adamw --lr 1 --steps 1 --reference x", "reference has 'x'"),
        ("suggest --optimizer adamw --lr 1 --steps 1 --reference lr=a", "which is no number"),
        ("suggest --optimizer adamw --lr 1 --steps 1 --as hff", "unknown tool 'hff'"),
        ("doctor", "name a run folder or a log"),
        ("doctor nowhere.csv", "there is no log at nowhere.csv"),
    ],
)
def test_mistakes_are_one_line(words, message, capsys):
    assert main(words.split()) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_doctor_on_a_csv_log(tmp_path, capsys):
    rows = [f"{step},0.001,0.01" for step in range(1, 1001, 10)]
    (tmp_path / "log.csv").write_text("\n".join(["step,lr,weight_decay", *rows]))
    assert main(["doctor", str(tmp_path / "log.csv")]) == 0
    assert "INERT" in capsys.readouterr().out
    assert main(["doctor", str(tmp_path / "log.csv"), "--json", "--weight-decay", "9"]) == 0
    report = json.loads(capsys.readouterr().out)[0]
    assert [finding["code"] for finding in report["findings"]] == ["INERT"]


def test_doctor_on_a_run_folder(tmp_path, capsys):
    records = pytest.importorskip("etalambda.lab.records")
    steps = np.arange(1, 101) * 10

    def table(plan, decay):
        n = len(steps)
        k = np.cumsum(np.full(n, 1e-3 * decay * 10))
        return dict(
            plan=np.array([plan] * n),
            seed=np.zeros(n, int),
            step=steps,
            K=k,
            lr=np.full(n, 1e-3),
            weight_decay=np.full(n, decay),
            norm=np.ones(n),
        )

    with records.open_run(tmp_path / "run", dict(optimizer="adamw"), kind="clock") as run:
        run.add("small", metrics=table("small", 0.02))
        run.add("large", metrics=table("large", 2.0))
        run.finish()
    assert main(["doctor", str(tmp_path / "run")]) == 0
    printed = capsys.readouterr().out
    assert "2 networks, 1 with nothing to change" in printed
    assert "INERT in 1, first: plan small, seed 0" in printed


@pytest.mark.parametrize(
    ("column", "names", "config"),
    [
        ("method", ("AdamW", "constant"), {}),
        ("optimizer", ("AdamW", "AdamW"), {}),
        ("plan", ("a", "b"), {"optimizer": "adamw"}),
    ],
)
def test_doctor_knows_who_trained_a_record(tmp_path, column, names, config, capsys):
    """Without lr in the record λ = 1e-3 at lr 1e-3 has SCALE's pattern for AdamW alone."""
    records = pytest.importorskip("etalambda.lab.records")
    n = 40
    with records.open_run(tmp_path / "run", config, kind="some") as run:
        for seed, name in enumerate(names):
            run.add(
                f"seed={seed}",
                metrics=dict(
                    {column: np.array([name] * n, dtype=object)},
                    seed=np.full(n, seed), step=np.arange(1, n + 1), lr=np.full(n, 1e-3),
                    weight_decay=np.full(n, 1e-3),
                ),
            )  # fmt: skip
        run.finish()
    assert main(["doctor", str(tmp_path / "run"), "--json"]) == 0
    reports = json.loads(capsys.readouterr().out)
    found = [[f["code"] for f in report["findings"]] for report in reports]
    assert found == [["INERT", "SCALE"] if name != "constant" else ["INERT"] for name in names]


def test_doctor_script_is_five_lines(capsys):
    assert main(["doctor", "--script"]) == 0
    assert len(capsys.readouterr().out.strip().splitlines()) == 5
