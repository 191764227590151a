"""The report of any set of runs: arms, maps on one scale, paired differences, claims."""

import json
import re

import numpy as np
import pytest

from etalambda.lab import cli, records
from etalambda.lab.report import build, find_runs, write_pictures
from etalambda.lab.report.arms import Arms
from etalambda.lab.report.runs import findings, sets_of, sweep_command, table
from etalambda.lab.results import CELLS, Results

LRS, DECAYS, SEEDS = (0.01, 0.1, 1.0), (0.0, 0.01, 0.1), (0, 1, 2)


def error_of(lr, decay, seed, arm):
    """A bowl around lr 0.1 and λ 0.01; the second arm is two points worse."""
    bowl = 0.02 * abs(np.log10(lr / 0.1)) + abs(decay - 0.01)
    return 0.1 + bowl + 0.001 * seed + 0.02 * (arm == "adamw")


def a_cell(folder, config, validated=True, diverged=False, done=True):
    error = error_of(config["lr"], config["weight_decay"], config["seed"], config["optimizer"])
    error = np.nan if diverged else error
    steps = np.arange(4)
    with records.open_run(folder, config, kind="train") as run:
        metrics = dict(
            step=steps, K=steps * config["lr"] * config["weight_decay"], lr=[config["lr"]] * 4,
            weight_decay=[config["weight_decay"]] * 4, loss=1.0 / (1 + steps),
            val_error=[np.nan, error, np.nan, error], norm=10.0 - steps, angle=[0.1] * 4,
        )  # fmt: skip
        summary = dict(
            val_error=[error if validated else np.nan], test_error=[error + 0.01],
            K=[1.0], norm=[7.0], diverged=[diverged],
        )  # fmt: skip
        run.add("all", metrics=metrics, summary=summary)
        if done:
            run.finish()


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "toy"
    for arm in ("sgd", "adamw"):
        for lr in LRS:
            for decay in DECAYS:
                for seed in SEEDS:
                    config = dict(
                        task="digits", model="mlp", optimizer=arm, lr=lr, weight_decay=decay,
                        seed=seed,
                    )  # fmt: skip
                    diverged = arm == "sgd" and lr == 1.0 and decay == 0.1
                    done = (arm, lr, decay, seed) != ("sgd", 0.01, 0.0, 0)
                    name = f"{arm}-{lr}-{decay}-{seed}"
                    a_cell(out / CELLS / name, config, diverged=diverged, done=done)
    plan = dict(
        kind="train", base=dict(task="digits", epochs=5.0), sampler="grid", trials=0,
        axes=[dict(field="lr", values=list(LRS)), dict(field="optimizer", values=["sgd", "adamw"])],
    )  # fmt: skip
    (out / "sweep.json").write_text(json.dumps(plan))
    return out


@pytest.fixture(scope="module")
def arms(sweep):
    return Arms.of(Results.below([sweep]))


def test_arms_are_what_is_not_lr_decay_or_seed(arms):
    assert arms.fields == ("optimizer",)
    assert set(arms.arms) == {"sgd", "adamw"}
    assert (arms.validated, arms.left_out) == (True, 1)
    sgd = arms.arms["sgd"]
    assert sgd.is_map
    assert sgd.grid.val.shape == (3, 3)
    assert sgd.grid.diverged.sum() == 1
    assert set(sgd.best["lr"]) == {0.1}
    assert sgd.best["seed"].tolist() == [0, 1, 2]
    found = arms.arms["adamw"].minus(sgd)
    assert (found.value, found.n) == (pytest.approx(2.0), 3)


def test_the_table_pairs_every_arm_with_the_first(arms):
    made = table(arms)
    rows = {row[0]: row for row in made.rows}
    first, other = (rows[name] for name in arms.arms)
    assert first[7:9] == ["", ""]
    assert other[7] in ("+2.00", "-2.00")
    assert {row[3] for row in made.rows} == {"9"}
    assert made.rows[made.bold][0] == "sgd"


def test_findings_say_who_is_better_and_what_is_missing(arms):
    said = findings(arms)
    assert any(re.search(r"2\.00 points (worse|better) than", line) for line in said)
    assert "ALARM: 1 of 54 runs are not finished." in said
    assert not any("border" in line for line in said)


def test_curves_are_those_of_the_best_cells(arms):
    curves = arms.curves()
    assert set(curves) == {"sgd", "adamw"}
    assert len(curves["sgd"]["step"]) == 12
    assert set(curves["sgd"]["decay_share"]) == {1.0}


def test_the_page_of_a_sweep(sweep):
    page = build(find_runs([sweep]))
    assert page.count('data-chart="set0-map') == 2
    limits = set(re.findall(r'"zmin": ([0-9.]+), "zmax": ([0-9.]+)', page))
    assert len(limits) == 1  # one colour scale
    assert "etalambda sweep train --over lr=0.01,0.1,1 --over optimizer=sgd,adamw" in page
    assert "53 of 54 finished" in page
    assert "--weight-decay 0.01" in page  # the command of a cell
    assert page.count("<summary>Mechanism: ") == 2


def test_the_command_writes_the_page_and_static_figures_for_papers(sweep, tmp_path, capsys):
    out = tmp_path / "figures"
    words = ["report", str(sweep), "--out", str(tmp_path / "r.html"), "--pictures", str(out)]
    assert cli.main(words) == 0
    assert "54 runs on one page" in capsys.readouterr().out
    drawn = ("maps", "curves", "arms", "mechanism-sgd", "mechanism-adamw")
    assert {path.name for path in out.iterdir()} == {
        f"Sweep-toy-{n}{e}" for n in drawn for e in (".svg", ".pdf")
    }
    assert all(path.stat().st_size > 1000 for path in out.iterdir())


def test_runs_without_validation_raise_an_alarm(tmp_path):
    for lr in (0.1, 1.0):
        config = dict(optimizer="sgd", lr=lr, weight_decay=0.0, seed=0)
        a_cell(tmp_path / f"{lr}", config, validated=False)
    (results,) = sets_of(Results.below([tmp_path]).lines).values()
    arms = Arms.of(results)
    assert not arms.validated
    assert any("train with --validation" in line for line in findings(arms))
    assert table(arms).rows[0][6] == "12.0"


def test_one_run_one_that_diverged_and_none_that_finished(tmp_path):
    config = dict(optimizer="sgd", lr=0.1, weight_decay=0.0, seed=0)
    a_cell(tmp_path / "a", config, done=False)
    assert "None of the 1 runs has finished yet" in build(find_runs([tmp_path]))
    a_cell(tmp_path / "b", config, diverged=True)
    assert "diverged" in build(find_runs([tmp_path / "b"]))
    a_cell(tmp_path / "c", config)
    assert "set0-c0" in build(find_runs([tmp_path / "c"]))


def test_names_of_a_sweep_cannot_become_markup(tmp_path, monkeypatch):
    from etalambda.lab import report

    evil = "<script>alert(1)</script>"
    for lr in (0.1, 1.0):
        for decay in (0.0, 0.1):
            config = dict(optimizer=evil, task=evil, model="x", lr=lr, weight_decay=decay, seed=0)
            a_cell(tmp_path / evil.replace("/", "") / CELLS / f"{lr}{decay}", config)
    runs = find_runs([tmp_path])
    assert "<script>alert" not in build(runs)
    monkeypatch.setattr(report, "save", lambda figure, path: path)
    for path in write_pictures(runs, tmp_path / "p"):
        assert path.resolve().parent == tmp_path / "p"


def test_a_sweep_without_its_plan_has_no_command(tmp_path):
    assert sweep_command(tmp_path) == ""
    (tmp_path / "sweep.json").write_text("{")
    assert sweep_command(tmp_path) == ""


def test_claims_of_the_papers_beside_ours(tmp_path):
    words = ["reproduce", "richemond2019-fig1", "--out", str(tmp_path)]
    assert cli.main(words) == 0
    page = build(find_runs([tmp_path]))
    assert "Paper, ours, tolerance" in page
    assert "richemond2019-fig1, smoke" in page
    assert "holds" in page
