"""Two ranks train the network that one process trains: DDP and FSDP2, checkpoints included.

In float64 weights and rows agree to 1e-9 (sums are taken in another order); BatchNorm's running
statistics are those of the first rank's share, so only the weights are compared there.
"""

import math
import os
import pickle
import shutil
import subprocess
import sys

import pytest
import torch
import torch.multiprocessing as mp

from etalambda.lab.records import read
from etalambda.lab.train import TrainConfig, fit
from etalambda.lab.train.checkpoint import CheckpointError
from etalambda.lab.train.loop import Keep
from tests.lab import _train_dist

pytestmark = [
    pytest.mark.dist,
    pytest.mark.skipif(not torch.distributed.is_available(), reason="no torch.distributed"),
]
CLOSE = dict(rel=1e-9, abs=1e-12, nan_ok=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where two processes, started once, have left what they found."""
    found = tmp_path_factory.mktemp("two-processes")
    mp.spawn(_train_dist.process, (str(found),), nprocs=2)
    return found


@pytest.fixture
def _float64():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("scenario", [s.__name__ for s in _train_dist.SCENARIOS])
def test_both_ranks_end_well(scenario, folder):
    for rank in (0, 1):
        ended = (folder / f"{scenario}-{rank}").read_text()
        assert ended == "equal", ended


@pytest.mark.parametrize("name", _train_dist.RECIPES)
@pytest.mark.usefixtures("_float64")
def test_two_ranks_equal_one_process(name, folder):
    recipe = dict(_train_dist.RECIPES[name])
    if name == "ddp batch norm":  # each rank normalizes its share, as accumulation does its parts
        recipe["accumulate"] = 2
    alone = fit(TrainConfig(**_train_dist.BASE | recipe))
    found = torch.load(folder / f"{name.replace(' ', '-')}.pt", weights_only=True)
    for key, tensor in alone.weights.items():
        if not key.endswith(("running_mean", "running_var", "num_batches_tracked")):
            torch.testing.assert_close(found["weights"][key], tensor, rtol=1e-9, atol=1e-11)
    for column, values in alone.metrics.items():
        if name != "ddp batch norm" or not column.endswith(("error", "loss")):
            assert found["metrics"][column] == pytest.approx(values, **CLOSE), column
    assert not all(map(math.isnan, found["metrics"]["angle"]))


@pytest.mark.usefixtures("_float64")
def test_one_process_goes_on_with_the_shards_of_two(folder):
    config = TrainConfig(**_train_dist.BASE | _train_dist.RECIPES["fsdp adams"])
    keep = Keep(folder / "left.pt", steps=2)
    started = []
    resumed = fit(config, keep=keep, progress=lambda done, *_: started.append(done))
    assert started[0] == 5
    straight = fit(config)
    for key, tensor in straight.weights.items():
        torch.testing.assert_close(resumed.weights[key], tensor, rtol=1e-9, atol=1e-11)
    assert resumed.metrics["K"] == pytest.approx(straight.metrics["K"], **CLOSE)


def test_shards_of_a_stranger_run_nothing(folder, tmp_path):
    shutil.copytree(folder / "left.shards", tmp_path / "left.shards")
    (table,) = tmp_path.rglob(".metadata")
    table.write_bytes(pickle.dumps(print))
    config = TrainConfig(**_train_dist.BASE | _train_dist.RECIPES["fsdp adams"])
    with pytest.raises(CheckpointError, match=r"not of a checkpoint \(it names builtins.print"):
        fit(config, keep=Keep(tmp_path / "left.pt", steps=2))


def test_torchrun_writes_one_record(tmp_path):
    words = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node",
        "2", "-m", "etalambda", "train", "--steps", "6", "--monitor-every", "3",
        "--out", str(tmp_path / "run"),
    ]  # fmt: skip
    done = subprocess.run(
        words,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    run = read(tmp_path / "run")
    assert run.finished
    assert run.tables["summary"]["steps"].tolist() == [6]
