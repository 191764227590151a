"""Run records: whole or absent, resumable, one writer, nothing lost."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etalambda.lab import records

CONFIG = {"seeds": 2, "lr": 1e-05, "grid": (0.1, 1.0), "model": 'a "name"\n\x7f', "on": True}


def rows(n, start=0.0):
    return {"step": np.arange(n), "error": start + np.arange(n) / 2, "plan": ["x"] * n}


def test_what_is_written_comes_back(tmp_path):
    with records.open_run(tmp_path, CONFIG, kind="map") as run:
        run.add("b", metrics=rows(2, 10), summary={"ok": [True], "nan": [float("nan")]})
        run.add("a", metrics=rows(3))
        unfinished = records.read(tmp_path)
        run.finish()
    for data in (unfinished, records.read(tmp_path)):
        assert data.tables["metrics"]["error"].tolist() == [0, 0.5, 1, 10, 10.5]
        assert data.tables["metrics"]["plan"].tolist() == ["x"] * 5
        assert data.tables["summary"]["ok"].dtype == bool
        assert np.isnan(data.tables["summary"]["nan"]).all()
        assert data.config == CONFIG | {"grid": [0.1, 1.0]}
        assert data.kind == "map"
    assert [unfinished.finished, data.finished] == [False, True]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "config.toml",
        "env.json",
        "metrics.parquet",
        "summary.parquet",
    ]
    assert data.env["packages"]["torch"]
    assert data.env["sessions"][0]["seconds"] >= 0


def test_numbered_parts_merge_in_their_order(tmp_path):
    with records.open_run(tmp_path, {}, kind="x") as run:
        for seed in (10, 9, 1):
            run.add(f"seed={seed}.x", metrics={"seed": [seed]})
        assert records.read(tmp_path).tables["metrics"]["seed"].tolist() == [1, 9, 10]
        run.finish()
    assert records.read(tmp_path).tables["metrics"]["seed"].tolist() == [1, 9, 10]


def test_a_folder_name_with_wildcards_and_quotes(tmp_path):
    folder = tmp_path / "run [1]*'s"
    with records.open_run(folder, CONFIG, kind="x") as run:
        run.add("a", metrics=rows(1))
    assert len(records.read(folder).tables["metrics"]["step"]) == 1


def test_resume_skips_and_finished_stays(tmp_path):
    def interrupted():
        with records.open_run(tmp_path, CONFIG, kind="map") as run:
            run.add("seed=0", metrics=rows(1))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    with records.open_run(tmp_path, CONFIG, kind="map") as run:
        assert run.done == {"seed=0"}
        run.finish()
    before = (tmp_path / "metrics.parquet").read_bytes()
    with records.open_run(tmp_path, CONFIG, kind="map") as run:
        assert run.finished
        assert run.done == {"seed=0"}
        run.finish()
        with pytest.raises(records.RecordError, match="is finished; part 'seed=1'"):
            run.add("seed=1", metrics=rows(1))
    assert (tmp_path / "metrics.parquet").read_bytes() == before
    assert len(records.read(tmp_path).env["sessions"]) == 2


def test_another_config_is_refused_and_named(tmp_path):
    with records.open_run(tmp_path, CONFIG, kind="map") as run:
        run.add("a", metrics=rows(1))
    with (
        pytest.raises(records.ConfigMismatch, match=r"seeds \(2 there, 3 now\).*another --out"),
        records.open_run(tmp_path, CONFIG | {"seeds": 3}, kind="map"),
    ):
        pass
    with (
        pytest.raises(records.ConfigMismatch, match=r"kind \('map' there, 'clock' now\)"),
        records.open_run(tmp_path, CONFIG, kind="clock"),
    ):
        pass
    assert records.read(tmp_path).tables["metrics"]["step"].tolist() == [0]


@pytest.mark.parametrize(
    ("part", "tables", "message"),
    [
        ("../a", {"metrics": {"x": [1]}}, "part '../a' must be made of letters"),
        ("a", {"a/b": {"x": [1]}}, "table 'a/b' must be made of"),
        ("a", {"metrics": {"x": [1], "y": [1, 2]}}, "differ in length"),
        ("a", {"metrics": {"x": [[1]]}}, "one-dimensional"),
        ("a", {"metrics": {}}, "one-dimensional"),
    ],
)
def test_a_bad_part_changes_nothing(tmp_path, part, tables, message):
    with records.open_run(tmp_path, CONFIG, kind="map") as run:
        with pytest.raises(ValueError, match=message):
            run.add(part, **tables)
        assert not run.done
    assert not (tmp_path / "parts").exists()


def test_a_config_that_is_no_toml_names_the_key(tmp_path):
    with (
        pytest.raises(TypeError, match=r"config\['lr'\] is None"),
        records.open_run(tmp_path / "new", {"lr": None}, kind="map"),
    ):
        pass
    assert not (tmp_path / "new").exists()


def test_cut_off_files_are_left_out_and_redone(tmp_path):
    with records.open_run(tmp_path, CONFIG, kind="map") as run:
        run.add("a", metrics=rows(4))
        run.add("b", metrics=rows(4))
    cut = tmp_path / "parts" / "b" / "metrics.parquet"
    cut.write_bytes(cut.read_bytes()[:-20])
    (tmp_path / "parts" / ".tmp-left-over").mkdir()
    (tmp_path / "env.json").write_text("{")
    assert len(records.read(tmp_path).tables["metrics"]["step"]) == 4
    with records.open_run(tmp_path, CONFIG, kind="map") as run:
        assert run.done == {"a"}
        run.add("b", metrics=rows(4))
        run.finish()
    assert len(records.read(tmp_path).tables["metrics"]["step"]) == 8


def test_no_run_and_no_toml_are_named(tmp_path):
    with pytest.raises(records.RecordError, match=r"holds no run: config\.toml is missing"):
        records.read(tmp_path)
    (tmp_path / "config.toml").write_text("kind = ")
    with pytest.raises(records.RecordError, match="not readable as TOML"):
        records.read(tmp_path)


WRITER = """
import sys, time
from etalambda.lab import records
with records.open_run(sys.argv[1], {"seeds": 2}, kind="map") as run:
    for seed in range(10_000):
        run.add(f"seed={seed}", metrics={"seed": [seed], "error": [0.5]})
        print(seed, flush=True)
"""


def start_writer(folder):
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(folder)], stdout=subprocess.PIPE, text=True
    )
    assert writer.stdout.readline() == "0\n"
    return writer


def test_a_second_writer_is_refused_and_a_killed_one_loses_nothing(tmp_path):
    with start_writer(tmp_path) as writer:
        with (
            pytest.raises(records.RunLocked, match=f"process {writer.pid} on"),
            records.open_run(tmp_path, {"seeds": 2}, kind="map"),
        ):
            pass
        assert len(records.read(tmp_path).tables["metrics"]["seed"]) >= 1  # while it writes
        time.sleep(0.2)
        writer.send_signal(signal.SIGKILL)
        said = len(writer.stdout.readlines()) + 1
        writer.wait()
    kept = records.read(tmp_path).tables["metrics"]["seed"]
    assert kept.tolist() == list(range(len(kept)))
    assert len(kept) >= said
    with records.open_run(tmp_path, {"seeds": 2}, kind="map") as run:  # the dead pid's lock
        assert len(run.done) == len(kept)


def test_a_lock_of_another_host_is_respected(tmp_path):
    tmp_path.joinpath(".lock").write_text(json.dumps({"pid": 1, "host": "elsewhere"}))
    with (
        pytest.raises(records.RunLocked, match=r"process 1 on elsewhere.*delete"),
        records.open_run(tmp_path, {}, kind="map"),
    ):
        pass


def test_a_dead_process_cannot_keep_the_lock(tmp_path):
    tmp_path.joinpath(".lock").write_text('{"pid": 999999999}')
    with records.open_run(tmp_path, {}, kind="map"):
        assert json.loads(tmp_path.joinpath(".lock").read_text())["pid"] == os.getpid()
    assert not tmp_path.joinpath(".lock").exists()


FULL = """
import resource, signal, sys
import duckdb, numpy as np
from etalambda.lab import records
with records.open_run(sys.argv[1], {}, kind="map") as run:
    run.add("small", metrics={"x": [1.0]})
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
    try:
        run.add("large", metrics={"x": np.random.rand(100_000)})
    except records.RecordError as error:
        print(error)
"""


def test_a_disk_that_refuses_keeps_what_is_recorded(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path)], capture_output=True, text=True
    )
    assert "all parts recorded before are kept. Free space" in done.stdout, done.stderr
    assert records.read(tmp_path).tables["metrics"]["x"].tolist() == [1.0]
    with records.open_run(tmp_path, {}, kind="map") as run:
        assert run.done == {"small"}


def test_a_path_that_cannot_be_a_folder(tmp_path):
    (tmp_path / "file").write_text("x")
    with (
        pytest.raises(records.RecordError, match="cannot write"),
        records.open_run(tmp_path / "file", {}, kind="map"),
    ):
        pass


text = st.text(st.characters(codec="utf-8"), max_size=8)
number = st.floats(allow_nan=False) | st.integers(-(2**53), 2**53) | st.booleans()
configs = st.dictionaries(text, text | number | st.lists(number, max_size=3), max_size=4)


@settings(max_examples=30, deadline=None)
@given(config=configs, error=st.lists(st.floats(), min_size=1, max_size=5))
def test_any_config_and_any_floats_survive(tmp_path_factory, config, error):
    folder = tmp_path_factory.mktemp("fuzz")
    with records.open_run(folder, config, kind="map") as run:
        run.add("a", metrics={"error": error})
    with records.open_run(folder, config, kind="map") as run:
        run.finish()
    data = records.read(folder)
    assert data.config == config
    np.testing.assert_array_equal(data.tables["metrics"]["error"], error)


def test_ctrl_c_waits_until_a_write_is_whole():
    import signal

    from etalambda.lab.records.interrupts import uninterrupted

    steps = []

    @uninterrupted()
    def write():
        signal.raise_signal(signal.SIGINT)
        steps.append("written")

    # A test run in the background may have been started with SIGINT ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            write()
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
    assert steps == ["written"]
