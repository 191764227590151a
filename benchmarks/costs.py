"""What a run costs: time and memory of ``etalambda train``, read from its records.

    python -m benchmarks.costs --data-dir FOLDER --runs FOLDER [--device cuda]   train, then print
    python -m benchmarks.costs --runs FOLDER --only-print                        print what is there

Each run is a process of its own, as a user starts it: memory is the most that the process held on a
CPU, the most that torch held on a GPU. Time a step is the run's, one evaluation of a batch a split
included, over its steps: on a CPU the time on the processor (one thread), on a GPU by the clock. An
epoch and the whole of the usual length follow from it.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

EVIDENCE = Path(__file__).parent.parent / "docs" / "evidence" / "costs"


class Case(NamedTuple):
    """A task and network, for how many steps here, and how many epochs its papers train."""

    task: str
    model: str
    batch: int
    steps: int
    epochs: int
    examples: int


CASES = (
    Case("digits", "mlp", 50, 480, 40, 600),
    Case("digits", "cnn", 50, 480, 40, 600),
    Case("mnist", "mlp", 128, 300, 20, 60_000),
    Case("mnist", "mnist-cnn", 128, 40, 200, 60_000),
    Case("cifar10", "preresnet32", 128, 8, 200, 50_000),
    Case("cifar10", "resnet18", 128, 4, 200, 50_000),
)
FAST = ("--amp", "bf16", "--channels-last")


def train(case: Case, data_dir: str, out: Path, device: str) -> None:
    """One run of the command; on a GPU in bf16 and ten times as many steps."""
    steps = case.steps * (1 if device == "cpu" else 10)
    words = [
        sys.executable, "-m", "etalambda", "train", "--task", case.task, "--model",
        case.model, "--data-dir", data_dir, "--batch-size", str(case.batch), "--steps", str(steps),
        "--evaluate-size", str(case.batch), "--evaluate-every", "1000", "--device", device,
        "--checkpoint-seconds", "1e6", "--out", str(out),
    ]  # fmt: skip
    words += FAST if device != "cpu" else ()
    environment = os.environ | ({"OMP_NUM_THREADS": "1"} if device == "cpu" else {})
    subprocess.run(words, env=environment, check=True, stdout=subprocess.DEVNULL)


def row(case: Case, folder: Path) -> dict[str, Any]:
    """One line of the table from a run's record."""
    from etalambda.lab.records import read

    run = read(folder)
    found = {name: column[0] for name, column in run.tables["summary"].items()}
    clock = "cpu_seconds" if run.config["device"] == "cpu" else "seconds"
    step = float(found[clock]) / int(found["steps"])
    epoch = step * -(-case.examples // case.batch)
    return dict(
        task=case.task, model=case.model, device=run.config["device"], batch=case.batch,
        parameters=int(found["parameters"]), steps=int(found["steps"]), step_ms=1e3 * step,
        epoch_s=epoch, epochs=case.epochs, whole_h=epoch * case.epochs / 3600,
        memory_mib=float(found["memory"]) / 2**20,
    )  # fmt: skip


def main() -> None:
    """Train, print and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--data-dir", default="")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--only-print", action="store_true")
    parser.add_argument("--out", type=Path, default=EVIDENCE)
    args = parser.parse_args()
    rows = []
    print("| task | network | parameters | batch | ms a step | epoch | usual length | memory |")
    print("|---|---|---|---|---|---|---|---|")
    for case in CASES:
        folder = args.runs / f"{case.task}-{case.model}-{args.device}"
        if not args.only_print:
            train(case, args.data_dir, folder, args.device)
        if not (folder / "summary.parquet").is_file():
            continue
        rows.append(row(case, folder))
        r = rows[-1]
        print(
            f"| {r['task']} | {r['model']} | {r['parameters']:,} | {r['batch']} | "
            f"{r['step_ms']:.2f} | {r['epoch_s']:.3g} s | {r['epochs']} epochs: "
            f"{r['whole_h']:.2g} h | {r['memory_mib']:.0f} MiB |",
            flush=True,
        )
    args.out.mkdir(parents=True, exist_ok=True)
    path = args.out / f"costs-{args.device}.json"
    path.write_text(json.dumps(dict(load=os.getloadavg(), rows=rows), indent=1) + "\n")
    print(f"written: {path}")


if __name__ == "__main__":
    main()
