"""The many-trials engine against a plain torch loop, network by network.

    python -m benchmarks.engine [--models mlp cnn] [--trials 1 8 64 432] [--rounds 5] [--steps 48]

One thread; time of this thread only, so other work on the machine disturbs little; plain loop and
engine take turns in one process, and the ratio is the median over the rounds. The plain loop is
what one writes by hand: a module, torch.optim.SGD, a shuffled index into tensors in memory. Raw
numbers go to docs/evidence/bench-engine/.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from torch.nn import functional as F

from etalambda.lab.engine import Trial, train
from etalambda.lab.models import MODELS
from etalambda.lab.tasks import Digits
from etalambda.schedule import cosine

EVIDENCE = Path(__file__).parent.parent / "docs" / "evidence" / "bench-engine"


def plain(model: str, task: Digits, steps: int) -> None:
    """One network, as one would write it."""
    net = MODELS[model]()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-3)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    x, y = task.x["train"], task.y["train"]
    for step in range(steps):
        batch = step % task.steps_per_epoch
        if batch == 0:
            order = torch.randperm(len(x))
        rows = order[batch * task.batch_size : (batch + 1) * task.batch_size]
        optimizer.zero_grad()
        F.cross_entropy(net(x[rows]), y[rows]).backward()
        optimizer.step()
        scheduler.step()


def together(model: str, task: Digits, steps: int, count: int) -> None:
    """``count`` networks by the engine: 3 seeds, all lrs and decays different."""
    shape = cosine(steps)
    trials = [
        Trial(i % 3, 0.01 + 0.09 * i / count, 1e-4 * (1 + i), rules={"lr": shape})
        for i in range(count)
    ]
    options = dict(optimizer="sgd", momentum=0.9, steps=steps, every=steps)
    for _ in train(MODELS[model], task.batches, trials, **options):
        pass


def thread_seconds(job: Callable[[], None]) -> float:
    start = time.thread_time()
    job()
    return time.thread_time() - start


def measure(model: str, trials: list[int], rounds: int, steps: int) -> list[dict]:
    """One row a count of trials: milliseconds a network and step of both, and the ratio."""
    task, rows = Digits(), []
    for count in trials:
        ours, theirs = [], []
        together(model, task, 3, count)
        plain(model, task, 3)
        for _ in range(rounds):
            theirs.append(thread_seconds(lambda: plain(model, task, 8 * steps)) / 8 / steps)
            ours.append(
                thread_seconds(lambda c=count: together(model, task, steps, c)) / steps / count
            )
        ratios = [slow / fast for slow, fast in zip(theirs, ours)]
        row = dict(
            model=model,
            trials=count,
            steps=steps,
            plain_ms=[1e3 * t for t in theirs],
            engine_ms=[1e3 * t for t in ours],
            ratio=statistics.median(ratios),
            ratios=ratios,
        )
        rows.append(row)
        print(
            f"{model:4s} T={count:<4d} plain {1e3 * statistics.median(theirs):.3f} ms, engine "
            f"{1e3 * statistics.median(ours):.3f} ms a network and step: {row['ratio']:.2f}x "
            f"({min(ratios):.2f} to {max(ratios):.2f})",
            flush=True,
        )
    return rows


def main() -> None:
    """Measure, print and write the evidence."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--models", nargs="+", default=["mlp"], choices=sorted(MODELS))
    parser.add_argument("--trials", nargs="+", type=int, default=[1, 8, 64, 432])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=48)
    parser.add_argument("--out", type=Path, default=EVIDENCE)
    args = parser.parse_args()
    torch.set_num_threads(1)
    rows = [
        row for model in args.models for row in measure(model, args.trials, args.rounds, args.steps)
    ]
    args.out.mkdir(parents=True, exist_ok=True)
    made = dict(
        torch=torch.__version__, platform=platform.platform(), load=os.getloadavg(), rows=rows
    )
    name = args.out / f"engine-{'-'.join(args.models)}.json"
    name.write_text(json.dumps(made, indent=1) + "\n")
    print(f"written: {name}")


if __name__ == "__main__":
    main()
