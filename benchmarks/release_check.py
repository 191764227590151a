"""The body of ``release_check.sh``, run by the clean environment's own Python.

Prints JSON: the wheel's size, what was run and what imports cost. Fails loudly where a line of the
README or a command fails, where the wheel is 1 MB or more, or where a plain import brings a package
of the lab with it.
"""

import json
import platform
import re
import statistics
import subprocess
import sys
import sysconfig
from pathlib import Path

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
IMPORTS = {
    "import torch": "import torch",
    "import etalambda": "import etalambda",
    "torch, then import etalambda": "import torch, etalambda",
    "torch, then audit and suggest": "import torch, etalambda as el; el.audit, el.suggest.suggest",
    "torch, then tie and Scheduler": "import torch, etalambda as el; el.tie, el.Scheduler",
    "torch, then AdamS": "import torch, etalambda as el; el.AdamS",
}


def quickstart(readme: Path) -> int:
    """Run every Python block of the README, in order; returns how many there were."""
    import torch

    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Linear(8, 16), torch.nn.LayerNorm(16), torch.nn.Linear(16, 2)
    )
    names = dict(model=model, torch=torch)
    names["optimizer"] = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.1)
    names["batches"] = [torch.randn(4, 8) for _ in range(3)]
    names["train"] = lambda batch: names["model"](batch).square().mean().backward()
    blocks = BLOCK.findall(readme.read_text())
    for number, code in enumerate(blocks, start=1):
        print(f"README block {number}", file=sys.stderr)
        exec(compile(code, f"{readme.name}, block {number}", "exec"), names)
    return len(blocks)


def commands() -> list[str]:
    """Run the command line as a user without the lab does."""
    rows = "\n".join(f"{step},0.001,0.01" for step in range(1, 101))
    Path("log.csv").write_text(f"step,lr,weight_decay\n{rows}\n")
    program = Path(sysconfig.get_path("scripts")) / "etalambda"
    for words in COMMANDS:
        done = subprocess.run([program, *words.split()], capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"etalambda {words} failed:\n{done.stderr}")
    return [f"etalambda {words}" for words in COMMANDS]


def import_ms(code: str, rounds: int = 7) -> float:
    """Median milliseconds of a statement in a fresh interpreter, its start-up taken off."""
    timed = f"import time; t = time.perf_counter(); {code}; print(time.perf_counter() - t)"
    seconds = [float(subprocess.check_output([sys.executable, "-c", timed])) for _ in range(rounds)]
    return round(1000 * statistics.median(seconds), 1)


def own_import_ms(code: str, rounds: int = 7) -> float:
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


def main(wheel: str, readme: str) -> None:
    """Check everything and print the numbers."""
    import torch

    size = Path(wheel).stat().st_size
    if size >= LIMIT:
        raise SystemExit(f"the wheel has {size} bytes, {LIMIT} are allowed")
    with_lab = {code: names for code in IMPORTS.values() if (names := brought(code))}
    if with_lab:
        raise SystemExit(f"a plain import brings packages of the lab: {with_lab}")
    # what the README prints goes to stderr, so that stdout is JSON only
    real, sys.stdout = sys.stdout, sys.stderr
    blocks = quickstart(Path(readme))
    sys.stdout = real
    result = dict(
        wheel=Path(wheel).name,
        wheel_bytes=size,
        python=platform.python_version(),
        torch=torch.__version__,
        readme_blocks_run=blocks,
        commands_run=commands(),
        import_ms={name: import_ms(code) for name, code in IMPORTS.items()},
        own_import_ms={name: own_import_ms(code) for name, code in list(IMPORTS.items())[1:]},
    )
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main(*sys.argv[1:])
