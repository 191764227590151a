"""Thirty of thirty cells after kills, on a real PostgreSQL server, on Ray, and on submitit.

Slow: they start servers. Each is skipped, with its reason, where the server or package is missing.
"""

import importlib.util
import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import pytest

from etalambda.lab import records
from etalambda.lab.results import CELLS
from etalambda.lab.sweep import Plan, parse_axis
from etalambda.lab.sweep.queue import Queue
from etalambda.lab.sweep.storage import storage_of
from tests.lab.sweep_target import Config
from tests.lab.sweep_workers import KIND, check_log, kill_workers, start

pytestmark = pytest.mark.slow
WORDS = ["--over", "lr=0.1:1:10", "--seeds", "3", "--sleep", "0.4"]


def need_package(name):
    return pytest.mark.skipif(
        importlib.util.find_spec(name) is None, reason=f"the package {name} is not installed"
    )


def postgres_programs():
    """The folder of initdb and pg_ctl: on the path, or where Debian puts them."""
    found = shutil.which("initdb")
    places = [Path(found).parent] if found else []
    places += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((place for place in places if (place / "pg_ctl").is_file()), None)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def postgres(tmp_path_factory):
    """The address of a fresh server on this machine; stopped at the end."""
    programs = postgres_programs()
    if programs is None:
        pytest.skip("no PostgreSQL server here: initdb and pg_ctl are not installed")
    folder = Path(tmp_path_factory.mktemp("postgres"))
    as_user = {}
    if os.geteuid() == 0:  # the server refuses root
        try:
            owner = pwd.getpwnam("postgres")
        except KeyError:
            pytest.skip("running as root, and there is no user postgres to run the server as")
        for place in (folder, *list(folder.parents)[:2]):
            os.chmod(place, 0o755)
        os.chown(folder, owner.pw_uid, owner.pw_gid)
        as_user = {"user": owner.pw_uid, "group": owner.pw_gid, "cwd": folder}
    data, port = folder / "data", free_port()

    def run(*words, check=True):
        subprocess.run([str(word) for word in words], check=check, capture_output=True, **as_user)

    run(programs / "initdb", "-D", data, "-A", "trust", "-U", "tester", "--no-sync")
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder}"
    run(programs / "pg_ctl", "-D", data, "-l", folder / "log", "-w", "-o", options, "start")
    pid = int((data / "postmaster.pid").read_text().split()[0])
    try:
        yield f"postgresql+psycopg://tester:secret@127.0.0.1:{port}/postgres"
    finally:
        run(programs / "pg_ctl", "-D", data, "-m", "immediate", "stop", check=False)
        with suppress(ProcessLookupError):  # its folder was swept away: it still has its pid
            os.kill(pid, signal.SIGQUIT)


def thirty_of_thirty(tmp_path, *words, kills=3, workers=3):
    out, log = tmp_path / "s", tmp_path / "log"
    process = start(out, *WORDS, "--log", str(log), *words, workers=workers)
    killed = kill_workers(out, process, kills)
    _, said = process.communicate(timeout=300)
    assert (killed, process.returncode) == (kills, 0), said
    check_log(log, 30, killed)
    assert sum(records.read(p).finished for p in (out / CELLS).iterdir()) == 30
    print(f"30 of 30 cells after {killed} kills")
    return out


@need_package("psycopg")
def test_postgresql(postgres, tmp_path):
    out = thirty_of_thirty(tmp_path, "--storage", postgres, "--study", "kills", kills=5)
    assert not (out / "sweep.db").exists()
    told = "".join(path.read_text() for path in out.rglob("env.json"))
    assert "secret" not in told


@need_package("psycopg")
def test_workers_join_a_queue_on_postgresql(postgres, tmp_path):
    """One command fills the queue, workers started elsewhere empty it."""
    import sys

    base = Config(log=str(tmp_path / "log"), sleep=0.2)
    plan = Plan(KIND, base, (parse_axis("lr=0.1:1:10", base),))
    with storage_of(postgres) as storage:
        Queue.create(storage, "joined", plan).enqueue()
    line = [sys.executable, "-m", "etalambda.lab.cli", "worker", KIND, "--study", "joined"]
    line += ["--out", str(tmp_path / "s"), "--heartbeat", "1"]
    root = Path(__file__).parent.parent.parent
    env = os.environ | {"ETALAMBDA_STORAGE": postgres}
    env |= {"PYTHONPATH": f"{root / 'src'}{os.pathsep}{root}"}
    workers = [subprocess.Popen(line, env=env, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    time.sleep(2)
    workers[0].kill()
    outputs = [worker.communicate(timeout=120)[0] for worker in workers]
    assert all("nothing is left to do" in said for said in outputs[1:])
    with storage_of(postgres) as storage:
        assert Queue.load(storage, "joined", trusted=KIND).counts().done == 10


@need_package("psycopg")
def test_many_claim_at_once_on_postgresql(postgres):
    """No two get one unit: SELECT ... FOR UPDATE."""
    from concurrent.futures import ThreadPoolExecutor

    base = Config()
    plan = Plan(KIND, base, (parse_axis("lr=0.1:1:40", base),))
    with storage_of(postgres) as storage:
        Queue.create(storage, "claims", plan).enqueue()

    def claim(_):
        with storage_of(postgres) as storage:
            queue = Queue.load(storage, "claims", trusted=KIND)
            return [queue.study._pop_waiting_trial_id() for _ in range(5)]

    with ThreadPoolExecutor(8) as pool:
        got = [i for part in pool.map(claim, range(8)) for i in part]
    assert len(set(got)) == 40


@need_package("ray")
def test_ray(tmp_path):
    thirty_of_thirty(tmp_path, "--engine", "ray", "--option", "num_cpus=0.5")


@need_package("submitit")
def test_submitit_on_this_machine(tmp_path):
    out = thirty_of_thirty(tmp_path, "--engine", "slurm", "--option", "cluster=local", kills=1)
    assert list((out / "slurm").iterdir())


@need_package("submitit")
def test_slurm_says_so_where_there_is_none(tmp_path):
    if shutil.which("srun"):
        pytest.skip("there is a Slurm here")
    process = start(tmp_path / "s", "--over", "lr=0.1,0.2", "--engine", "slurm")
    _, said = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "--option cluster=local runs it here" in said
