"""Each cell of a sweep is trained once, whoever dies."""

import time
from collections import Counter

import optuna
import pytest

from etalambda.lab import records
from etalambda.lab.experiments.cell_config import CellConfig
from etalambda.lab.results import CELLS
from etalambda.lab.sweep import Plan, parse_axis, run_sweep
from etalambda.lab.sweep.counts import MAX_DEATHS
from etalambda.lab.sweep.queue import Queue
from etalambda.lab.sweep.storage import open_storage, sqlite_url
from etalambda.lab.sweep.work import _one, work
from tests.lab import sweep_target
from tests.lab.sweep_plans import plan, queue_of
from tests.lab.sweep_target import Config
from tests.lab.sweep_workers import KIND


def test_a_sweep_in_this_process_trains_each_cell_once(tmp_path):
    log = tmp_path / "log"
    queue = queue_of(tmp_path, plan("lr=0.1,0.2", "seed=0,1", base=Config(log=str(log))))
    assert work(queue, tmp_path) == 4
    assert work(queue, tmp_path) == 0
    assert log.read_text().count("end") == 4
    counts = queue.counts()
    assert (counts.total, counts.done, counts.over) == (4, 4, True)
    results = [t.user_attrs["results"] for t in queue.trials()]
    assert min(found["val_error"] for unit in results for found in unit.values()) == 0
    folders = list((tmp_path / CELLS).iterdir())
    assert len(folders) == 4
    assert all(records.read(folder).finished for folder in folders)


def test_more_values_train_only_what_is_new(tmp_path):
    log = tmp_path / "log"
    base = Config(log=str(log))
    work(queue_of(tmp_path, plan("lr=0.1,0.2", base=base)), tmp_path)
    work(queue_of(tmp_path, plan("lr=0.1,0.2,0.3", "seed=0", base=base)), tmp_path)
    assert log.read_text().count("end") == 3
    with pytest.raises(records.ConfigMismatch, match=r"sleep \(0.0 there, 1.0 now\)"):
        queue_of(tmp_path, plan("lr=0.1", base=Config(sleep=1.0, log=str(log))))


def test_a_lost_queue_is_filled_from_the_records(tmp_path):
    log = tmp_path / "log"
    made = plan("lr=0.1,0.2,0.3", base=Config(log=str(log)))
    assert run_sweep(made, tmp_path, engine="none").waiting == 3
    work(Queue.load(open_storage(sqlite_url(tmp_path)), "", trusted=KIND), tmp_path)
    (tmp_path / "sweep.db").unlink()
    assert run_sweep(made, tmp_path, engine="none").total == 0


def test_a_failed_cell_is_named_and_tried_again_only_when_asked(tmp_path):
    log = tmp_path / "log"
    queue = queue_of(tmp_path, plan("lr=0.1,0.2,0.3", base=Config(fail=0.2, log=str(log))))
    assert work(queue, tmp_path) == 2
    (failed,) = queue.counts().failed
    assert failed.user_attrs["error"] == "ValueError: this one cannot be trained"
    assert "in run" in failed.user_attrs["traceback"]
    assert log.read_text().count("begin") == 3
    assert queue.enqueue() == 1
    work(queue, tmp_path)
    assert log.read_text().count("begin") == 4
    assert len(queue.counts().failed) == 1


def claim(queue):
    """A worker that claims a unit and is gone, before or after its first heartbeat."""
    trial = queue.study.ask()
    return trial


def test_a_worker_that_dies_before_its_first_heartbeat_loses_nothing(tmp_path):
    queue = queue_of(tmp_path, plan("lr=0.1,0.2"), heartbeat=1)
    with pytest.warns(UserWarning, match="Heartbeat"):
        claim(queue)
    assert queue.repair().running == 1
    time.sleep(2.1)
    counts = queue.repair()
    assert (counts.running, counts.waiting) == (0, 2)
    assert work(queue, tmp_path) == 2


def test_a_unit_that_was_being_given_back_is_not_lost(tmp_path):
    queue = queue_of(tmp_path, plan("lr=0.1,0.2"))
    with pytest.warns(UserWarning, match="Heartbeat"):
        trial = claim(queue)
    queue.study.tell(trial, state=optuna.trial.TrialState.FAIL)  # and then killed
    assert len(queue.counts().lost) == 1
    assert queue.repair().waiting == 2


def test_a_unit_that_kills_its_workers_is_given_up(tmp_path):
    queue = queue_of(tmp_path, plan("lr=0.1"))
    for _ in range(MAX_DEATHS + 1):
        with pytest.warns(UserWarning, match="Heartbeat"):
            trial = claim(queue)
        queue.study.tell(trial, state=optuna.trial.TrialState.FAIL)
        queue.repair()
    assert queue.counts().over
    assert len(queue.counts().failed) == 1
    assert queue.enqueue() == 1
    assert work(queue, tmp_path) == 1


def test_a_unit_that_is_enqueued_twice_is_done_once(tmp_path):
    log = tmp_path / "log"
    queue = queue_of(tmp_path, plan("lr=0.1", base=Config(log=str(log))))
    queue._add(queue.plan.units()[0])
    work(queue, tmp_path)
    assert log.read_text().count("begin") == 1
    assert queue.counts().over
    assert not _one(queue, tmp_path)  # whoever takes the double drops it
    assert Counter(t.state.name for t in queue.trials()) == {"COMPLETE": 1, "PRUNED": 1}


def test_a_double_that_is_claimed_while_the_other_is_at_work_is_dropped(tmp_path):
    """Whichever of the two was enqueued first."""
    log = tmp_path / "log"
    queue = queue_of(tmp_path, plan("lr=0.1", base=Config(log=str(log))))
    queue._add(queue.plan.units()[0])
    doubles = [t._trial_id for t in queue.trials()]
    storage, running = queue.study._storage, optuna.trial.TrialState.RUNNING
    storage.set_trial_state_values(doubles[1], state=running)  # the later one first
    time.sleep(0.01)
    storage.set_trial_state_values(doubles[0], state=running)
    first, second = (optuna.trial.Trial(queue.study, i) for i in doubles)
    assert queue.is_double(first)
    assert not queue.is_double(second)


def test_a_worker_that_was_thought_dead_ends_in_peace(tmp_path, monkeypatch):
    """A clock that jumps ahead, or a laptop that slept: the unit is given to another meanwhile."""
    log = tmp_path / "log"
    queue = queue_of(tmp_path, plan("lr=0.1", base=Config(log=str(log))))
    real = sweep_target.run

    def slow(config, run, progress):
        real(config, run, progress)
        (mine,) = [t for t in queue.trials() if t.state.name == "RUNNING"]
        queue._fail(queue.study._storage, mine)

    monkeypatch.setattr(sweep_target, "run", slow)
    assert work(queue, tmp_path) == 2
    assert log.read_text().count("begin") == 1
    assert queue.counts().done == 1


def test_sqlite_gives_a_unit_to_one_worker_only(tmp_path):
    """Eight threads ask at once; without a lock before the read some would get the same unit."""
    from concurrent.futures import ThreadPoolExecutor

    queue = queue_of(tmp_path, plan("lr=0.1:1:24"))
    queues = [
        Queue.load(open_storage(sqlite_url(tmp_path)), "test", trusted=KIND) for _ in range(8)
    ]

    def claim_three(one):
        return [one.study._pop_waiting_trial_id() for _ in range(3)]

    with ThreadPoolExecutor(8) as pool:
        got = [i for part in pool.map(claim_three, queues) for i in part]
    assert len(set(got)) == 24
    assert queue.counts().waiting == 0


def test_tpe_chooses_near_the_best_and_keeps_its_choice_for_every_seed(tmp_path):
    made = plan("lr=1e-3,0.1,10", "name=a,b", "seed=0,1", sampler="tpe", trials=16)
    queue = queue_of(tmp_path, made)
    queue = Queue.load(open_storage(sqlite_url(tmp_path)), "test", trusted=KIND)
    assert work(queue, tmp_path) == 16
    trials = queue.trials()
    assert len(trials) == 16
    assert all(len(t.user_attrs["cells"]) == 2 for t in trials)
    tried = [t.user_attrs["cells"][0][1]["lr"] for t in trials]
    assert len(set(tried)) > 8
    assert min(abs(lr - 0.1) for lr in tried) < 0.15


def test_small_networks_are_trained_together_as_they_would_be_alone(tmp_path):
    base = CellConfig(epochs=2)
    axes = tuple(parse_axis(t, base) for t in ("lr=0.05,0.2", "optimizer=sgd,adamw", "seed=0,1"))
    made = Plan("cell", base, axes, together=3)
    assert [len(unit.cells) for unit in made.units()] == [3, 1, 3, 1]
    queue = queue_of(tmp_path, made)
    assert work(queue, tmp_path) == 4
    alone = queue_of(tmp_path / "alone", Plan("cell", base, axes, together=1))
    work(alone, tmp_path / "alone")
    for cell in made.cells():
        many, one = (records.read(p / CELLS / cell.name) for p in (tmp_path, tmp_path / "alone"))
        assert many.config == one.config
        for table, column in (("summary", "K"), ("metrics", "K"), ("metrics", "step")):
            assert many.tables[table][column] == pytest.approx(one.tables[table][column])
        for column in ("norm", "loss"):
            assert many.tables["metrics"][column][-1] == pytest.approx(
                one.tables["metrics"][column][-1], rel=1e-3
            )


def test_a_folder_that_refuses_stops_the_worker_and_keeps_the_unit(tmp_path, monkeypatch):
    from etalambda.lab.records import files

    queue = queue_of(tmp_path, plan("lr=0.1,0.2"))
    real = files.write_parquet

    def full(path, table):
        raise files.refused(path, OSError(28, "No space left on device"))

    monkeypatch.setattr(files, "write_parquet", full)
    with pytest.raises(records.RecordError, match="No space left on device"):
        work(queue, tmp_path)
    monkeypatch.setattr(files, "write_parquet", real)
    assert work(queue, tmp_path) == 2
    assert not queue.counts().failed
