"""Whose difference is it? Two FSDP2 ranks against one process in float32, and torch's own AdamW.

Two ranks that take half a batch each add up two gradients; one process takes one of the whole. The
sums round differently, and whatever the optimizer does with that is the difference of the weights
after 20 steps. The control is torch's AdamW in the same script, and the same batch on both ranks,
where the gradients are equal. The network, the batches and the runs are those of
``tests/optim/test_distributed.py``; a seed draws its own weights and batches.

    python -m benchmarks.fsdp2_control --seeds 8 --out docs/evidence/fsdp2-control/result.json
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import tempfile
from pathlib import Path
from typing import Any

import torch
import torch.multiprocessing as mp
from torch.distributed.device_mesh import init_device_mesh

from tests.optim import _dist
from tests.two_ranks import run_scenarios

ADAMW: dict[str, Any] = dict(lr=3e-4, weight_decay=0.5)
MAKE = {
    "torch AdamW for loop": lambda ps: torch.optim.AdamW(ps, foreach=False, **ADAMW),
    "torch AdamW foreach": lambda ps: torch.optim.AdamW(ps, foreach=True, **ADAMW),
    "torch AdamW fused": lambda ps: torch.optim.AdamW(ps, fused=True, **ADAMW),
    "torch SGD": lambda ps: torch.optim.SGD(ps, lr=3e-3, momentum=0.9, weight_decay=0.06),
} | {name: make for name, make in _dist.MAKE.items() if not name.startswith("torch")}
STEPS = 20
BATCHES = {"each rank half the batch": True, "the whole batch on both ranks": False}
DTYPES = {"float32": torch.float32, "float64": torch.float64}


def gap(name: str, dtype: torch.dtype, seed: int, rank: int | None) -> float:
    """The largest difference of a weight between the ranks and one process."""
    start = 1000 * seed  # batches of its own
    alone = _dist.net(dtype, seed)
    _dist.train(alone, MAKE[name](alone.parameters()), STEPS, start)
    ranks = _dist.shard(_dist.net(dtype, seed), init_device_mesh("cpu", (2,)))
    _dist.train(ranks, MAKE[name](ranks.parameters()), STEPS, start, rank)
    return _dist.error(ranks, [p.detach() for p in alone.parameters()])


def process(rank: int, folder: str, seeds: int) -> None:
    """One of the two ranks; the first one writes what it found."""
    torch.set_num_threads(1)

    def measure(rank: int, folder: str) -> None:
        found = {
            dtype: {
                batches: {
                    name: [gap(name, DTYPES[dtype], seed, rank if half else None)
                           for seed in range(seeds)]
                    for name in MAKE
                }
                for batches, half in BATCHES.items()
            }
            for dtype in DTYPES
        }  # fmt: skip
        if rank == 0:
            Path(folder, "found.json").write_text(json.dumps(found))

    run_scenarios([measure], rank, folder)


def line(name: str, values: list[float]) -> str:
    """Median and range of a case."""
    low, high = min(values), max(values)
    return f"  {name:22}{statistics.median(values):9.1e}  ({low:.1e} to {high:.1e})"


def main() -> None:
    """Measure, print the medians, write the file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--out", type=Path, default=None, help="write the result as JSON")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        mp.spawn(process, (folder, options.seeds), nprocs=2)
        for rank in (0, 1):
            if (ended := Path(folder, f"measure-{rank}").read_text()) != "equal":
                raise SystemExit(ended)
        found = json.loads(Path(folder, "found.json").read_text())
    for dtype, cases in found.items():
        for batches, rows in cases.items():
            print(f"{dtype}, {batches}: largest difference of a weight, n = {options.seeds}")
            print(*(line(name, values) for name, values in rows.items()), sep="\n")
    result = dict(
        what="largest absolute difference of a weight to one process after the steps, one a seed",
        torch=torch.__version__,
        python=platform.python_version(),
        processor=platform.machine(),
        ranks=2,
        backend="gloo",
        steps=STEPS,
        seeds=list(range(options.seeds)),
        found=found,
    )
    if options.out is not None:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
