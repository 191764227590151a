"""Many runs as one table, asked in SQL while they go on; ls, show and diff."""

import numpy as np
import pytest

from etalambda.lab import cli, records
from etalambda.lab.difference import difference, matched
from etalambda.lab.results import CELLS, Results


def a_run(folder, config, error=None, rows=3, done=True, kind="toy", extra=0.0):
    with records.open_run(folder, config, kind=kind) as run:
        steps = np.arange(rows)
        metrics = {"step": steps, "loss": 1.0 / (1 + steps), "lr": [0.5] * rows}
        run.add("a", metrics=metrics)
        if error is not None:
            run.add(
                "b", summary={"val_error": [error], "test_error": [error + extra], "ok": [True]}
            )
        if done:
            run.finish()


@pytest.fixture
def sweep(tmp_path):
    for lr in (0.1, 0.2):
        for seed in (0, 1):
            config = {"lr": lr, "seed": seed, "model": "mlp", "lengths": (1, 2)}
            done = (lr, seed) != (0.2, 1)
            a_run(tmp_path / CELLS / f"{lr}-{seed}", config, lr + seed / 100, done=done)
    return tmp_path


def test_a_row_a_run_with_config_and_results(sweep):
    found = Results.below([sweep])
    assert found.varying == ["lr", "seed"]
    assert found.common == {"model": "mlp", "lengths": [1, 2]}
    table = found.table
    assert table["lr"].tolist() == [0.1, 0.1, 0.2, 0.2]
    assert table["finished"].tolist() == [True, True, True, False]
    assert table["val_error"] == pytest.approx([0.1, 0.11, 0.2, 0.21])  # of the unfinished too
    assert table["model"].tolist() == ["mlp"] * 4
    assert (table["seconds"] >= 0).all()
    assert {line.sweep for line in found.lines} == {sweep}


def test_metrics_have_their_run_and_its_fields(sweep):
    rows = Results.below([sweep]).metrics()
    assert len(rows["step"]) == 12
    assert set(rows["lr"]) == {0.5}
    assert rows["base_lr"].tolist() == [0.1] * 6 + [0.2] * 6
    assert rows["run"][0] == "0.1-0"


def test_runs_are_asked_in_sql(sweep):
    found = Results.below([sweep])
    head, rows = found.query("select lr, avg(val_error) as e from runs group by lr order by e")
    assert head == ["lr", "e"]
    assert rows == [(0.1, pytest.approx(0.105)), (0.2, pytest.approx(0.205))]
    _, rows = found.query("select count(*) from metrics where base_lr > 0.1")
    assert rows == [(6,)]
    with pytest.raises(ValueError, match=r"the query was refused: .*nonsense"):
        found.query("select nonsense from runs")


def test_runs_of_many_kinds_and_damaged_ones(tmp_path):
    a_run(tmp_path / "one", {"lr": 0.1}, 0.3)
    a_run(tmp_path / "two", {"steps": 5, "on": True}, None)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "config.toml").write_text("kind = ")
    found = Results.below([tmp_path])
    assert len(found.lines) == 2
    assert np.isnan(found.table["lr"][1])
    assert np.isnan(found.table["val_error"][1])
    assert found.table["on"].tolist() == [None, True]
    assert Results(()).table == {}
    assert Results(()).metrics() == {}
    with pytest.raises(ValueError, match="does not exist"):
        Results.below([tmp_path / "nowhere"])


def test_links_in_a_circle_end(tmp_path):
    a_run(tmp_path / "one", {"lr": 0.1}, 0.3)
    (tmp_path / "one" / "self").symlink_to(tmp_path)
    assert len(Results.below([tmp_path]).lines) == 1


def said(capsys, *words):
    assert cli.main(list(map(str, words))) == 0
    return " ".join(capsys.readouterr().out.split())


def test_ls_of_a_sweep_shows_cells_best_first(sweep, capsys):
    out = said(capsys, "ls", sweep)
    assert "lr seed val_error test_error finished" in out
    assert out.index("0.1 0 0.1 0.1 yes") < out.index("0.2 0 0.2 0.2 yes")
    assert "3 of 4 runs are finished" in out
    out = said(
        capsys, "ls", sweep, "--where", "lr > 0.1", "--sort", "seed desc", "--columns", "lr,seed"
    )
    assert out.index("0.2 1") < out.index("0.2 0")
    assert "0.1" not in out
    assert "3 more rows: --limit 4" in said(capsys, "ls", sweep, "--limit", "1")
    out = said(capsys, "ls", sweep, "--sql", "select count(*) as count from runs")
    assert out.startswith("count")
    assert out.endswith(" 4")


def test_ls_of_a_folder_shows_a_sweep_as_one_line(sweep, capsys):
    a_run(sweep.parent / "alone", {"lr": 0.1}, 0.3)
    out = said(capsys, "ls", sweep.parent)
    assert "3 of 4" in out
    assert "finished" in out


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["ls", "FOLDER", "--columns", "tset_error"], "did you mean 'test_error'"),
        (["ls", "FOLDER", "--where", "lr >"], "the query was refused"),
        (["show", "nowhere"], "holds no run"),
        (["diff", "FOLDER", "nowhere"], "does not exist"),
    ],
)
def test_mistakes_are_named(words, says, sweep, capsys):
    assert cli.main([str(sweep) if word == "FOLDER" else word for word in words]) == 2
    assert says in capsys.readouterr().err


def test_show_tells_everything_of_a_run(sweep, capsys):
    out = said(capsys, "show", sweep / CELLS / "0.2-1")
    for part in (
        "unfinished",
        "model mlp",
        "torch",
        "metrics: the last of 3 rows",
        "val_error 0.21",
    ):
        assert part in out


def test_diff_of_two_runs(tmp_path):
    a_run(tmp_path / "a", {"lr": 0.1, "model": "mlp"}, 0.3)
    a_run(tmp_path / "b", {"lr": 0.2, "model": "mlp"}, 0.25, kind="other")
    settings, results = difference(tmp_path / "a", tmp_path / "b")
    assert [row[0] for row in settings.rows] == ["experiment", "lr"]
    assert [row for row in results.rows if row[0] == "val_error"] == [
        ["val_error", "0.3", "0.25", "-0.05", "–", "1"]
    ]
    assert difference(tmp_path / "a", tmp_path / "a")[0].title == "results"


def test_diff_of_two_sweeps_pairs_their_cells(tmp_path):
    errors = np.random.default_rng(0).random((2, 3))
    for model, shift in (("mlp", 0.0), ("cnn", -0.1)):
        for i, lr in enumerate((0.1, 0.2)):
            for seed in range(3):
                config = {"lr": lr, "seed": seed, "model": model}
                a_run(tmp_path / model / f"{lr}-{seed}", config, errors[i, seed] + shift)
    a_run(tmp_path / "cnn" / "more", {"lr": 0.4, "seed": 0, "model": "cnn"}, 9.0)
    settings, results = difference(tmp_path / "mlp", tmp_path / "cnn")
    assert ["model", "mlp", "cnn"] in settings.rows
    (row,) = (row for row in results.rows if row[0] == "val_error")
    assert row[3:] == ["-0.1", "-0.1 to -0.1", "6"]
    one, other = (Results.below([tmp_path / name]) for name in ("mlp", "cnn"))
    assert len(matched(one, other)) == 6


def test_runs_that_cannot_be_paired_are_not(tmp_path):
    for side, names in (("a", "xy"), ("b", "z")):
        for name in names:
            a_run(tmp_path / side / name, {"lr": 0.1}, 0.3)
    assert difference(tmp_path / "a", tmp_path / "b") == []
