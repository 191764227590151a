"""``etalambda sweep`` and ``worker``: mistakes, forecasts, kills, Ctrl-C, and what they tell."""

import signal
import sys
import time

import pytest

from etalambda.lab import cli, records
from etalambda.lab.results import CELLS
from etalambda.lab.sweep.storage import hidden, open_storage
from etalambda.lab.sweep.work import work
from tests.lab.sweep_plans import plan, queue_of
from tests.lab.sweep_workers import KIND, check_log, kill_workers, start


def test_passwords_are_not_told(tmp_path, capsys):
    address = "postgresql+psycopg://me:secret@localhost:1/x"
    assert "secret" not in hidden(address)
    for url in (address, "no address with:secret@ in it"):
        with pytest.raises((ValueError, ModuleNotFoundError)) as caught:
            open_storage(url)
        assert "secret" not in str(caught.value)
    from etalambda.lab.records.environment import command

    sys_argv, sys.argv = sys.argv, ["x/etalambda", "sweep", "--storage", address]
    try:
        assert command() == "etalambda sweep --storage postgresql+psycopg://me:***@localhost:1/x"
    finally:
        sys.argv = sys_argv


@pytest.mark.dist
def test_thirty_of_thirty_after_three_kills(tmp_path):
    out, log = tmp_path / "s", tmp_path / "log"
    words = ["--over", "lr=0.1:1:10", "--seeds", "3", "--sleep", "0.25", "--log", str(log)]
    process = start(out, *words)
    kills = kill_workers(out, process, 3)
    _, said = process.communicate(timeout=120)
    assert (kills, process.returncode) == (3, 0), said
    check_log(log, 30, kills)
    assert len([p for p in (out / CELLS).iterdir() if records.read(p).finished]) == 30


@pytest.mark.dist
def test_ctrl_c_gives_the_units_back_and_the_same_command_goes_on(tmp_path):
    out, log = tmp_path / "s", tmp_path / "log"
    words = ["--over", "lr=0.1,0.2,0.3,0.4", "--sleep", "0.5", "--log", str(log)]
    process = start(out, *words, heartbeat=60, workers=1)
    while not (log.is_file() and log.read_text().count("begin") >= 2):
        time.sleep(0.05)
        assert process.poll() is None, process.communicate()[1]
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "The same command goes on" in said
    process = start(out, *words, heartbeat=60, workers=1)
    assert process.wait(60) == 0  # without waiting two heartbeats for what was given back
    process.stderr.close()
    check_log(log, 4, 1)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["sweep", "nothing"], "unknown experiment 'nothing'"),
        (["sweep", "cell", "--over", "lr=x"], "'x' is no grid"),
        (["sweep", "cell", "--over", "seed=0,1", "--seeds", "2"], "two ways to say one thing"),
        (["sweep", "cell", "--option", "x"], "option must be NAME=VALUE"),
        (["sweep", "cell", "--workers", "0"], "workers must be at least 1"),
        (["sweep", "cell", "--over", "model=mpl"], "did you mean 'mlp'"),
        (["worker"], "name the queue"),
        (["worker", "--storage", "sqlite:///no/where/x.db"], "cannot be used"),
    ],
)
def test_mistakes_are_one_line_and_nothing_runs(words, says, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(words) == 2
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_lists_cells_and_cost_and_writes_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = ["sweep", KIND, "--over", "lr=0.1,0.2", "--seeds", "2"]
    assert cli.main([*words, "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "4 cells" in said
    assert "4 of 4 cells to train; no cell of this size" in " ".join(said.split())
    assert list(tmp_path.iterdir()) == []
    out = tmp_path / "runs" / "sweep-sweep_target"
    out.parent.mkdir()
    work(queue_of(out, plan("lr=0.1")), out)
    assert cli.main([*words, "--dry-run"]) == 0
    assert "3 of 4 cells to train, about" in " ".join(capsys.readouterr().out.split())
    assert cli.main([*words, "--dry-run", "--sampler", "tpe", "--trials", "5"]) == 0
    assert "10 cells" in capsys.readouterr().out
