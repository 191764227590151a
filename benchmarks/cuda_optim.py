"""Speed of the optimizers on a CUDA device against torch's fused ones.

A ratio is the median over rounds of time(ours) / time(theirs), both taken in the same round in
alternating order between CUDA events, after a warm-up. "eager" calls ``step``; "captured" replays a
CUDA graph of it (``capturable=True``), which leaves the host out.

    python -m benchmarks.cuda_optim --out FILE.json    # a table, and the numbers in FILE
    python -m benchmarks.cuda_optim --quick            # seconds, also without a GPU: does it run?

What the rows of AdamS compare: by default it takes the single pass of Triton, 7 words an element
where the decay may lag a step. Gradients are constant here, so it always may: ``exact`` has a decay
so strong that it never may (8 words), and training lies between the two. ``stock`` forbids the
single pass (``foreach=True``). ``limit`` is the time that the bytes of the algorithm need at the
copy bandwidth of this card, over the time taken.
"""

import argparse
import gc
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch.nn import Parameter

from benchmarks.optim import resnet18
from etalambda.optim import SGDS, AdaiS, AdamS, keep_on_sphere

HAS_CUDA = torch.cuda.is_available()
DEVICE = "cuda" if HAS_CUDA else "cpu"
Step = Callable[[], object]


def gpt(layers: int = 6, width: int = 384, vocabulary: int = 50304) -> list[tuple[int, ...]]:
    """The tensors of a GPT of 30M weights, head tied to the embedding."""
    block = [(width,), (width,), (3 * width, width), (3 * width,), (width, width), (width,)]
    block += [(width,), (width,), (4 * width, width), (4 * width,), (width, 4 * width), (width,)]
    return [(vocabulary, width), (1024, width), *(block * layers), (width,), (width,)]


SHAPES: dict[str, list[tuple[int, ...]]] = {
    "ResNet-18": resnet18(),
    "one of 10M": [(10_000_000,)],
    "1000 of 1k": [(1000,)] * 1000,
    "GPT 30M": gpt(),
    "300M": gpt(layers=24, width=1000, vocabulary=12000),
}
SGD = dict(lr=0.1, momentum=0.9, weight_decay=5e-4)
Maker = Callable[[list[Parameter], bool], torch.optim.Optimizer]


def adamw(params: list[Parameter], graph: bool, amsgrad: bool = False) -> torch.optim.Optimizer:
    return torch.optim.AdamW(params, fused=True, capturable=graph, amsgrad=amsgrad)


MAKERS: dict[str, tuple[Maker, int]] = {  # and the words an element that must move
    "AdamW": (adamw, 7),
    "AMSGradW": (lambda p, graph: adamw(p, graph, amsgrad=True), 9),
    "SGD": (lambda p, graph: torch.optim.SGD(p, fused=True, **SGD), 5),
    "clip + AdamW": (adamw, 10),
    "AdamS": (lambda p, graph: AdamS(p, capturable=graph), 7),
    "AdamS(exact)": (lambda p, graph: AdamS(p, weight_decay=0.05, capturable=graph), 8),
    "AdamS(stock)": (lambda p, graph: AdamS(p, capturable=graph, foreach=True), 7),
    "AdamS(max_norm)": (lambda p, graph: AdamS(p, max_norm=1.0, capturable=graph), 8),
    "AdamS(bf16)": (lambda p, graph: AdamS(p, capturable=graph), 7),
    "AMSGradS": (lambda p, graph: AdamS(p, amsgrad=True, capturable=graph), 9),
    "SGDS": (lambda p, graph: SGDS(p, **SGD), 5),
    "AdaiS": (lambda p, graph: AdaiS(p, capturable=graph), 9),
    "AdamW on a sphere": (adamw, 10),
}  # fmt: skip
# ours, theirs (fused), wanted at most; None where the issue names no number for CUDA
ROWS: list[tuple[str, str, float | None]] = [
    ("AdamS", "AdamW", 1.20),
    ("AdamS(exact)", "AdamW", 1.20),
    ("AdaiS", "AdamW", None),
    ("AdamS(max_norm)", "clip + AdamW", None),
    ("SGDS", "SGD", None),
    ("AMSGradS", "AMSGradW", None),
    ("AdamS(stock)", "AdamW", None),
    ("AdamW on a sphere", "AdamW", None),
]
EAGER_ONLY = {"AdamW on a sphere"}  # its projection reads a norm


class Case:
    """One optimizer on fresh weights: ``run()`` takes a step, eagerly or as a graph replay."""

    def __init__(self, name: str, shapes: list[tuple[int, ...]], captured: bool) -> None:
        generator = torch.Generator(DEVICE).manual_seed(0)
        kind = torch.bfloat16 if name.endswith("(bf16)") else torch.float32

        def draw(shape: tuple[int, ...]) -> torch.Tensor:
            return torch.randn(shape, generator=generator, device=DEVICE).to(kind)

        gc.collect()  # cases of former rows refer to themselves
        before = torch.cuda.memory_allocated() if HAS_CUDA else 0
        self.params = [Parameter(draw(shape)) for shape in shapes]
        for p in self.params:
            p.grad = draw(p.shape) * 0.01
        maker, self.words = MAKERS[name]
        self.optimizer = maker(self.params, captured)
        self.clips = name.startswith("clip")
        if name.endswith("sphere"):
            keep_on_sphere(self.optimizer, self.params)
        self.count = sum(p.numel() for p in self.params)
        self.run: Step = self.step
        for _ in range(3):
            self.step()
        if HAS_CUDA:
            torch.cuda.synchronize()
            self.bytes = (torch.cuda.memory_allocated() - before) / self.count
        else:
            self.bytes = 0.0
        if captured and HAS_CUDA:
            self.run = self.capture()
            self.run()

    def step(self) -> None:
        if self.clips:
            torch.nn.utils.clip_grad_norm_(self.params, 1.0, foreach=True)
        self.optimizer.step()

    def capture(self) -> Step:
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(2):
                self.step()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self.step()
        self.graph = graph
        return graph.replay


def clock(run: Step, repeats: int) -> float:
    """Milliseconds a step, between CUDA events around ``repeats`` of them."""
    if not HAS_CUDA:
        start = time.perf_counter()
        run()
        return 1e3 * (time.perf_counter() - start)
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    for _ in range(repeats):
        run()
    end.record()
    end.synchronize()
    return start.elapsed_time(end) / repeats


def bandwidth() -> float:
    """GB/s of a device-to-device copy of 2 GB, bytes read and written."""
    if not HAS_CUDA:
        return 1.0
    source = torch.randn(512 * 1024 * 1024, device=DEVICE)
    target = torch.empty_like(source)
    times = [clock(lambda: target.copy_(source), 3) for _ in range(7)]
    return 2 * source.nbytes / statistics.median(times[2:]) / 1e6


def compare(ours: Case, theirs: Case, rounds: int, deadline: float) -> tuple[list[float], ...]:
    """Times of both in ms a step, round by round in alternating order."""
    repeats = max(1, min(20, int(4.0 / max(clock(theirs.run, 1), 1e-3))))
    for case in (ours, theirs) * 2:
        clock(case.run, repeats)
    times: tuple[list[float], list[float]] = ([], [])
    for index in range(rounds):
        if index > 4 and time.monotonic() > deadline:
            break
        for which in (0, 1) if index % 2 else (1, 0):
            times[which].append(clock((ours, theirs)[which].run, repeats))
    return times


def row(
    ours: str, theirs: str, kind: str, captured: bool, args: argparse.Namespace, gb: float
) -> dict:
    shapes = [(7,), (3, 5)] if args.quick and not HAS_CUDA else SHAPES[kind]
    a, b = Case(ours, shapes, captured), Case(theirs, shapes, captured)
    mine, other = compare(a, b, args.rounds, time.monotonic() + args.row_seconds)
    ratios = sorted(x / y for x, y in zip(mine, other))
    low, middle, high = statistics.quantiles(ratios, n=4)
    ms = statistics.median(mine)
    limit = a.count * a.words * 4 / gb / 1e6
    return dict(
        ours=ours, theirs=theirs, shapes=kind, mode="captured" if captured else "eager",
        n=len(ratios), ratio=round(middle, 4), low=round(low, 4), high=round(high, 4),
        ours_us=round(1e3 * ms, 2), theirs_us=round(1e3 * statistics.median(other), 2),
        limit=round(limit / ms, 3), state_bytes=round(a.bytes, 2), theirs_bytes=round(b.bytes, 2),
    )  # fmt: skip


def sweep(args: argparse.Namespace) -> list[dict]:
    """How the single pass likes its work cut; only looked at to set its table of cuts."""
    from etalambda.optim import _adams_single_pass as cut

    found, former = [], dict(cut.CUTS)
    for kind in ("ResNet-18", "GPT 30M", "300M"):
        theirs = Case("AdamW", SHAPES[kind], True)
        for chunk, block, warps in CUTS:
            cut.CUTS = {0: dict(chunk=chunk, block=block, warps=warps)}
            for name in ("AdamS", "AdamS(exact)"):
                ours = Case(name, SHAPES[kind], True)
                mine, other = compare(ours, theirs, 7, time.monotonic() + 1)
                ratio = statistics.median(x / y for x, y in zip(mine, other))
                found.append(
                    dict(shapes=kind, name=name, chunk=chunk, block=block, warps=warps)
                    | dict(ratio=round(ratio, 4), us=round(1e3 * statistics.median(mine), 2))
                )
                print(*found[-1].values(), flush=True)
                del ours
    cut.CUTS = former
    return found


CUTS = [
    (1024, 1024, 4), (2048, 1024, 4), (4096, 512, 4), (4096, 1024, 4), (4096, 2048, 8),
    (8192, 1024, 4), (16384, 1024, 4), (32768, 512, 4), (32768, 1024, 4), (32768, 2048, 8),
]  # fmt: skip


def waits() -> dict[str, str]:
    """Whether a step makes the host wait, by torch's own sync debug mode."""
    found = {}
    for name in MAKERS if HAS_CUDA else ():
        case = Case(name, [(64, 64), (64,)], False)
        torch.cuda.set_sync_debug_mode("error")
        try:
            case.step()
            found[name] = "no"
        except RuntimeError as error:
            found[name] = str(error).split("\n")[0][:80]
        finally:
            torch.cuda.set_sync_debug_mode("default")
    return found


def table(rows: list[dict]) -> None:
    """Markdown, as docs/performance.md has it."""
    print(
        "| ratio | tensors | mode | median [quartiles] | n | ours µs | theirs | limit | B/weight |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for r in rows:
        name = f"{r['ours']} / {r['theirs']}"
        print(
            f"| {name} | {r['shapes']} | {r['mode']} | {r['ratio']:.2f} [{r['low']:.2f}, "
            f"{r['high']:.2f}] | {r['n']} | {r['ours_us']} | {r['theirs_us']} | {r['limit']:.2f} | "
            f"{r['state_bytes']:.1f} |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=25, help="rounds a ratio (default: 25)")
    parser.add_argument("--row-seconds", type=float, default=2.0, help="time for a row's rounds")
    parser.add_argument("--seconds", type=float, default=1e9, help="start no row after this time")
    parser.add_argument("--sweep", action="store_true", help="also try cuts of the single pass")
    parser.add_argument("--quick", action="store_true", help="three rounds; tiny without a GPU")
    parser.add_argument("--out", type=Path, help="file for the numbers, as JSON")
    args, _ = parser.parse_known_args()
    if args.quick:
        args.rounds = 3
    if not HAS_CUDA and not args.quick:
        sys.exit("no CUDA device; `--quick` only checks that the rows run")
    begun = time.monotonic()
    gb = bandwidth()
    device = torch.cuda.get_device_name() if HAS_CUDA else "cpu"
    environment = dict(device=device, torch=torch.__version__, python=platform.python_version())
    environment["copy_gb_s"] = round(gb, 1)
    print(environment, flush=True)
    result: dict = dict(environment=environment, waits=waits(), rows=[], failed=[], sweep=[])
    print("waits for the device in a step:", result["waits"], flush=True)

    def save() -> None:
        if args.out:
            args.out.parent.mkdir(parents=True, exist_ok=True)
            args.out.write_text(json.dumps(result, indent=1))

    # The shapes that decide come first: a run that is cut short still has them.
    order = [(k, r, c) for k in SHAPES for r in ROWS[:2] for c in (True, False)]
    order += [(k, r, c) for r in ROWS[2:] for k in SHAPES for c in (True, False)]
    for kind, (ours, theirs, must), captured in order:
        if time.monotonic() - begun > args.seconds:
            result["failed"].append("out of time before the last rows")
            break
        if captured and ours in EAGER_ONLY:
            continue
        try:
            result["rows"].append(row(ours, theirs, kind, captured, args, gb) | dict(must=must))
        except Exception as error:  # one row must not cost the others
            reason = f"{ours} on {kind}, captured {captured}: {type(error).__name__}: {error}"[:300]
            result["failed"].append(reason)
            print("failed:", reason, flush=True)
        save()
    table(result["rows"])
    if args.sweep and HAS_CUDA:
        result["sweep"] = sweep(args)
    save()


if __name__ == "__main__":
    main()
