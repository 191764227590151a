"""Sweeps: which cells there are, and that each is trained once whoever dies."""

import signal
import sys
import time
from collections import Counter
from pathlib import Path

import optuna
import pytest

from etalambda.lab import cli, records
from etalambda.lab.configs import MapConfig
from etalambda.lab.experiments.cell_config import CellConfig
from etalambda.lab.results import CELLS
from etalambda.lab.sweep import Axis, Plan, parse_axis, run_sweep
from etalambda.lab.sweep.counts import MAX_DEATHS
from etalambda.lab.sweep.queue import Queue
from etalambda.lab.sweep.space import cell_name, grid_cells
from etalambda.lab.sweep.storage import hidden, open_storage, sqlite_url
from etalambda.lab.sweep.targets import target
from etalambda.lab.sweep.work import _one, work
from tests.lab import sweep_target
from tests.lab.sweep_target import Config
from tests.lab.sweep_workers import check_log, kill_workers, start

KIND = "tests.lab.sweep_target"
PLAIN = Config()
ROOT = Path(__file__).parent.parent.parent


def plan(*over, base=PLAIN, **options):
    return Plan(KIND, base, tuple(parse_axis(text, base) for text in over), **options)


def queue_of(folder, made, heartbeat=60):
    folder.mkdir(exist_ok=True)
    queue = Queue.create(open_storage(sqlite_url(folder), heartbeat), "test", made)
    queue.enqueue()
    return queue


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("lr=1e-2:1:3", (0.01, 0.1, 1.0)),
        ("weight-decay=0,1e-4", (0.0, 1e-4)),
        ("epochs=10,40", (10, 40)),
        ("optimizer=sgd, adamw", ("sgd", "adamw")),
    ],
)
def test_an_axis_has_the_fields_type(text, values):
    found = parse_axis(text, CellConfig())
    assert found.values == values
    assert list(map(type, found.values)) == list(map(type, values))


def test_axes_of_lists_and_switches():
    assert parse_axis("lengths=10+40,20", MapConfig()).values == ((10, 40), (20,))
    assert parse_axis("big=true,false", Config()).values == (True, False)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("lr", "must be FIELD=VALUES, as in lr=1e-3:1:7, got 'lr'"),
        ("lrr=1", "unknown field 'lrr'; did you mean 'lr'"),
        ("lr=1,x", "lr: .*'1,x' is no grid"),
        ("lr=1:2", "lr: .*is no grid"),
        ("lr=1,1", "lr has a value twice in '1,1'"),
        ("epochs=1.5,2", "epochs: 1.5 is no whole number"),
        ("lr=0:1:3", "low must be a finite number above 0"),
    ],
)
def test_wrong_axes_name_field_value_and_remedy(text, says):
    with pytest.raises(ValueError, match=says):
        parse_axis(text, CellConfig())
    with pytest.raises(ValueError, match="big is true or false, got 'yes'"):
        parse_axis("big=yes", Config())


def test_every_combination_is_a_checked_config():
    cells = plan("lr=0.1,0.2", "weight_decay=0,1e-3", "seed=0,1,2").cells()
    assert len({cell.name for cell in cells}) == len(cells) == 12
    assert cells[1].config == Config(lr=0.1, weight_decay=0.0, seed=1)
    with pytest.raises(ValueError, match=r"the cell lr=-1.0 is not possible: lr must be above 0"):
        plan("lr=-1,1").cells()
    with pytest.raises(ValueError, match="lr is swept over twice"):
        plan("lr=1", "lr=2").cells()


def test_a_cells_name_is_safe_and_its_own():
    values = {"name": "../../etc/passwd\n<b>", "lr": 0.1}
    name = cell_name(KIND, Config(**values), values)
    assert "/" not in name
    assert not name.startswith(".")
    assert cell_name(KIND, Config(lr=0.1000001), {"lr": 0.1}) != cell_name(
        KIND, Config(), {"lr": 0.1}
    )
    assert len(cell_name(KIND, Config(name="x" * 999), {"name": "x" * 999})) < 140


def test_random_settings_are_drawn_once_and_paired_by_seed():
    made = plan("lr=0.01,0.1,1.0", "name=a,b", "seed=0,1", sampler="random", trials=8)
    cells, again = made.cells(), made.cells()
    assert [cell.name for cell in cells] == [cell.name for cell in again]
    assert len(cells) == 16
    by_lr = Counter((cell.config.lr, cell.config.name) for cell in cells)
    assert set(by_lr.values()) == {2}
    assert all(0.01 <= lr <= 1 for lr, _ in by_lr)
    assert len(by_lr) == 8


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (dict(sampler="grids"), "unknown sampler 'grids'; did you mean 'grid'"),
        (dict(sampler="tpe", trials=0), "trials must be at least 1"),
        (dict(together=0), "together must be at least 1"),
    ],
)
def test_wrong_plans_are_named(options, says):
    with pytest.raises(ValueError, match=says):
        plan("lr=0.1,1", **options)
    with pytest.raises(ValueError, match="random needs a field to choose"):
        plan("seed=0,1", sampler="random", trials=3)


def test_a_plan_survives_its_text():
    made = plan("lr=0.01:1:3", "name=a,b", base=Config(sleep=0.5), trials=3)
    assert Plan.from_json(made.to_json(), trusted=KIND) == made
    with pytest.raises(ValueError, match="if you trust it, name it: etalambda worker"):
        Plan.from_json(made.to_json())
    lengths = Plan("map", MapConfig(), (parse_axis("lengths=10+40,20", MapConfig()),))
    assert Plan.from_json(lengths.to_json()) == lengths
    strange = made.to_json().replace('"sleep"', '"slumber"')
    with pytest.raises(ValueError, match=r"does not know: \['slumber'\]"):
        Plan.from_json(strange, trusted=KIND)


def test_only_experiments_are_targets():
    assert target(KIND).run() is sweep_target.run
    for name in ("nothing", "../x.y", "os; x.y"):
        with pytest.raises(ValueError, match="unknown experiment"):
            target(name)
    with pytest.raises(ValueError, match="must have a dataclass Config and run"):
        target("os.path")


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


def test_grid_cells_of_no_axis_is_the_one_config():
    (cell,) = grid_cells(KIND, Config(), [])
    assert cell.config == Config()
    assert cell.name.startswith("tests.lab.sweep_target-")
    assert Axis("lr", (1.0,)).field == "lr"
