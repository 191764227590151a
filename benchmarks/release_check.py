"""The body of ``release_check.sh``, run by the clean environment's own Python.

``core`` prints JSON: the wheel's size, what was run and what imports cost. Fails loudly where the
wheel is 1 MB or more, or its files are not those of the tree; where what is imported is not the
wheel; where a block of the README or a command fails; where a plain import brings a package of the
lab with it. ``lab`` runs the README's commands, small; ``together`` joins both results.
"""

import json
import platform
import re
import statistics
import subprocess
import sys
import sysconfig
import zipfile
from email.parser import HeaderParser
from pathlib import Path
from typing import Any

BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LIMIT = 1_000_000
LAB = ("rich", "duckdb", "optuna", "matplotlib", "plotly", "sklearn", "pooch", "pandas", "tyro")
COMMANDS = (
    "--help",
    "--version",
    "suggest --optimizer adamw --lr 3e-4 --steps 20000 --batch-size 256 --dataset-size 1000000",
    "suggest --optimizer adamw --lr 3e-4 --steps 20000 --json",
    "suggest --optimizer adamw --lr 3e-4 --steps 20000 --as hf",
    "doctor --script",
    "doctor log.csv",
)
# The README's, on data that comes with scikit-learn and in seconds: (as it stands there, as run).
LAB_COMMANDS = (
    ("train", "train --task digits --model mlp --optimizer adams --steps 20 --out one"),
    ("sweep", "sweep --over lr=1e-3:1:2 --over weight_decay=0,1e-3 --steps 20 --out many"),
    ("reproduce li2020-fig3", "reproduce li2020-fig3 --scale smoke"),
    ("", "ls many"),
    ("", "report many --out page.html"),
    ("", "theory --out theory.html"),
)
IMPORTS = {
    "import torch": "import torch",
    "import etalambda": "import etalambda",
    "torch, then import etalambda": "import torch, etalambda",
    "torch, then audit and suggest": "import torch, etalambda as el; el.audit, el.suggest.suggest",
    "torch, then tie and Scheduler": "import torch, etalambda as el; el.tie, el.Scheduler",
    "torch, then AdamS": "import torch, etalambda as el; el.AdamS",
}


def check_wheel(wheel: Path, root: Path) -> int:
    """Its size, name, licence and files against the tree; returns the size."""
    size = wheel.stat().st_size
    if size >= LIMIT:
        raise SystemExit(f"the wheel has {size} bytes, {LIMIT} are allowed")
    with zipfile.ZipFile(wheel) as archive:
        inside = set(archive.namelist())
        (name,) = (n for n in inside if n.endswith(".dist-info/METADATA"))
        said = HeaderParser().parsestr(archive.read(name).decode())
    if not any(n.endswith("licenses/LICENSE") for n in inside):
        raise SystemExit("the wheel has no LICENSE")
    if wheel.name.split("-")[1] != said["Version"]:
        raise SystemExit(f"{wheel.name} says it is version {said['Version']}")
    source = root / "src"
    tree = {str(path.relative_to(source)) for path in source.rglob("*") if path.is_file()}
    tree = {path for path in tree if "__pycache__" not in path and ".egg-info" not in path}
    if differs := tree ^ {n for n in inside if ".dist-info/" not in n}:
        raise SystemExit(f"only in one of wheel and src: {sorted(differs)}")
    return size


def check_origin(wheel: Path) -> None:
    """What is imported here is the wheel."""
    import etalambda

    place = Path(etalambda.__file__)
    if Path(sys.prefix) not in place.parents or etalambda.__version__ != wheel.name.split("-")[1]:
        raise SystemExit(f"etalambda {etalambda.__version__} of {place} is not {wheel.name}")


def quickstart(readme: Path) -> int:
    """Run every Python block of the README, in order; returns how many there were."""
    import torch

    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Linear(8, 16), torch.nn.LayerNorm(16), torch.nn.Linear(16, 2)
    )
    names: dict[str, Any] = dict(model=model)
    names["optimizer"] = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.1)
    names["batches"] = [torch.randn(4, 8) for _ in range(3)]
    names["train"] = lambda batch: names["model"](batch).square().mean().backward()
    text = readme.read_text()
    blocks = BLOCK.findall(text)
    if not blocks or len(blocks) != text.count("```python"):
        raise SystemExit(f"{text.count('```python')} blocks of Python in {readme.name}, not read")
    for number, code in enumerate(blocks, start=1):
        print(f"README block {number}", file=sys.stderr)
        exec(compile(code, f"{readme.name}, block {number}", "exec"), names)
    return len(blocks)


def commands(lines: tuple[str, ...]) -> list[str]:
    """Run the command line; every line must end well and say something."""
    program = Path(sysconfig.get_path("scripts")) / "etalambda"
    for words in lines:
        print(f"etalambda {words}", file=sys.stderr)
        done = subprocess.run([program, *words.split()], capture_output=True, text=True)
        if done.returncode or not done.stdout.strip():
            raise SystemExit(f"etalambda {words} failed:\n{done.stdout[-2000:]}{done.stderr}")
    return [f"etalambda {words}" for words in lines]


def import_ms(code: str, rounds: int = 3) -> float:
    """Median milliseconds of a statement in a fresh interpreter, its start-up taken off."""
    timed = f"import time; t = time.perf_counter(); {code}; print(time.perf_counter() - t)"
    seconds = [float(subprocess.check_output([sys.executable, "-c", timed])) for _ in range(rounds)]
    return round(1000 * statistics.median(seconds), 1)


def own_import_ms(code: str, rounds: int = 5) -> float:
    """Median of what etalambda's modules add by themselves, by ``-X importtime``."""
    found = []
    for _ in range(rounds):
        command = [sys.executable, "-X", "importtime", "-c", code]
        log = subprocess.run(command, capture_output=True, text=True, check=True).stderr
        rows = [line.split("|") for line in log.splitlines() if "etalambda" in line]
        found.append(sum(int(row[0].split(":")[1]) for row in rows) / 1000)
    return round(statistics.median(found), 1)


def brought(code: str) -> list[str]:
    """Which packages of the lab a statement imports."""
    ask = f"import sys; {code}; print(' '.join(n for n in {LAB} if n in sys.modules))"
    return subprocess.check_output([sys.executable, "-c", ask], text=True).split()


def core(wheel: Path, root: Path) -> dict[str, Any]:
    """With torch, numpy, scipy and tyro alone."""
    import torch

    size = check_wheel(wheel, root)
    check_origin(wheel)
    with_lab = {code: names for code in IMPORTS.values() if (names := brought(code))}
    if with_lab:
        raise SystemExit(f"a plain import brings packages of the lab: {with_lab}")
    # what the README prints goes to stderr, so that stdout is JSON only
    real, sys.stdout = sys.stdout, sys.stderr
    blocks = quickstart(root / "README.md")
    sys.stdout = real
    rows = "\n".join(f"{step},0.001,0.01" for step in range(1, 101))
    Path("log.csv").write_text(f"step,lr,weight_decay\n{rows}\n")
    return dict(
        wheel=wheel.name,
        wheel_bytes=size,
        python=platform.python_version(),
        torch=torch.__version__,
        readme_blocks_run=blocks,
        commands_run=commands(COMMANDS),
        import_ms={name: import_ms(code) for name, code in IMPORTS.items()},
        own_import_ms={name: own_import_ms(code) for name, code in list(IMPORTS.items())[1:]},
    )


def lab(wheel: Path, root: Path) -> dict[str, Any]:
    """With the lab extra."""
    check_origin(wheel)
    readme = (root / "README.md").read_text()
    for there, _ in LAB_COMMANDS:
        if f"etalambda {there}" not in readme:
            raise SystemExit(f"README.md has no `etalambda {there}`: what is run here is another")
    return dict(lab_commands_run=commands(tuple(words for _, words in LAB_COMMANDS)))


def together(*results: Path) -> dict[str, Any]:
    """Both results, and on stderr the lines of docs/support.md that follow from them."""
    found: dict[str, Any] = {}
    for path in results:
        found |= json.loads(path.read_text())
    own = found["own_import_ms"]
    print(
        f"docs/support.md:\n| wheel | {found['wheel_bytes'] / 1000:.0f} kB (limit: 1 MB) |\n"
        f"| `import etalambda` | {own['import etalambda']:.1f} ms of its own, without torch |\n"
        "| with audit and suggest, after torch | "
        f"{own['torch, then audit and suggest']:.0f} ms of its own |",
        file=sys.stderr,
    )
    return found


if __name__ == "__main__":
    part = dict(core=core, lab=lab, together=together)[sys.argv[1]]
    print(json.dumps(part(*map(Path, sys.argv[2:])), indent=1))
