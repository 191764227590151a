"""What may go wrong around a run loses nothing that was recorded, and harms nothing else."""

import errno
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from etalambda.lab import records
from etalambda.lab.records import environment, files
from etalambda.lab.report.page import write_page
from etalambda.lab.results import CELLS, Results
from etalambda.lab.sweep import Plan, parse_axis
from etalambda.lab.sweep.queue import Queue
from etalambda.lab.sweep.space import cell_name, mark_of
from etalambda.lab.sweep.storage import sqlite_url, storage_of
from etalambda.lab.sweep.work import work
from tests.lab.sweep_target import Config

KIND = "tests.lab.sweep_target"


def recorded(folder):
    return records.read(folder).tables["metrics"]["x"].tolist()


# What can happen to a run between two parts, by name.
ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.integers(0, 5)),
        st.just(("leave", 0)),  # Ctrl-C, an exception
        st.just(("litter", 0)),  # a kill in the middle of a part
        st.just(("clock", 0)),  # the clock jumps back a year
        st.just(("read", 0)),
        st.just(("finish", 0)),
    ),
    max_size=12,
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(actions=ACTIONS, values=st.lists(st.floats(), min_size=6, max_size=6))
def test_whatever_happens_recorded_parts_stay(tmp_path_factory, monkeypatch, actions, values):
    folder, config = tmp_path_factory.mktemp("fuzz"), {"a": 1}
    known, finished = {}, False
    opened = records.open_run(folder, config, kind="toy")
    run = opened.__enter__()
    for what, i in actions:
        if what == "add" and i not in known:
            if finished:
                with pytest.raises(records.RecordError, match="is finished"):
                    run.add(f"p={i}", metrics={"x": [values[i]]})
                continue
            run.add(f"p={i}", metrics={"x": [values[i]]})
            known[i] = values[i]
        elif what == "leave":
            opened.__exit__(None, None, None)
            opened = records.open_run(folder, config, kind="toy")
            run = opened.__enter__()
        elif what == "litter" and not finished:
            litter = folder / "parts" / ".tmp-killed"
            litter.mkdir(parents=True, exist_ok=True)
            (litter / "metrics.parquet").write_bytes(b"PAR1 half")
        elif what == "clock":
            monkeypatch.setattr(environment, "now", lambda: "2001-01-01T00:00:00+00:00")
        elif what == "finish":
            run.finish()
            finished = True
        if known:
            np.testing.assert_array_equal(recorded(folder), [known[i] for i in sorted(known)])
            assert run.done == {f"p={i}" for i in known}
    opened.__exit__(None, None, None)
    assert all(s["seconds"] >= 0 for s in records.read(folder).env["sessions"])


def test_a_run_that_another_host_took_over_is_not_emptied_by_its_first_owner(tmp_path):
    """A laptop that slept: its cell was given away, finished there, and now it wakes up."""
    with records.open_run(tmp_path, {}, kind="toy") as first:
        first.add("a", metrics={"x": [1.0]})
        lock = tmp_path / ".lock"
        lock.unlink()
        lock.write_text('{"pid": 1, "host": "elsewhere"}')
        with pytest.raises(records.RunLocked), records.open_run(tmp_path, {}, kind="toy"):
            pass
        with records.open_run(tmp_path, {}, kind="toy", take_over=True) as second:
            second.add("b", metrics={"x": [2.0]})
            second.finish()
        first.finish()
    assert recorded(tmp_path) == [1.0, 2.0]
    assert records.read(tmp_path).finished


def refusing(number, name):
    """A function of os that this disk refuses."""

    def refuse(*args, **kwargs):
        raise OSError(number, os.strerror(number))

    return name, refuse


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EDQUOT])
@pytest.mark.parametrize("name", ["replace", "fsync"])
def test_a_disk_that_refuses_is_named_and_keeps_the_parts(tmp_path, monkeypatch, number, name):
    """Full, read-only, without rights, over quota; as root no rights bind, so os itself refuses."""
    with records.open_run(tmp_path, {}, kind="toy") as run:
        run.add("a", metrics={"x": [1.0]})
        with monkeypatch.context() as patch:
            patch.setattr(files.os, *refusing(number, name))
            with pytest.raises(records.RecordError, match=os.strerror(number)):
                run.add("b", metrics={"x": [2.0]}) if name == "replace" else run.finish()
        assert recorded(tmp_path) == [1.0]
        run.add("b", metrics={"x": [2.0]})
        run.finish()
    assert recorded(tmp_path) == [1.0, 2.0]


def test_a_folder_that_cannot_be_made_is_named_before_anything_runs(tmp_path, monkeypatch):
    monkeypatch.setattr(Path, "mkdir", refusing(errno.EROFS, "")[1])
    with (
        pytest.raises(records.RecordError, match="Read-only file system"),
        records.open_run(tmp_path / "x", {}, kind="toy"),
    ):
        pass


def test_a_page_on_a_full_disk_leaves_the_old_one(tmp_path, monkeypatch):
    page = write_page(tmp_path / "r.html", "old")
    monkeypatch.setattr(Path, "replace", refusing(errno.ENOSPC, "")[1])
    with pytest.raises(OSError, match="No space"):
        write_page(page, "new")
    assert page.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["r.html"]


def test_links_in_place_of_our_files_harm_nothing(tmp_path):
    """In a folder that others may write: our names lead to a file of ours elsewhere."""
    precious = tmp_path / "precious"
    precious.write_text("mine")
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / ".lock").symlink_to(precious)
    with (
        pytest.raises(records.RecordError, match=r"cannot write .*\.lock"),
        records.open_run(folder, {}, kind="toy"),
    ):
        pass
    (folder / ".lock").unlink()
    for name in (f".config.toml.{os.getpid()}.tmp", f".env.json.{os.getpid()}.tmp"):
        (folder / name).symlink_to(precious)
    (folder / "env.json").symlink_to(precious)
    with records.open_run(folder, {}, kind="toy") as run:
        run.add("a", metrics={"x": [1.0]})
        run.finish()
    (folder / ".report.html.tmp").symlink_to(precious)
    write_page(folder / "report.html", "page")
    assert precious.read_text() == "mine"
    assert recorded(folder) == [1.0]


def test_a_runs_folder_on_another_disk_may_be_a_link(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "runs").symlink_to(tmp_path / "disk")
    with records.open_run(tmp_path / "runs" / "a", {}, kind="toy") as run:
        run.add("a", metrics={"x": [1.0]})
        run.finish()
    assert recorded(tmp_path / "disk" / "a") == [1.0]
    assert len(Results.below([tmp_path / "runs"]).lines) == 1


def test_eight_writers_of_one_run_leave_one_whole_run(tmp_path):
    """Threads stand for processes: each part appears once and whole, whoever wrote it."""
    ready = threading.Barrier(8)

    def write(i):
        ready.wait()
        try:
            with records.open_run(tmp_path, {}, kind="toy") as run:
                for part in range(3):
                    if f"p={part}" not in run.done:
                        run.add(f"p={part}", metrics={"x": [float(part)]})
                run.finish()
            return 1
        except records.RunLocked:
            return 0

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(write, range(8))) >= 1
    assert recorded(tmp_path) == [0.0, 1.0, 2.0]


def test_two_sweeps_that_fill_one_queue_at_once_train_each_cell_once(tmp_path):
    log = tmp_path / "log"
    base = Config(log=str(log))
    plan = Plan(KIND, base, (parse_axis("lr=0.1:1:5", base),))
    with storage_of(sqlite_url(tmp_path)) as storage:
        queue = Queue.create(storage, "both", plan)
        for unit in [*plan.units(), *plan.units()]:  # what both saw missing
            queue._add(unit)
        work(queue, tmp_path)
        assert queue.counts().over
    assert log.read_text().count("begin") == 5
    assert len(list((tmp_path / CELLS).iterdir())) == 5


@settings(max_examples=200)
@given(text=st.text(max_size=30))
def test_no_text_crashes_the_parser(text):
    try:
        axis = parse_axis(text, Config())
    except ValueError:
        return
    assert axis.values


@settings(max_examples=200)
@given(name=st.text(max_size=40), lr=st.floats(1e-9, 1e9), seed=st.integers(0, 10**9))
def test_every_cell_has_a_name_of_its_own_inside_its_folder(name, lr, seed):
    values = dict(name=name, lr=lr, seed=seed)
    config = replace(Config(), **values)
    made = cell_name(KIND, config, values)
    place = (Path("/runs/cells") / made).resolve()
    assert place.parent == Path("/runs/cells")
    assert len(made.encode()) < 200
    assert mark_of(made) != mark_of(cell_name(KIND, replace(config, seed=seed + 1), values))
    assert mark_of(made) == mark_of(cell_name(KIND, config, {}))


TMPFS = """
set -e
mount -t tmpfs -o size=600k tmpfs "$1"
cd "$1"
"$2" - <<'PY'
import numpy as np
from etalambda.lab import records
kept = 0
with records.open_run("run", {}, kind="toy") as run:
    try:
        for i in range(100):
            run.add(f"p={i}", metrics={"x": np.random.rand(10_000)})
            kept += 1
    except records.RecordError as error:
        print("REFUSED", error)
found = records.read("run")
assert 0 < kept < 100
assert len(found.tables["metrics"]["x"]) == 10_000 * kept, kept
print("KEPT", kept)
PY
"""


def test_a_disk_that_is_really_full(tmp_path):
    """A tmpfs of 600 kB in a mount namespace of its own."""
    words = ["unshare", "--mount", "bash", "-c", TMPFS, "x", str(tmp_path), sys.executable]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=120)
    except FileNotFoundError:
        pytest.skip("unshare is not installed")
    if "mount:" in done.stderr or "unshare failed" in done.stderr:
        pytest.skip(f"no mount is allowed here: {done.stderr.splitlines()[0]}")
    assert "REFUSED cannot write" in done.stdout, done.stderr
    assert "No space left on device" in done.stdout
    assert "KEPT" in done.stdout
