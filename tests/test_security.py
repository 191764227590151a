"""What a stranger's file, name or shell could do, searched for in the source and at import.

What each place does with damage and evil names is tested with it: checkpoints in
``lab/test_train_contents.py``, data in ``lab/test_data.py``, pages in ``lab/test_report.py``, the
terminal in ``diagnose/test_sinks.py``, a sweep's database in ``lab/test_sweep.py``.
"""

import ast
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
ROOMS = ("src", "benchmarks", "examples", "docs")
FILES = [p.relative_to(ROOT) for room in ROOMS for p in sorted((ROOT / room).rglob("*.py"))]
FILES = [path for path in FILES if "_build" not in path.parts]
# They run what they are given: nobody needs them here.
NEVER = {
    "eval", "exec", "os.system", "os.popen", "pickle.load", "pickle.loads", "marshal.load",
    "marshal.loads", "yaml.load", "yaml.unsafe_load", "joblib.load", "subprocess.getoutput",
}  # fmt: skip
NEEDS = {"torch.load": ("weights_only", True), "np.load": ("allow_pickle", False)}
# The README's own blocks, by hand.
EXCEPT = {("benchmarks/release_check.py", "exec")}


def dangers(source):
    """``name, line`` of each call that runs or unpickles what it reads.

    >>> list(dangers("torch.load(path)"))
    [('torch.load', 1)]
    >>> list(dangers("torch.load(path, weights_only=True); run('x', shell=True)"))
    [('run', 1)]
    """
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        given = {k.arg: getattr(k.value, "value", None) for k in node.keywords}
        argument, safe = NEEDS.get(name, ("", None))
        if name in NEVER or given.get("shell") or given.get(argument) is not safe:
            yield name, node.lineno


def test_nothing_runs_what_it_reads():
    found = [
        f"{place}:{line}: {name}"
        for place in map(str, FILES)
        for name, line in dangers((ROOT / place).read_text())
        if (place, name) not in EXCEPT
    ]
    assert len(FILES) > 200
    assert found == []


IMPORT_ALL = """
import importlib, pkgutil, sys
CONNECTS = {"socket.connect", "socket.getaddrinfo", "socket.sendto", "urllib.Request"}
def refuse(event, arguments):
    if event in CONNECTS:
        raise SystemExit(f"{event}: {arguments}")
sys.addaudithook(refuse)
import etalambda
for found in pkgutil.walk_packages(etalambda.__path__, "etalambda."):
    try:
        importlib.import_module(found.name)
    except ModuleNotFoundError as error:
        if error.name != "triton":
            raise
print(len(sys.modules))
"""


def test_no_import_opens_a_connection():
    done = subprocess.run([sys.executable, "-c", IMPORT_ALL], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 500
