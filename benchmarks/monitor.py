"""What it costs to see: every quantity of `etalambda.diagnose` in units of one training step.

ResNet-18 as the lab has it for 32x32 images (11.2M weights, 62 tensors), AdamW, one thread; on the
CPU at batch 64 and, where there is one, on the GPU at batch 128. A cost is the median time of one
call over the median time of one step, both taken in one process. The default panel (norms, angles,
budget; `Panel` every 10 steps) is also timed as users meet it, by steps with and without a
`Monitor` in alternation; on a GPU under ``torch.cuda.set_sync_debug_mode("error")``.

    python -m benchmarks.monitor                     # table on the terminal, about a minute
    python -m benchmarks.monitor --out FILE.json     # and the raw times

Needs torch, numpy and scipy only. The last row is the Lanczos row: both edges of the Hessian of a
CNN of 100 000 weights, two threads, against 64 steps in float64 and their residuals.
"""

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from torch import nn
from torch.nn import functional as F

from etalambda import diagnose
from etalambda.diagnose import Monitor, Panel, every
from etalambda.lab.models.zoo import make
from etalambda.optim import AdamS

LOSS = nn.CrossEntropyLoss()


class Bench:
    """A network in training on one device, and a clock for it."""

    def __init__(self, device: str, batch: int, lr: Any = 1e-3, adams: bool = False) -> None:
        torch.manual_seed(0)
        self.device = torch.device(device)
        self.model = make("resnet18").to(self.device)
        self.x = torch.randn(batch, 3, 32, 32, device=self.device)
        self.y = torch.randint(10, (batch,), device=self.device)
        groups = self.model.parameters()
        if adams:
            self.optimizer: torch.optim.Optimizer = AdamS(groups, lr=lr, weight_decay=5e-4)
        else:
            capturable = isinstance(lr, torch.Tensor)
            options: dict[str, Any] = dict(capturable=True) if capturable else dict(fused=True)
            self.optimizer = torch.optim.AdamW(groups, lr=lr, weight_decay=0.1, **options)

    def step(self) -> None:
        """One training step."""
        self.optimizer.zero_grad()
        LOSS(self.model(self.x), self.y).backward()
        self.optimizer.step()

    def seconds(self, job: Callable[[], Any]) -> float:
        """Wall time of one call, the device's work included."""
        self.wait()
        start = time.perf_counter()
        job()
        self.wait()
        return time.perf_counter() - start

    def wait(self) -> None:
        """Until the device has nothing left to do."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()


def quantities(bench: Bench) -> dict[str, Callable[[], Any]]:
    """Name -> one call of it. ``(k)`` in a name says what was counted."""
    optimizer, model, batch = bench.optimizer, bench.model, (bench.x, bench.y)
    panel, turns = Panel(), diagnose.AngularUpdates()
    found = {
        "optimizer step alone": optimizer.step,
        "intrinsic_lr": lambda: diagnose.intrinsic_lr(optimizer),
        "predicted_angles": lambda: diagnose.predicted_angles(optimizer),
        "decay_budget, 10 000 steps": lambda: diagnose.decay_budget(optimizer, steps=10_000),
        "weight_norms": lambda: diagnose.weight_norms(optimizer),
        "effective_lr": lambda: diagnose.effective_lr(optimizer),
        "stats": lambda: diagnose.stats(optimizer),
        "AngularUpdates": lambda: turns(optimizer),
        "Panel": lambda: panel(optimizer),
    }
    panel(optimizer), turns(optimizer)  # the first call copies the weights
    small = (bench.x[:16], bench.y[:16])
    heavy = {
        "gradient_noise_trace": lambda: diagnose.gradient_noise_trace(model, LOSS, batch),
        "homogeneity, 16 samples": lambda: diagnose.homogeneity(model, bench.x[:16]),
        "loss_slice, a point": _one_point(model, batch),
        "curvature, 2 Hessian products, batch 16": lambda: diagnose.curvature(
            model, LOSS, small, steps=2
        ),
    }
    if bench.device.type == "cuda":
        heavy["curvature, 64 Hessian products"] = lambda: diagnose.curvature(
            model, LOSS, batch, steps=64
        )
        heavy["empirical_ntk, 2 inputs"] = lambda: _evaluated(
            model, lambda: diagnose.empirical_ntk(model, bench.x[:2])
        )
    return found | heavy


def _one_point(model: nn.Module, batch: Any) -> Callable[[], Any]:
    direction = diagnose.filter_normalized_direction(model)
    return lambda: diagnose.loss_slice(model, LOSS, batch, [direction], [0.1])


def _evaluated(model: nn.Module, job: Callable[[], Any]) -> Any:
    model.eval()
    try:
        return job()
    finally:
        model.train()


def host_quantities() -> dict[str, Callable[[], Any]]:
    """What needs no network: series and predictions."""
    norms = torch.linspace(1, 2, 10_000, dtype=torch.float64)
    trials = torch.randint(10, (500, 1000))
    return {
        "equilibrium, 10 000 samples": lambda: diagnose.equilibrium(norms, 1e-3),
        "total_variation, 2 x 250 trials x 1000 inputs": lambda: diagnose.total_variation(
            trials[:250], trials[250:], 10
        ),
    }


def costs(bench: Bench, limit: float) -> list[dict[str, Any]]:
    """One row a quantity; each is repeated for at most its share of ``limit`` seconds."""
    bench.step()
    jobs = quantities(bench) | host_quantities()
    steps = [bench.seconds(bench.step) for _ in range(3 if bench.device.type == "cpu" else 30)]
    one, share, rows = statistics.median(steps), limit / len(jobs), []
    rows.append(_row(bench, "training step", steps, one))
    for name, job in jobs.items():
        try:
            first, times = bench.seconds(job), []  # the warm-up, and all there is of a slow one
        except RuntimeError as error:  # an operation that a device lacks costs one row
            rows.append(dict(device=bench.device.type, quantity=name, error=str(error)[:200]))
            print(f"{bench.device.type:5} {name}: {str(error).splitlines()[0]}", flush=True)
            continue
        end = time.perf_counter() + share
        while first < share and len(times) < 30 and (len(times) < 3 or time.perf_counter() < end):
            times.append(bench.seconds(job))
        rows.append(_row(bench, name, times or [first], one))
    return rows


def _row(bench: Bench, name: str, times: list[float], step: float) -> dict[str, Any]:
    row = dict(
        device=bench.device.type,
        quantity=name,
        n=len(times),
        milliseconds=1e3 * statistics.median(times),
        fastest=1e3 * min(times),
        slowest=1e3 * max(times),
        steps=statistics.median(times) / step,
    )
    print(
        f"{row['device']:5} {name:46} {row['milliseconds']:10.3f} ms  {row['steps']:10.5f} steps  "
        f"(n {row['n']})",
        flush=True,
    )
    return row


def amortized(bench: Bench, step_ms: float) -> dict[str, Any]:
    """The Monitor with its default panel every 10 steps, a step, without any training between.

    What a training step adds to it is nothing but waiting, so this is resolved to microseconds
    where a difference of two training loops is not.
    """
    monitor = Monitor(bench.optimizer, every(10), panel=Panel(steps=10))
    hook = monitor._after_step
    for _ in range(20):
        hook()
    times = [bench.seconds(lambda: [hook() for _ in range(10)]) / 10 for _ in range(10)]
    monitor.remove()
    row = _row(bench, "Monitor + Panel, every 10: a step", times, step_ms / 1e3)
    idle = Monitor(bench.optimizer, lambda step: False)
    times = [bench.seconds(lambda: [idle._after_step() for _ in range(10)]) / 10 for _ in range(10)]
    idle.remove()
    return dict(panel=row, idle=_row(bench, "Monitor, K alone: a step", times, step_ms / 1e3))


def overhead(bench: Bench, rounds: int, block: int) -> dict[str, Any]:
    """Training with and without the Monitor, in alternating blocks: the ratio of their times."""
    monitor = Monitor(bench.optimizer, every(10), panel=Panel(steps=10))
    monitor.remove()

    def run() -> None:
        for _ in range(block):
            bench.step()

    def monitored() -> float:
        handle = bench.optimizer.register_step_post_hook(monitor._after_step)
        try:
            return bench.seconds(run)
        finally:
            handle.remove()

    ways, ratios = (monitored, lambda: bench.seconds(run)), []
    for index in range(-1, rounds):  # the first round warms up
        order = (0, 1) if index % 2 else (1, 0)
        times = {which: ways[which]() for which in order}
        ratios.append(times[0] / times[1])
    ratios = ratios[1:]
    low, middle, high = statistics.quantiles(ratios, n=4)
    print(
        f"{bench.device.type:5} training with the panel / without: {middle:.4f} "
        f"[{low:.4f}, {high:.4f}] (n {rounds} pairs of {block} steps)",
        flush=True,
    )
    return dict(ratio=middle, low=low, high=high, rounds=rounds, block=block, ratios=ratios)


def without_sync(batch: int) -> dict[str, str]:
    """Whether 40 monitored steps pass without the host waiting for the GPU; else the error."""
    found = {}
    cases: dict[str, Callable[[], Bench]] = {
        "AdamW": lambda: Bench("cuda", batch),
        "AdamW, lr on the device": lambda: Bench("cuda", batch, torch.tensor(1e-3, device="cuda")),
        "AdamS": lambda: Bench("cuda", batch, adams=True),
    }
    for name, build in cases.items():
        bench, seen = build(), []
        monitor = Monitor(bench.optimizer, every(10), panel=Panel(steps=10, per="tensor"))
        monitor.to(seen.append)
        for _ in range(25):  # the ring is made at the first row, and grows at the second
            bench.step()
        torch.cuda.synchronize()
        torch.cuda.set_sync_debug_mode("error")
        try:
            hook = monitor._after_step
            for _ in range(40):
                bench.optimizer.zero_grad()
                LOSS(bench.model(bench.x), bench.y).backward()
                hook()  # the optimizer's own step may wait; ours may not
            found[name] = "none"
        except RuntimeError as error:
            found[name] = str(error).splitlines()[0]
        finally:
            torch.cuda.set_sync_debug_mode("default")
        monitor.flush()
        late = [row["panel/norm/total"] for row in seen]
        finite = all(value == value and value > 0 for value in late)
        found[name] += f"; {len(seen)} rows, all finite: {finite}"
        print(f"cuda  host waits, {name}: {found[name]}", flush=True)
    return found


class CNN(nn.Module):
    """Two convolutions and two linear layers: 99 550 weights."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 16, 3, padding=1), nn.Conv2d(16, 32, 3, padding=1)
        self.hidden, self.last = nn.Linear(32 * 7 * 7, 60), nn.Linear(60, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, 1, 28, 28) -> logits."""
        x = F.max_pool2d(torch.relu(self.first(x)), 2)
        x = F.max_pool2d(torch.relu(self.second(x)), 2)
        return self.last(torch.relu(self.hidden(x.flatten(1))))


def lanczos_edges(device: str) -> dict[str, Any]:
    """Both edges of the Hessian of a briefly trained CNN, and how far they are from the truth."""
    before = torch.get_num_threads()
    torch.set_num_threads(min(2, os.cpu_count() or 1))
    torch.manual_seed(0)
    net = CNN()
    x, y = torch.randn(256, 1, 28, 28), torch.randint(10, (256,))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    for _ in range(30):
        optimizer.zero_grad()
        LOSS(net(x), y).backward()
        optimizer.step()
    net, x, y = net.to(device), x.to(device), y.to(device)
    truth = diagnose.curvature(net, LOSS, (x, y), steps=64, dtype=torch.float64)
    rows = []
    for steps in (32, 48, 64):
        start = time.perf_counter()
        found = diagnose.curvature(net, LOSS, (x, y), steps=steps)
        seconds = time.perf_counter() - start
        size = max(abs(truth.minimum), abs(truth.maximum))
        rows.append(
            dict(
                steps=steps,
                seconds=seconds,
                error_low=abs(found.minimum - truth.minimum) / size,
                error_high=abs(found.maximum - truth.maximum) / size,
                minimum=found.minimum,
                maximum=found.maximum,
            )
        )
        print(
            f"{device:5} Lanczos, {steps:3} products, {sum(p.numel() for p in net.parameters())} "
            f"weights: {seconds:.2f} s, edges off by {rows[-1]['error_low']:.1e} and "
            f"{rows[-1]['error_high']:.1e} of the largest",
            flush=True,
        )
    torch.set_num_threads(before)
    spectrum = truth.spectrum
    return dict(
        device=device,
        weights=sum(p.numel() for p in net.parameters()),
        residual_low=spectrum.error_low,
        residual_high=spectrum.error_high,
        rows=rows,
    )


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--batch", type=int, help="images a step (default: 64, on a GPU 128)")
    parser.add_argument("--devices", nargs="+", help="cpu, cuda (default: what there is)")
    parser.add_argument("--rounds", type=int, default=15, help="pairs of blocks on a GPU")
    parser.add_argument("--out", type=Path, help="file of the raw numbers (JSON)")
    args, _ = parser.parse_known_args()
    torch.set_num_threads(1)
    devices = args.devices or ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    made: dict[str, Any] = dict(
        torch=torch.__version__,
        machine=platform.platform(),
        gpu=torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        threads=1,
        load=os.getloadavg(),
        devices={},
    )
    print(f"torch {made['torch']}, {made['gpu'] or 'no GPU'}, 1 thread\n")
    for device in devices:
        batch = args.batch or (128 if device == "cuda" else 64)
        bench = Bench(device, batch)
        rows = costs(bench, 5.0)
        made["devices"][device] = dict(
            batch=batch, rows=rows, **amortized(bench, rows[0]["milliseconds"])
        )
        if device == "cuda":
            made["devices"][device]["overhead"] = overhead(bench, args.rounds, 30)
            made["devices"][device]["host_waits"] = without_sync(batch)
        made["devices"][device]["lanczos"] = lanczos_edges(device)
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps(made, indent=1) + "\n")
        print(f"written: {args.out}")


if __name__ == "__main__":
    main()
