"""The experiments on landscapes, small: tables, resuming after a kill, and what must hold."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict

import numpy as np
import pytest

from etalambda.lab.experiments import complexity_descent, convex_continuation, saddle_index
from etalambda.lab.experiments.measured_constants import field_of, measure
from etalambda.lab.experiments.ways_down import WAYS
from etalambda.lab.records import ConfigMismatch, open_run, read
from etalambda.theory.random_field import RandomFourierField
from etalambda.theory.spin_glass import SphericalSpinGlass

DESCENT = complexity_descent.ComplexityDescentConfig(
    seeds=2, steps=30, polish=10, spins=12, dimensions=6, samples=20
)
CONTINUATION = convex_continuation.ConvexContinuationConfig(seeds=2, dimensions=6, stages=3)
SADDLES = saddle_index.SaddleIndexConfig(sizes=(8, 14), budget=42, starts=8, steps=40)
ALL = {
    "complexity_descent": (complexity_descent, DESCENT),
    "convex_continuation": (convex_continuation, CONTINUATION),
    "saddle_index": (saddle_index, SADDLES),
}


def made(folder, kind, progress=lambda done, total, text: None):
    experiment, config = ALL[kind]
    with open_run(folder, asdict(config), kind=kind) as run:
        experiment.run(config, run, progress)
    return read(folder)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return {kind: made(tmp_path_factory.mktemp(kind), kind) for kind in ALL}


def test_descents_start_together_and_are_compared_by_seed(runs):
    ends, summary = (runs["complexity_descent"].tables[name] for name in ("ends", "summary"))
    assert len(ends["way"]) == 2 * 2 * len(WAYS)
    for case in set(ends["case"]):
        energy = {
            way.name: ends["energy"][(ends["case"] == case) & (ends["way"] == way.name)]
            for way in WAYS
        }
        row = (summary["case"] == case) & (summary["way"] == "raw complexity descent")
        gap = energy["raw complexity descent"] - energy["plain, two steps a step"]
        assert summary["difference"][row][0] == pytest.approx(gap.mean())
        plain = (summary["case"] == case) & (summary["way"] == "plain")
        assert summary["difference"][plain][0] == 0
        assert (summary["n"] == 2).all()
        # Two gradients a step go farther than one from the same start.
        assert (energy["plain, two steps a step"] < energy["plain"]).all()
    assert np.isfinite(ends["energy"]).all()
    sphere = np.array([case.startswith("3-spin") for case in ends["case"]])
    np.testing.assert_allclose(ends["norm2"][sphere], 1)


def test_only_the_ways_that_use_constants_run_twice(runs):
    summary = runs["complexity_descent"].tables["summary"]
    twice = np.isfinite(summary["to_known"])
    names = {way.name for way in WAYS if way.measured}
    assert len(names) == 4
    assert set(summary["way"][twice]) == names
    assert {name.removesuffix(", measured") for name in names} <= set(summary["way"])


@pytest.mark.parametrize(
    "landscape",
    [SphericalSpinGlass({3: 1.0}, 60, seed=1), RandomFourierField(30, seed=1)],
    ids=["sphere", "flat"],
)
def test_measured_constants_are_the_known_ones(landscape):
    """One draw, 300 points: f₁ and f₂ within 10 %, ε_c too; f₀ stays admissible."""
    known = landscape.field
    found = field_of(landscape, measure(landscape, 300, seed=0))
    assert found.geometry == known.geometry
    assert found.Q > 0
    assert found.f1 == pytest.approx(known.f1, rel=0.1)
    assert found.f2 == pytest.approx(known.f2, rel=0.1)
    assert found.f0 == pytest.approx(known.f0, rel=0.25)
    assert found.critical_energy == pytest.approx(known.critical_energy, rel=0.1)


def test_continuation_pays_for_its_restarts(runs):
    ends, summary = (runs["convex_continuation"].tables[name] for name in ("ends", "summary"))
    ours = lambda way, name: ends[name][ends["way"] == way]
    best = ours(convex_continuation.RESTARTS, "energy")
    assert (best <= ours("direct", "energy")).all()
    linear = ours("continuation, linear", "calls")
    assert (ours(convex_continuation.RESTARTS, "calls") >= linear).all()
    same = summary["way"] == summary["control"]
    assert same.sum() == 2
    assert (summary["difference"][same] == 0).all()


def test_saddles_have_the_index_of_the_sphere(runs):
    summary, fit = (runs["saddle_index"].tables[name] for name in ("summary", "fit"))
    assert summary["size"].tolist() == [8, 14]
    assert summary["draws"].tolist() == [5, 3]
    assert (summary["low"] <= summary["rms"]).all()
    assert (summary["rms"] <= summary["high"]).all()
    assert summary["rms"][1] < summary["rms"][0] < 0.2
    assert fit["of"].tolist() == ["exponent", "log_slope"]
    assert fit["low"][0] <= fit["value"][0] <= fit["high"][0] < 0


def test_the_fitted_exponent_of_a_perfect_law():
    sizes = np.repeat([10, 20, 40], 60)
    error = np.random.default_rng(0).choice([-1.0, 1.0], 180) / sizes
    zero = np.zeros(180)
    points = dict(size=sizes, seed=np.tile(np.arange(60) // 10, 3), energy=zero - 1)
    points |= dict(mean_eigenvalue=zero + 3, index=error, theory=zero, printed=zero + 1)
    rows, (exponent, log_slope) = saddle_index.summary(points)
    assert exponent["value"] == pytest.approx(-1)
    assert log_slope["value"] == pytest.approx(0, abs=1e-12)
    assert [row["slope"] for row in rows] == pytest.approx([-3] * 3)


@pytest.mark.parametrize("kind", ALL)
def test_interrupted_runs_go_on_to_the_same_result(tmp_path, kind, runs):
    class Enough(KeyboardInterrupt):
        pass

    def until_half(done, total, text):
        if done >= total / 2:
            raise Enough

    with pytest.raises(Enough):
        made(tmp_path, kind, until_half)
    assert not read(tmp_path).finished
    again = made(tmp_path, kind)
    assert again.finished
    for name, table in runs[kind].tables.items():
        for column, values in table.items():
            np.testing.assert_array_equal(again.tables[name][column], values)


def test_a_killed_process_goes_on(tmp_path):
    """SIGKILL while parts are written: what was whole is kept, and the next try ends the run."""
    words = ["--seeds", "40", "--dimensions", "6", "--stages", "3", "--out", str(tmp_path / "run")]
    command = [sys.executable, "-m", "etalambda.lab.experiments.convex_continuation", *words]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    parts = tmp_path / "run" / "parts"
    deadline = time.monotonic() + 60
    while len(list(parts.glob("seed=*"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    kept = {path.name: path.stat().st_mtime_ns for path in parts.glob("seed=*")}
    assert 2 <= len(kept) < 40
    config = convex_continuation.ConvexContinuationConfig(seeds=40, dimensions=6, stages=3)
    seen = []
    with open_run(tmp_path / "run", asdict(config), kind="convex_continuation") as run:
        assert run.done == set(kept)
        convex_continuation.run(config, run, lambda done, total, text: seen.append(done))
    assert seen[0] == len(kept)  # the bar starts where the first try was killed
    assert len(set(read(tmp_path / "run").tables["ends"]["seed"])) == 40


def test_the_module_runs_prints_and_writes_json(tmp_path, capsys):
    out, file = tmp_path / "run", tmp_path / "deep" / "seen.json"
    saddle_index.main(SADDLES, out, json_file=file)
    assert "theory -1" in capsys.readouterr().out
    found = json.loads(file.read_text())
    assert found["config"]["sizes"] == [8, 14]
    assert len(found["points"]["index"]) == len(read(out).tables["points"]["index"])
    before = file.read_text()
    saddle_index.main(SADDLES, out, json_file=file)  # finished: nothing is searched again
    assert file.read_text() == before
    other = saddle_index.SaddleIndexConfig(sizes=(8, 14), budget=42, starts=4, steps=40)
    with pytest.raises(ConfigMismatch, match="starts"):
        saddle_index.main(other, out)


def test_words_and_missing_numbers_in_json(tmp_path, runs):
    run = runs["complexity_descent"]
    complexity_descent.carry_out(
        "complexity_descent",
        complexity_descent.run,
        DESCENT,
        tmp_path / "run",
        tables=complexity_descent.tables,
        json_file=tmp_path / "seen.json",
    )
    found = json.loads((tmp_path / "seen.json").read_text())
    words = found["ends"]["way"]
    assert [words["words"][i] for i in words["among"]] == run.tables["ends"]["way"].tolist()
    assert None in found["summary"]["to_known"]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: complexity_descent.ComplexityDescentConfig(seeds=1), "seeds must be at least 2"),
        (lambda: complexity_descent.ComplexityDescentConfig(only="flatt"), "got 'flatt'; try flat"),
        (lambda: complexity_descent.ComplexityDescentConfig(l2_scale=0.0), "l2_scale must be"),
        (lambda: complexity_descent.ComplexityDescentConfig(samples=0), "samples must be"),
        (lambda: convex_continuation.ConvexContinuationConfig(seeds=1), "seeds must be at least 2"),
        (lambda: convex_continuation.ConvexContinuationConfig(stages=0), "stages must be"),
        (lambda: saddle_index.SaddleIndexConfig(starts=6), "multiple of 4, got 6"),
        (lambda: saddle_index.SaddleIndexConfig(sizes=(20,)), "sizes must hold two"),
        (lambda: saddle_index.SaddleIndexConfig(budget=100), "budget must be at least twice"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
