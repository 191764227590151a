"""The rooms and their one-way doors, and what importing them costs."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "src" / "etalambda"
HALL = {"_common"}
# room -> (rooms it may import, third parties it may import anywhere, even inside a function)
DOORS = {
    "optim": (set(), {"torch", "triton"}),  # triton: as torch has it, on CUDA only
    "schedule": (set(), {"torch"}),
    "theory": (set(), {"torch", "numpy", "scipy"}),
    "diagnose": ({"theory"}, None),
    "suggest": ({"theory", "diagnose"}, None),
    "integrations": ({"optim", "schedule", "theory", "diagnose", "suggest"}, None),
    "lab": ({"optim", "schedule", "theory", "diagnose", "suggest", "integrations"}, None),
}


def imports(path: Path) -> set[str]:
    """Every module that a file imports, as absolute dotted names."""
    package = ["etalambda", *path.relative_to(PACKAGE).parent.parts]
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            stem = ".".join([*base, *([node.module] if node.module else [])])
            found |= {f"{stem}.{alias.name}" for alias in node.names} | {stem}
    return found


FILES = [(room, path) for room in DOORS for path in sorted((PACKAGE / room).rglob("*.py"))]


@pytest.mark.parametrize(
    ("room", "path"), FILES, ids=[str(p.relative_to(PACKAGE)) for _, p in FILES]
)
def test_doors_open_one_way(room, path):
    rooms, third_parties = DOORS[room]
    for name in imports(path):
        top, *rest = name.split(".")
        if top == "etalambda" and rest and rest[0] in DOORS:
            assert rest[0] in {room, *rooms}, f"{room} may not import {name}"
        elif third_parties is not None and top not in {"etalambda", "__future__"}:
            assert top in third_parties | sys.stdlib_module_names, f"{room} may not import {name}"


def test_the_hall_imports_torch_only():
    for module in HALL:
        for name in imports(PACKAGE / f"{module}.py"):
            assert name.split(".")[0] in {"torch"} | sys.stdlib_module_names


def modules_after(statement: str) -> set[str]:
    code = f"import sys; {statement}; print(*{{m.split('.')[0] for m in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_only_main_opens_the_lab_from_outside():
    lab = {path.name: {n for n in imports(path) if "lab" in n} for path in PACKAGE.glob("*.py")}
    assert {name for name, found in lab.items() if found} == {"__main__.py"}
    assert lab["__main__.py"] == {"etalambda.lab.cli", "etalambda.lab.cli.main"}


def test_import_is_light():
    heavy = {"scipy", "tyro", "matplotlib", "plotly", "duckdb", "optuna", "sklearn", "rich"}
    assert not modules_after("import etalambda") & (heavy | {"torch", "numpy"})
    assert not modules_after("from etalambda import AdamS, Scheduler, tie") & heavy
    assert "torch" not in modules_after("import etalambda.lab.cli")


def test_training_and_the_engine_need_no_extra():
    """A GPU machine may have torch, numpy and scipy alone."""
    heavy = {"tyro", "matplotlib", "plotly", "duckdb", "optuna", "sklearn", "rich", "pandas"}
    statement = "from etalambda.lab.train import fit; from etalambda.lab.engine import train"
    assert not modules_after(f"{statement}; fit") & heavy


def test_files_stay_readable():
    """Median 100-220 lines; about 300 is where a second idea usually wants its own room."""
    lengths = {path: len(path.read_text().splitlines()) for path in PACKAGE.rglob("*.py")}
    assert {str(path): n for path, n in lengths.items() if n > 320} == {}
