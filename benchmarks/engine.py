"""The many-trials engine against a plain torch loop, network by network.

    python -m benchmarks.engine [--models mlp cnn resnet] [--trials 1 8 64 432] [--device cuda]
    python -m benchmarks.engine --figure3 500 --data-dir FOLDER --device cuda --out FOLDER

On the CPU one thread, and time of this thread only, so other work on the machine disturbs little;
on a GPU wall time up to the end of its work. Plain loop and engine take turns in one process, and
the ratio is the median over the rounds. The plain loop is what one writes by hand: a module,
torch.optim.SGD, a shuffled index into tensors in memory. Raw numbers go to
docs/evidence/bench-engine/.

``--figure3 T`` takes T trials of figure 3 of li2020 (LLA-M2: 3 convolutions with BatchNorm, the
last layer and all gains frozen; MNIST, batch 128) in one process, for some steps of the schedule,
and says what all 200 epochs would take.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from torch import nn
from torch.nn import functional as F

from etalambda.lab.engine import Trial, chunk_size, train
from etalambda.lab.models import MODELS
from etalambda.lab.models.convnets import mnist_cnn
from etalambda.lab.models.zoo import freeze_for_scale_invariance
from etalambda.lab.tasks import Digits
from etalambda.lab.tasks.passes import permutation, shuffled
from etalambda.schedule import cosine, multi_step

EVIDENCE = Path(__file__).parent.parent / "docs" / "evidence" / "bench-engine"
EPOCHS = 200  # of figure 3


def plain(make: Callable[[], nn.Module], task: Any, steps: int, device: str) -> None:
    """One network, as one would write it."""
    net = make().to(device)
    free = [p for p in net.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(free, lr=0.05, momentum=0.9, weight_decay=1e-3)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    x, y = task.x["train"], task.y["train"]
    for step in range(steps):
        batch = step % task.steps_per_epoch
        if batch == 0:
            order = torch.randperm(len(x)).to(device)
        rows = order[batch * task.batch_size : (batch + 1) * task.batch_size]
        optimizer.zero_grad()
        F.cross_entropy(net(x[rows]), y[rows]).backward()
        optimizer.step()
        scheduler.step()


def together(make: Callable[[], nn.Module], task: Any, steps: int, count: int, device: str) -> None:
    """``count`` networks by the engine: 3 seeds, all lrs and decays different."""
    shape = cosine(steps)
    trials = [
        Trial(i % 3, 0.01 + 0.09 * i / count, 1e-4 * (1 + i), rules={"lr": shape})
        for i in range(count)
    ]
    options: dict[str, Any] = dict(optimizer="sgd", momentum=0.9, steps=steps, every=steps)
    for _ in train(make, task.batches, trials, device=device, **options):
        pass


def seconds(job: Callable[[], None], device: str) -> float:
    """Time of this thread on the CPU; wall time to the end of its work on a GPU."""
    if device == "cpu":
        start = time.thread_time()
        job()
        return time.thread_time() - start
    torch.cuda.synchronize()
    start = time.perf_counter()
    job()
    torch.cuda.synchronize()
    return time.perf_counter() - start


def measure(
    model: str, trials: list[int], rounds: int, steps: int, device: str, batch: int
) -> list[dict]:
    """One row a count of trials: milliseconds a network and step of both, and the ratio."""
    task, make, rows = Digits(device=device, batch_size=batch), MODELS[model], []
    for count in trials:
        ours, theirs = [], []
        together(make, task, 3, count, device)
        plain(make, task, 3, device)
        for _ in range(rounds):
            long = 8 * steps
            theirs.append(seconds(lambda n=long: plain(make, task, n, device), device) / long)
            run = seconds(lambda c=count: together(make, task, steps, c, device), device)
            ours.append(run / steps / count)
        ratios = [slow / fast for slow, fast in zip(theirs, ours)]
        row = dict(
            model=model,
            batch=batch,
            trials=count,
            steps=steps,
            plain_ms=[1e3 * t for t in theirs],
            engine_ms=[1e3 * t for t in ours],
            ratio=statistics.median(ratios),
            ratios=ratios,
        )
        rows.append(row)
        slow, fast = (1e3 * statistics.median(times) for times in (theirs, ours))
        print(
            f"{model:6s} B={batch:<3d} T={count:<4d} plain {slow:.3f} ms, engine {fast:.3f} ms a "
            f"network and step: {row['ratio']:.2f}x ({min(ratios):.2f} to {max(ratios):.2f})",
            flush=True,
        )
    return rows


class Mnist:
    """MNIST in memory, normalized as a whole, batches of 128."""

    batch_size = 128

    def __init__(self, data_dir: Path, device: str) -> None:
        from etalambda.lab.data import load

        found: Any = load("mnist", data_dir)
        x = {s: torch.tensor(getattr(found, s).images / 255.0).float() for s in ("train", "test")}
        mean, std = x["train"].mean(), x["train"].std()
        self.x = {split: ((v - mean) / std).to(device) for split, v in x.items()}
        self.y = {s: torch.tensor(getattr(found, s).labels).to(device) for s in x}
        self.steps_per_epoch = -(-len(x["train"]) // self.batch_size)

    def batches(self, trials: Any) -> Any:
        order = partial(permutation, len(self.x["train"]))
        sizes = self.batch_size, self.steps_per_epoch
        return shuffled(self.x["train"], self.y["train"], trials, *sizes, order)


def figure3_trials(count: int, per_epoch: int) -> list[Trial]:
    """A third each: constant η = λ = 0.1; η from 0.4 halved twice; λ from 0.4 halved twice."""
    halved = multi_step([40 * per_epoch, 80 * per_epoch], 0.5)
    kinds: list[dict[str, Any]] = [
        dict(lr=0.1, weight_decay=0.1),
        dict(lr=0.4, weight_decay=0.1, rules={"lr": halved}),
        dict(lr=0.1, weight_decay=0.4, rules={"weight_decay": halved}),
    ]
    return [Trial(seed=i, **kinds[i % 3]) for i in range(count)]


def figure3(count: int, task: Any, steps: int, width: int, device: str) -> dict[str, Any]:
    """Throughput of ``count`` trials; of each chunk the second half of the steps is timed."""

    def make() -> nn.Module:
        net = mnist_cnn(width=width)
        freeze_for_scale_invariance(net)
        return net

    trials = figure3_trials(count, task.steps_per_epoch)
    size, half = chunk_size(make, task.batches, trials, device), steps // 2
    if device != "cpu":
        torch.cuda.reset_peak_memory_stats()
    spans, started, alive = [], 0.0, 0
    for seen in train(make, task.batches, trials, optimizer="sgd", steps=2 * half, every=half,
                      device=device, chunk=size):  # fmt: skip
        if device != "cpu":
            torch.cuda.synchronize()
        if seen.step == half:
            started = time.perf_counter()
        if seen.step == 2 * half:
            spans.append(time.perf_counter() - started)
            alive += int(seen.alive.sum())
    each = sum(spans) / half / count
    plain(make, task, 5, device)
    alone = seconds(lambda: plain(make, task, 4 * steps, device), device) / (4 * steps)
    memory = torch.cuda.max_memory_allocated() if device != "cpu" else 0
    hours = each * count * task.steps_per_epoch * EPOCHS / 3600
    print(
        f"figure 3: {count} trials of width {width}, {size} at a time, {1e3 * each:.3f} ms a "
        f"network and step, plain {1e3 * alone:.3f} ms: {alone / each:.1f}x; all {EPOCHS} epochs "
        f"of all trials: {hours:.1f} h instead of {hours * alone / each:.1f} h; {alive} alive; "
        f"{memory / 2**30:.1f} GiB",
        flush=True,
    )
    return dict(
        trials=count, width=width, chunk=size, steps=2 * half, engine_ms=1e3 * each,
        plain_ms=1e3 * alone, ratio=alone / each, hours=hours, alive=alive, memory=memory,
    )  # fmt: skip


def main() -> None:
    """Measure, print and write the evidence."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--models", nargs="*", default=["mlp"], choices=sorted(MODELS))
    parser.add_argument("--trials", nargs="+", type=int, default=[1, 8, 64, 432])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=48)
    parser.add_argument("--batches", nargs="+", type=int, default=[50])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--figure3", type=int, default=0, metavar="TRIALS")
    parser.add_argument("--widths", nargs="+", type=int, default=[8, 32], help="of figure 3's CNN")
    parser.add_argument("--data-dir", type=Path, help="where MNIST is, for --figure3")
    parser.add_argument("--out", type=Path, default=EVIDENCE)
    args = parser.parse_args()
    torch.set_num_threads(1)
    options = args.trials, args.rounds, args.steps, args.device
    made: dict[str, Any] = dict(
        torch=torch.__version__,
        platform=platform.platform(),
        device=torch.cuda.get_device_name() if args.device != "cpu" else "cpu",
        load=os.getloadavg(),
        rows=[
            row
            for model in args.models
            for batch in args.batches
            for row in measure(model, *options, batch)
        ],
    )
    if args.figure3:
        task = Mnist(args.data_dir, args.device)
        made["figure3"] = [
            figure3(args.figure3, task, args.steps, width, args.device) for width in args.widths
        ]
    args.out.mkdir(parents=True, exist_ok=True)
    what = [*args.models, *(["figure3"] if args.figure3 else [])]
    name = args.out / f"engine-{'-'.join(what)}{'' if args.device == 'cpu' else '-gpu'}.json"
    name.write_text(json.dumps(made, indent=1) + "\n")
    print(f"written: {name}")


if __name__ == "__main__":
    main()
