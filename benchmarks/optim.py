"""Speed of the optimizers against torch's fused ones, in one process and one thread.

Each ratio is the median over rounds of time(ours) / time(theirs), both taken in the same round in
alternating order, with the thread's own CPU time: what other processes do cancels.

    python -m benchmarks.optim                   # table on the terminal, about 100 s
    python -m benchmarks.optim --out FILE.json   # and the raw times
    python -m benchmarks.tables FILE.json        # the same as Markdown, for docs/performance.md
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

import torch
from torch.nn import Parameter

from etalambda.optim import SGDS, AdaiS, AdamS, keep_on_sphere, lazy_sphere

Step = Callable[[], object]


def resnet18() -> list[tuple[int, ...]]:
    """The 62 tensors of ResNet-18, 11.7M weights."""
    found: list[tuple[int, ...]] = [(64, 3, 7, 7), (64,), (64,)]
    width = 64
    for stage in (64, 128, 256, 512):
        for block in range(2):
            found += [(stage, width, 3, 3), (stage,), (stage,)]
            found += [(stage, stage, 3, 3), (stage,), (stage,)]
            if block == 0 and stage > 64:
                found += [(stage, width, 1, 1), (stage,), (stage,)]
            width = stage
    return [*found, (1000, 512), (1000,)]


SHAPES = {
    "ResNet-18": resnet18(),
    "one 10M tensor": [(10_000_000,)],
    "1000 of 1k": [(1000,)] * 1000,
}


def weights(shapes: list[tuple[int, ...]]) -> list[Parameter]:
    """Random weights with small random gradients."""
    generator = torch.Generator().manual_seed(0)
    params = [Parameter(torch.randn(shape, generator=generator)) for shape in shapes]
    for p in params:
        p.grad = torch.randn(p.shape, generator=generator) * 0.01
    return params


def stepper(make: Callable[[list[Parameter]], torch.optim.Optimizer], shapes: list) -> Step:
    """The step of a fresh optimizer on fresh weights."""
    return make(weights(shapes)).step


def clipped_adamw(shapes: list) -> Step:
    """AdamW after ``clip_grad_norm_``, the usual two lines; the norm is clipped at every step."""
    params = weights(shapes)
    optimizer = torch.optim.AdamW(params, fused=True)

    def step() -> None:
        torch.nn.utils.clip_grad_norm_(params, 1.0)
        optimizer.step()

    return step


def sphere(shapes: list) -> Step:
    """AdamW with all weights projected after every step."""
    params = weights(shapes)
    optimizer = torch.optim.AdamW(params, fused=True)
    keep_on_sphere(optimizer, params)
    return optimizer.step


def lazily(shapes: list) -> Step:
    """The same for scale-invariant weights: the projection is folded into the next step."""
    params = weights(shapes)
    optimizer = torch.optim.AdamW(params, fused=True)
    lazy_sphere(optimizer, params, degree=0)
    return optimizer.step


def shared_norm(shapes: list) -> Step:
    """AdamS that is handed the norm, as after ``clip_grad_norm_``."""
    params = weights(shapes)
    optimizer = AdamS(params)
    norm = float(torch.nn.utils.get_total_norm([p.grad for p in params if p.grad is not None]))
    return lambda: optimizer.step(grad_norm=norm)


def clip_and_share(shapes: list) -> Step:
    """``clip_grad_norm_``, whose norm AdamS then takes over."""
    params = weights(shapes)
    optimizer = AdamS(params)

    def step() -> None:
        norm = torch.nn.utils.clip_grad_norm_(params, 1.0)
        optimizer.step(grad_norm=norm.clamp(max=1.0))

    return step


SGD = dict(lr=0.1, momentum=0.9, weight_decay=5e-4)
STEPS: dict[str, Callable[[list], Step]] = {
    "AdamW": lambda shapes: stepper(lambda p: torch.optim.AdamW(p, fused=True), shapes),
    "AMSGradW": lambda shapes: stepper(
        lambda p: torch.optim.AdamW(p, fused=True, amsgrad=True), shapes
    ),
    "SGD": lambda shapes: stepper(lambda p: torch.optim.SGD(p, fused=True, **SGD), shapes),
    "clip + AdamW": clipped_adamw,
    "AdamS": lambda shapes: stepper(AdamS, shapes),
    "AdamS(max_norm)": lambda shapes: stepper(lambda p: AdamS(p, max_norm=1.0), shapes),
    "AdamS(shared norm)": shared_norm,
    "clip + AdamS(shared norm)": clip_and_share,
    "AMSGradS": lambda shapes: stepper(lambda p: AdamS(p, amsgrad=True), shapes),
    "SGDS": lambda shapes: stepper(lambda p: SGDS(p, **SGD), shapes),
    "AdaiS": lambda shapes: stepper(AdaiS, shapes),
    "AdamW on a sphere": sphere,
    "AdamW on a lazy sphere": lazily,
}
# ours, theirs (fused), shapes, the ratio that must hold, the ratio to aim for
ROWS = [
    ("AdamS", "AdamW", "ResNet-18", 1.30, 1.20),
    ("AdamS", "AdamW", "one 10M tensor", 1.30, 1.20),
    ("AdamS", "AdamW", "1000 of 1k", 1.20, 0.70),
    ("AdamS(shared norm)", "AdamW", "ResNet-18", 1.05, 0.97),
    ("AdamS(shared norm)", "AdamW", "one 10M tensor", 1.05, 0.97),
    ("clip + AdamS(shared norm)", "clip + AdamW", "ResNet-18", 1.05, 0.97),
    ("AdamS(max_norm)", "clip + AdamW", "ResNet-18", 0.85, 0.75),
    ("AdamS(max_norm)", "clip + AdamW", "one 10M tensor", 0.85, 0.75),
    ("AdamS(max_norm)", "clip + AdamW", "1000 of 1k", 0.85, 0.75),
    ("SGDS", "SGD", "ResNet-18", 1.02, 0.95),
    ("SGDS", "SGD", "one 10M tensor", 1.02, 0.95),
    ("SGDS", "SGD", "1000 of 1k", 1.02, 0.95),
    ("AdaiS", "AdamW", "ResNet-18", 3.3, 1.5),
    ("AMSGradS", "AMSGradW", "ResNet-18", 2.6, 1.7),
    ("AdamW on a lazy sphere", "AdamW", "ResNet-18", 1.30, 1.22),
    ("AdamW on a sphere", "AdamW", "ResNet-18", 1.60, 1.50),
]


def clock(step: Step) -> float:
    """CPU seconds of this thread for one step."""
    start = time.thread_time()
    step()
    return time.thread_time() - start


def measure(ours: Step, theirs: Step, rounds: int) -> tuple[list[float], list[float]]:
    """Times of both, interleaved, after a warm-up."""
    for step in (ours, theirs) * 2:
        step()
    times: tuple[list[float], list[float]] = ([], [])
    for index in range(rounds):
        for which in (0, 1) if index % 2 else (1, 0):
            times[which].append(clock((ours, theirs)[which]))
    return times


def quartiles(values: list[float]) -> tuple[float, float, float]:
    low, middle, high = statistics.quantiles(values, n=4)
    return low, middle, high


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=101, help="rounds a ratio (default: 101)")
    parser.add_argument("--only", default="", help="only ratios whose name contains this")
    parser.add_argument("--out", type=Path, help="file for the raw times, such as optim.json")
    args, _ = parser.parse_known_args()
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, {machine()}, 1 thread, load {os.getloadavg()[0]:.1f},")
    print(f"n = {args.rounds} interleaved rounds; median of ratios [quartiles], must be at most\n")
    started, rows = time.time(), []
    for ours, theirs, kind, must, aim in ROWS:
        shapes, name = SHAPES[kind], f"{ours} / {theirs}"
        if args.only not in name:
            continue
        mine, other = measure(STEPS[ours](shapes), STEPS[theirs](shapes), args.rounds)
        low, middle, high = quartiles([a / b for a, b in zip(mine, other)])
        print(f"{name:40} {kind:15} {middle:5.2f} [{low:.2f}, {high:.2f}]  {must:.2f}", flush=True)
        rows.append(
            dict(name=name, shapes=kind, must=must, aim=aim, ratio=middle, low=low, high=high)
            | dict(ours_ms=milliseconds(mine), theirs_ms=milliseconds(other))
        )
        if args.out:  # after every row: a run that is cut short has measured something
            write(args.out, rows, args.rounds)
    print(f"\n{time.time() - started:.0f} s")


def milliseconds(times: list[float]) -> list[float]:
    return [round(1e3 * t, 4) for t in times]


def machine() -> str:
    """The processor by name, where the system tells."""
    info = Path("/proc/cpuinfo")
    names = [
        line.split(":")[1].strip()
        for line in (info.read_text().splitlines() if info.is_file() else ())
        if line.startswith("model name")
    ]
    return names[0] if names else platform.processor() or platform.machine()


def write(path: Path, rows: list[dict[str, Any]], rounds: int) -> None:
    """The ratios, the times and where they were taken, as compact JSON."""
    environment = dict(
        torch=torch.__version__, python=platform.python_version(), machine=machine(), threads=1,
        processors=os.cpu_count(), load=round(os.getloadavg()[0], 1),
    )  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = ",\n".join(json.dumps(row) for row in rows)
    head = json.dumps(dict(environment=environment, rounds=rounds))[1:-1]
    path.write_text(f'{{{head}, "rows": [\n{lines}\n]}}\n')


if __name__ == "__main__":
    main()
