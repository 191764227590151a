"""The command line: help without torch, errors in one line, and runs that go on after a stop."""

import signal
import subprocess
import sys
import time
import tomllib
from dataclasses import asdict, fields
from types import ModuleType

import numpy as np
import pytest

from etalambda.lab import cli
from etalambda.lab.commands.experiments import at_best_lr
from etalambda.lab.commands.words import COMMANDS, CONFIGS, words_of
from etalambda.lab.configs import ClockConfig, CompareConfig, MapConfig, parse_grid
from etalambda.lab.records import open_run, read
from tests.lab import synthetic


def in_folder(code: str) -> set[str]:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split("MODULES")[1].split())


@pytest.mark.parametrize(
    "words", [["--help"], ["map", "--help"], ["clock", "--help"], ["demo", "-h"]]
)
def test_help_needs_no_torch(words):
    code = (
        "import sys\nfrom etalambda.lab import cli\n"
        f"try: cli.main({words})\nexcept SystemExit: pass\nprint('MODULES', *sys.modules)"
    )
    assert not {"torch", "numpy", "matplotlib", "rich", "duckdb"} & in_folder(code)


def test_the_package_is_the_command():
    done = subprocess.run(
        [sys.executable, "-m", "etalambda", "--help"], capture_output=True, text=True, check=True
    )
    assert done.stdout == cli.help_text() + "\n"


def test_every_command_is_there_and_explains_itself(capsys):
    for name, command in cli.COMMANDS.items():
        assert f"  {name} " in cli.help_text()
        assert command.summary in cli.help_text()
        assert cli.load(name).__doc__
        with pytest.raises(SystemExit) as stop:
            cli.main([name, "--help"])
        assert stop.value.code == 0
        assert f"usage: etalambda {name}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["mpa"], "unknown command 'mpa'; did you mean 'map'? Known: "),
        (["map", "digitz"], "unknown task 'digitz'; did you mean 'digits'? Known: digits"),
        (["clock", "--optimizer", "adamz"], "unknown optimizer 'adamz'; did you mean 'adam"),
        (["clock", "--p", "2"], "p must lie between 5 and 97, got 2"),
        (["clock", "--lr", "nan"], "lr must be a finite number above 0, got nan"),
        (["clock", "--steps", "0"], "steps must be at least 1, got 0"),
        (["clock", "--picture", "a.bmp"], "--picture must end in .svg, .png, .pdf, got a.bmp"),
        (["map", "--lengths", "10", "0"], "lengths[1] must be at least 1, got 0"),
        (["map", "--weight-decays=-1,0"], "weight_decays[0] must be a finite number of at least 0"),
        (["compare", "--label-noise", "1"], "label_noise must lie in [0, 1), got 1.0"),
        (["clock", "--device", "warp:9"], "device 'warp:9' cannot be used"),
        (["report", "nowhere"], "nowhere does not exist; train one first"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(words, says, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(words) == 2
    out, err = capsys.readouterr()
    assert says in err
    assert err.startswith("etalambda: ")
    assert err.count("\n") == 1
    assert out == ""
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_flag_names_the_nearest(capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(["clock", "--seds", "3"])
    assert stop.value.code == 2
    assert "--seeds" in capsys.readouterr().err


def test_debug_shows_the_traceback(monkeypatch):
    monkeypatch.setenv("ETALAMBDA_DEBUG", "1")
    with pytest.raises(ValueError, match="unknown command"):
        cli.main(["mpa"])


@pytest.mark.parametrize(("text", "says"), [("0:1:3", "low must be"), ("a", "is no grid")])
def test_grids_that_are_none(text, says):
    with pytest.raises(ValueError, match=says):
        parse_grid(text)


@pytest.mark.parametrize("kind", CONFIGS)
def test_the_words_of_a_config_are_its_command(kind):
    """What the page prints, typed again, asks for the same run."""
    import shlex

    import tyro

    odd = {
        "lr": 0.02,
        "seeds": 2,
        "lrs": (0.1, 0.3),
        "lengths": (5, 9),
        "weight_decays": (0.0, 1.0),
    }
    known = {f.name for f in fields(CONFIGS[kind])}
    config = CONFIGS[kind](**{key: value for key, value in odd.items() if key in known})
    words = shlex.split(words_of(kind, asdict(config)))[1 + len(COMMANDS.get(kind, (kind,))) :]
    assert tyro.cli(CONFIGS[kind], args=words) == config


class Stopping:
    """An experiment of three parts that Ctrl-C stops before the third, the first time."""

    calls = 0

    @classmethod
    def run(cls, config, run, progress):
        cls.calls += 1
        tables = synthetic.clock(seeds=3).tables
        for seed in range(3):
            if f"seed={seed}" in run.done:
                continue
            if seed == 2 and cls.calls == 1:
                raise KeyboardInterrupt
            mine = {
                name: {key: column[table["seed"] == seed] for key, column in table.items()}
                for name, table in tables.items()
                if "seed" in table
            }
            run.add(f"seed={seed}", **mine)
            progress(seed + 1, 3, f"seed {seed}")
        run.add("fit", fit=tables["fit"])
        run.finish()


@pytest.fixture
def stopping(monkeypatch):
    module = ModuleType("etalambda.lab.experiments.clock")
    monkeypatch.setattr(Stopping, "calls", 0)
    module.__dict__["run"] = Stopping.run
    monkeypatch.setitem(sys.modules, module.__name__, module)


def test_stopped_run_says_what_is_kept_and_goes_on(stopping, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = ["clock", "--seeds", "3", "--picture", "picture.svg"]
    assert cli.main(words) == 130
    said = capsys.readouterr().err
    assert "2 finished parts are kept in runs/clock" in said
    assert "etalambda clock --seeds 3 --out runs/clock" in said

    assert cli.main(words) == 0
    out = capsys.readouterr().out
    assert "3 plans reach 95 %" in out
    assert "constant 0.8" in out
    assert (tmp_path / "picture.svg").read_text().startswith("<?xml")
    assert "constant 0.8" in (tmp_path / "runs/clock/report.html").read_text()

    assert cli.main(words) == 0
    assert Stopping.calls == 2, "a finished run was trained again"
    assert cli.main(["clock", "--seeds", "4"]) == 2
    assert "seeds (3 there, 4 now)" in capsys.readouterr().err

    assert cli.main(["ls"]) == 0
    assert "etalambda clock --seeds 3" in capsys.readouterr().out
    assert cli.main(["report"]) == 0
    assert "1 run on one page" in capsys.readouterr().out
    assert tomllib.loads((tmp_path / "runs/clock/config.toml").read_text())["kind"] == "clock"


def test_compare_takes_the_lr_of_the_same_map(tmp_path):
    asked = CompareConfig()
    assert at_best_lr(asked, tmp_path / "none") == asked
    made = synthetic.map_digits()
    config = asdict(MapConfig(epochs=asked.epochs, batch_size=asked.batch_size))
    with open_run(tmp_path / "map", config, kind="map") as run:
        run.add("all", **made.tables)
        assert at_best_lr(asked, tmp_path / "map") == asked, "an unfinished map decides nothing"
        run.finish()
    assert at_best_lr(asked, tmp_path / "map").lr == pytest.approx(0.1)
    assert at_best_lr(CompareConfig(lr=0.7), tmp_path / "map").lr == 0.7
    other = CompareConfig(epochs=asked.epochs + 1)
    assert at_best_lr(other, tmp_path / "map") == other


def test_configs_are_what_records_keep():
    for config in (ClockConfig(), MapConfig(), CompareConfig()):
        for value in asdict(config).values():
            assert isinstance(value, str | int | float | tuple)
    assert np.all(np.diff(MapConfig().lrs) > 0)


def test_ctrl_c_in_a_real_run_keeps_the_parts_and_the_command_goes_on(tmp_path):
    """The signal itself, sent while networks train in worker threads."""
    size = ["--p", "5", "--width", "4", "--steps", "300", "--every", "100", "--seeds", "40"]
    process = subprocess.Popen(
        [sys.executable, "-m", "etalambda.lab.cli", "clock", *size],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    folder = tmp_path / "runs" / "clock"
    while process.poll() is None and not list(folder.glob("parts/plans*")):
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 130, said
    assert "finished parts are kept in runs/clock" in said
    assert "Traceback" not in said
    kept = read(folder)
    assert not kept.finished
    assert len(kept.tables["summary"]["plan"]) >= 1


@pytest.mark.parametrize("missing", ["duckdb", "rich.table", "matplotlib"])
def test_a_missing_extra_is_named(missing, tmp_path, monkeypatch, capsys):
    made = synthetic.clock(seeds=1)
    with open_run(tmp_path / "runs" / "clock", made.config, kind="clock") as run:
        run.add("all", **made.tables)
        run.finish()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, missing, None)
    words = {"duckdb": ["show", "runs/clock"], "matplotlib": ["report"]}
    assert cli.main(words.get(missing, ["ls"])) == 2
    assert "pip install 'etalambda[lab]'" in capsys.readouterr().err


def test_progress_is_a_plain_line_now_and_then_where_nobody_watches(capsys, monkeypatch):
    from etalambda.lab import console

    clock = iter([0.0, 1.0, console.QUIET_SECONDS + 1, console.QUIET_SECONDS + 2])
    monkeypatch.setattr(console.time, "monotonic", lambda: next(clock))
    with console.progress_bar("map") as progress:
        for done in (1, 2, 3):
            progress(done, 4, "map: 4 cells")
    assert capsys.readouterr().err == "map: 4 cells: 50 % after 11 s, about 11 s left\n"


def test_names_of_a_run_are_no_markup_of_the_terminal(capsys):
    from etalambda.lab.console import print_findings, print_table
    from etalambda.lab.report.tables import Table

    print_table(Table("[b]t[/b]", ("[i]n[/i]", "n"), [["[bold]x[/bold]", "1"]]))
    print_findings(["[red]y[/red]"])
    out = capsys.readouterr().out
    assert all(text in out for text in ("[b]t[/b]", "[i]n[/i]", "[bold]x[/bold]"))
    assert "[red]y[/red]" in out
