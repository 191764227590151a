"""Stopped anywhere and started again, a run ends with the weights and rows it would have had."""

import random
import signal
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch

from etalambda.lab.records import open_run, read
from etalambda.lab.train import TrainConfig, fit, run
from etalambda.lab.train.checkpoint import CheckpointError
from etalambda.lab.train.loop import Keep
from tests.lab import _train_command
from tests.lab.stopping import Stop, stopped_at

TIMES = {"seconds", "cpu_seconds", "memory"}  # of the summary: what a run cost is no result of it
BASE = dict(steps=11, monitor_every=2, evaluate_every=1, evaluate_size=60, batch_size=100, lr=0.02)
TEXT = dict(task="text", context=16, batch_size=8, evaluate_size=400)
RECIPES = {
    "sgd": {},
    "batch norm": dict(model="cnn", channels_last=True),
    "batch statistics": dict(model="cnn", test_with_batch_statistics=True, init="ntk"),
    "augmented": dict(model="cnn", augment="crop-flip", cutout=3, mixup=0.4),
    "scale invariant": dict(model="cnn", scale_invariant=True, momentum=0, decay="all"),
    "accumulated": dict(model="cnn", accumulate=3, clip=1.0),
    "adams": dict(optimizer="adams", weight_decay_schedule="matched-annealing"),
    "amsgrads": dict(optimizer="amsgrads", lr_schedule="cosine", warmup=0.2),
    "adamw tied": dict(optimizer="adamw", lr_schedule="linear", weight_decay_schedule="matched"),
    "sgds": dict(optimizer="sgds", lr_schedule="step", weight_decay_schedule="cosine"),
    "sgdw": dict(optimizer="sgdw", weight_decay_schedule="autol2", weight_decay=0.1),
    "adais": dict(optimizer="adais"),
    "muon": dict(optimizer="muon", lr_schedule="trapezoid", weight_decay_schedule="palm"),
    "sphere": dict(sphere="tensor", weight_decay_schedule="linear"),
    "two steps": dict(two_step="relative", weight_decay_schedule="linear", weight_decay=0.1),
    "ema": dict(ema=0.9, model="cnn"),
    "swa": dict(swa=0.3, model="cnn"),
    "bf16": dict(amp="bf16", optimizer="adamw"),
    "fp16": dict(amp="fp16", optimizer="sgds", clip=1.0, lr_schedule="cosine"),
    "ntk": dict(ntk_parametrization=True, loss="mse", halved_by_classes=True),
    "gpt": dict(model="gpt", width=32, optimizer="adamw", qk_norm=True, **TEXT),
    "lstm": dict(model="lstm", width=16, dropout=0.5, optimizer="adam", **TEXT),
}


def assert_equal_runs(ours, theirs):
    ours_rows, theirs_rows = ours.metrics, theirs.metrics
    for name, column in theirs_rows.items():
        np.testing.assert_array_equal(ours_rows[name], column, err_msg=name)
    for name, column in theirs.summary.items():
        if name not in TIMES:
            np.testing.assert_array_equal(ours.summary[name], column, err_msg=name)
    expected = theirs.model.state_dict()
    for name, tensor in ours.model.state_dict().items():
        assert torch.equal(tensor, expected[name]), name


@pytest.mark.parametrize("recipe", RECIPES)
def test_two_stops_change_no_bit(recipe, tmp_path):
    config = TrainConfig(**BASE | RECIPES[recipe])
    straight = fit(config)
    keep = Keep(tmp_path / "checkpoint.pt", steps=3)
    for step in (5, 10):  # the second one goes on from a checkpoint of the first
        with pytest.raises(Stop):
            fit(config, keep=keep, progress=stopped_at(step))
    torch.manual_seed(123)  # what others draw meanwhile does not matter
    assert_equal_runs(fit(config, keep=keep), straight)


def test_a_record_is_cut_back_to_the_checkpoint(tmp_path):
    """Rows that a killed try recorded beyond its last checkpoint are not counted twice."""
    config = TrainConfig(**BASE)
    straight = fit(config)
    folder = tmp_path / "run"
    for step in (4, 8, None):
        with open_run(folder, asdict(config), kind="train") as record:
            if step is None:
                run(config, record, lambda *_: None, every_steps=3)
            else:
                with pytest.raises(Stop):
                    run(config, record, stopped_at(step), every_steps=3)
                record.add("rows=99-99", metrics={k: v[-1:] for k, v in straight.metrics.items()})
    found = read(folder)
    for name, column in straight.metrics.items():
        np.testing.assert_array_equal(found.tables["metrics"][name], column, err_msg=name)


def test_a_checkpoint_of_other_flags_is_refused_by_name(tmp_path):
    keep = Keep(tmp_path / "checkpoint.pt", steps=3)
    with pytest.raises(Stop):
        fit(TrainConfig(**BASE), keep=keep, progress=stopped_at(5))
    other = TrainConfig(**BASE | dict(weight_decay=0.1, seed=3))
    with pytest.raises(CheckpointError, match=r"weight_decay \(0.0005 there, 0.1 now\), seed"):
        fit(other, keep=keep)


@pytest.mark.parametrize("damage", [b"", b"no checkpoint at all", None])
def test_a_damaged_checkpoint_is_named(damage, tmp_path):
    path = tmp_path / "checkpoint.pt"
    with pytest.raises(Stop):
        fit(TrainConfig(**BASE), keep=Keep(path, steps=3), progress=stopped_at(5))
    path.write_bytes(path.read_bytes()[:-100] if damage is None else damage)
    with pytest.raises(CheckpointError, match=r"checkpoint.pt is damaged.*delete it"):
        fit(TrainConfig(**BASE), keep=Keep(path))


def test_a_checkpoint_holds_no_pickled_code(tmp_path):
    path = tmp_path / "checkpoint.pt"
    fit(TrainConfig(**BASE | RECIPES["muon"]), keep=Keep(path, steps=3))
    content = torch.load(path, weights_only=True)
    assert content["run"]["step"] == 11
    assert content["config"]["optimizer"] == "muon"


def test_a_full_disk_keeps_the_checkpoint_before(tmp_path, monkeypatch):
    path = tmp_path / "checkpoint.pt"
    with pytest.raises(Stop):
        fit(TrainConfig(**BASE), keep=Keep(path, steps=3), progress=stopped_at(5))
    before = path.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("torch.save", full)
    with pytest.raises(CheckpointError, match=r"No space left.*checkpoint before is kept"):
        fit(TrainConfig(**BASE), keep=Keep(path, steps=3))
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint.pt"]


# The real thing: processes of the command, killed with -9.

RECIPE = [
    "train", "--model", "cnn", "--batch-size", "50", "--optimizer", "adams", "--lr", "3e-3",
    "--lr-schedule", "cosine", "--augment", "crop-flip", "--weight-decay-schedule",
    "matched-annealing", "--monitor-every", "5", "--ema", "0.9",
]  # fmt: skip


def started(folder, *flags):
    return _train_command.started([*RECIPE, *flags, "--out", str(folder)])


def ended(process):
    process.join()
    return process.exitcode


def outcome(folder: Path) -> tuple[dict, dict]:
    """The final weights and all recorded columns but the times."""
    weights = torch.load(folder / "weights.pt", weights_only=True)
    tables = read(folder).tables
    columns = {
        f"{table}.{name}": column
        for table, found in tables.items()
        for name, column in found.items()
        if name not in TIMES
    }
    return weights, columns


def assert_bit_identical(ours: Path, theirs: Path):
    (weights, columns), (expected, expected_columns) = outcome(ours), outcome(theirs)
    assert weights.keys() == expected.keys()
    for name, tensor in weights.items():
        assert torch.equal(tensor, expected[name]), name
    assert columns.keys() == expected_columns.keys()
    for name, column in columns.items():
        np.testing.assert_array_equal(column, expected_columns[name], err_msg=name)


def kept_steps(folder: Path) -> int:
    from etalambda.lab.train.recorded import steps_kept

    return steps_kept(folder)


def killed_past(process, folder: Path, step: int, delay: float = 0.0) -> None:
    """Kill -9, ``delay`` seconds after a checkpoint of this step or a later one is there."""
    while process.is_alive() and kept_steps(folder) < step:
        time.sleep(0.02)
    time.sleep(delay)
    assert process.is_alive(), "it ended before it was killed"
    process.kill()
    assert ended(process) == -signal.SIGKILL


def test_two_kills_of_the_command_change_no_bit(tmp_path):
    flags = "--steps", "60", "--evaluate-every", "2", "--checkpoint-every", "4"
    straight, folder = started(tmp_path / "straight", *flags), tmp_path / "killed"
    for step in (4, 28):
        killed_past(started(folder, *flags), folder, step)
    assert not read(folder).finished
    assert ended(started(folder, *flags)) == 0
    assert ended(straight) == 0
    assert_bit_identical(folder, tmp_path / "straight")


@pytest.mark.slow
def test_kills_at_random_moments_change_no_bit(tmp_path):
    """30 kills: 22 some random time after a random checkpoint (in a step, an evaluation, a write),
    8 while the command starts, reads and resumes."""
    flags = "--steps", "1500", "--checkpoint-every", "3"
    straight, folder = started(tmp_path / "straight", *flags), tmp_path / "killed"
    draws, kept = random.Random(0), 0
    for number in range(1, 31):
        process, moment = started(folder, *flags), time.perf_counter()
        goal = min(kept + draws.randint(3, 80), 1450) if number % 4 else 0
        killed_past(process, folder, goal, draws.uniform(0, 0.2 if goal else 1.0))
        kept = kept_steps(folder)
        lived = time.perf_counter() - moment
        print(f"kill {number} after {lived:.2f} s: {kept} steps kept", flush=True)
    assert ended(started(folder, *flags)) == 0
    assert ended(straight) == 0
    assert_bit_identical(folder, tmp_path / "straight")
    rows = len(outcome(folder)[1]["metrics.step"])
    print(f"30 kills; weights and all {rows} rows bit-identical to the run that was never stopped")
