"""What CIFAR-10 costs on one device, and what a few epochs reach: ``etalambda train``'s own loop.

    python -m benchmarks.train_cifar --data-dir FOLDER --device cuda --out FILE

Speed: ResNet-18, batch 512, as a step of the loop runs it (augmentation, update, schedule), in
float32, in bf16 with channels_last, and compiled; the epoch time is the step time times the steps
of an epoch. The share of the arithmetic limit counts 3 forward passes a step (torch's own flop
counter) against the fastest bf16 matrix product that the device does here, and against its data
sheet where it is known. Accuracy: SGD, AdamW and AdamS for ``--epochs`` epochs under one cosine,
each at one untuned setting of xie2022's recipe. Everything is written to one JSON file; needs torch
and numpy, and pyarrow or duckdb for Parquet files.
"""

from __future__ import annotations

import argparse
import io
import json
import platform
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from etalambda.lab.data import load
from etalambda.lab.train import TrainConfig, fit
from etalambda.lab.train.distributed import world
from etalambda.lab.train.models import build_model
from etalambda.lab.train.training import Training

DATA_SHEET = {"H100": 989e12, "H200": 989e12, "A100": 312e12}  # dense bf16, flops a second
SPEEDS: dict[str, dict[str, Any]] = {
    "float32": {},
    "bf16": dict(amp="bf16"),
    "bf16, channels_last": dict(amp="bf16", channels_last=True),
    "bf16, channels_last, compiled": dict(amp="bf16", channels_last=True, compile=True),
}
RECIPES: dict[str, dict[str, Any]] = {
    "sgd": dict(optimizer="sgd", lr=0.1, weight_decay=5e-4),
    "adamw": dict(optimizer="adamw", lr=1e-3, weight_decay=0.5),
    "adams": dict(optimizer="adams", lr=1e-3, weight_decay=5e-4),
}


def decoded_once(data_dir: Path, room: Path) -> Path:
    """A folder with the pictures as one uncompressed file, so that they are decoded once only."""
    arrays: dict[str, np.ndarray] = {}
    try:
        found = load("cifar10", data_dir)
        for split in ("train", "test"):
            images = getattr(found, split)
            arrays[f"x_{split}"] = images.images.transpose(0, 2, 3, 1)
            arrays[f"y_{split}"] = images.labels
    except ModuleNotFoundError:  # no duckdb on this machine
        import pyarrow.parquet  # pyrefly: ignore[missing-import]
        from PIL import Image

        for split in ("train", "test"):
            paths = sorted(data_dir.glob(f"*cifar10*{split}*.parquet"))
            rows = [row for path in paths for row in pyarrow.parquet.read_table(path).to_pylist()]
            pictures = [np.asarray(Image.open(io.BytesIO(row["img"]["bytes"]))) for row in rows]
            arrays[f"x_{split}"] = np.stack(pictures)
            arrays[f"y_{split}"] = np.array([row["label"] for row in rows])
    np.savez(room / "cifar10.npz", **arrays)
    return room


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds_a_step(config: TrainConfig, steps: int, rounds: int = 5) -> dict[str, Any]:
    """Median of ``rounds`` timings of ``steps`` steps each, after a warm-up of as many."""
    with world(config) as ranks:
        run = Training(config, ranks)
        if ranks.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(ranks.device)
        batches, started = run.batches(), time.perf_counter()
        for _ in range(steps):
            run.advance(next(batches))
        synchronize(ranks.device)
        warm_up, times = time.perf_counter() - started, []
        for _ in range(rounds):
            started = time.perf_counter()
            for _ in range(steps):
                run.advance(next(batches))
            synchronize(ranks.device)
            times.append((time.perf_counter() - started) / steps)
        memory = 0
        if ranks.device.type == "cuda":
            memory = torch.cuda.max_memory_allocated(ranks.device)
        epoch = run.epoch_steps * statistics.median(times)
    return dict(step=times, epoch=epoch, warm_up=warm_up, memory=memory)


def flops_a_step(config: TrainConfig) -> int:
    """Three forward passes of a batch, as torch counts them."""

    class Shape:
        classes, shape = 10, (3, 32, 32)

    model = build_model(config, Shape()).to("meta")  # type: ignore[arg-type]
    with FlopCounterMode(display=False) as counter:
        model(torch.empty(config.batch_size, 3, 32, 32, device="meta"))
    return 3 * counter.get_total_flops()


def matmul_limit(device: torch.device) -> float:
    """Flops a second of a large bf16 matrix product here: the best of 10."""
    size = 8192 if device.type == "cuda" else 512
    a = torch.randn(size, size, device=device, dtype=torch.bfloat16)
    times = []
    for _ in range(10):
        synchronize(device)
        started = time.perf_counter()
        a @ a
        synchronize(device)
        times.append(time.perf_counter() - started)
    return 2 * size**3 / min(times)


def speed(base: dict[str, Any], steps: int, compiled: bool) -> dict[str, Any]:
    """Step and epoch times of each form, and what share of the limits they reach."""
    device = torch.device(base["device"])
    measured, sheet = matmul_limit(device), None
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
        sheet = next((flops for key, flops in DATA_SHEET.items() if key in name), None)
    rows = {}
    for name, options in SPEEDS.items():
        if options.get("compile") and not compiled:
            continue
        config = TrainConfig(**base | dict(monitor_every=10_000, steps=10**6) | options)
        row = seconds_a_step(config, steps)
        rate = flops_a_step(config) / statistics.median(row["step"])
        row |= dict(flops=rate, of_matmul=rate / measured, of_sheet=sheet and rate / sheet)
        rows[name] = row
        print(
            f"{name}: {1e3 * statistics.median(row['step']):.2f} ms a step, {row['epoch']:.2f} s "
            f"an epoch, {row['memory'] / 2**30:.1f} GiB, {rate / 1e12:.1f} TFLOP/s, "
            f"{100 * rate / measured:.0f} % of a matrix product's, warm-up {row['warm_up']:.1f} s",
            flush=True,
        )
    return dict(matmul=measured, sheet=sheet, rows=rows)


def accuracy(base: dict[str, Any], epochs: float) -> dict[str, Any]:
    """A short run of each recipe in bf16 with channels_last."""
    rows = {}
    fast = dict(amp="bf16", channels_last=True) if base["device"] != "cpu" else {}
    for name, recipe in RECIPES.items():
        short = dict(lr_schedule="cosine", warmup=0.1, epochs=epochs, evaluate_every=epochs / 2)
        result = fit(TrainConfig(**base | fast | short | recipe, decay="all"))
        rows[name] = {key: values[0] for key, values in result.summary.items()}
        print(
            f"{name}: test error {100 * rows[name]['test_error']:.2f} % after {epochs:g} epochs, "
            f"{rows[name]['seconds']:.1f} s, K {rows[name]['K']:.3f}",
            flush=True,
        )
    return rows


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--model", default="resnet18")
    parser.add_argument("--batch-size", type=int, default=512)
    parser.add_argument("--steps", type=int, default=30, help="steps of one timing; there are 5")
    parser.add_argument("--epochs", type=float, default=10.0, help="of each recipe; 0 for none")
    parser.add_argument("--size", type=int, default=0, help="training pictures; 0 for all")
    parser.add_argument("--no-compile", action="store_true")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    started = time.perf_counter()
    torch.backends.cudnn.benchmark = True
    with tempfile.TemporaryDirectory() as room:
        base = dict(
            task="cifar10", data_dir=str(decoded_once(args.data_dir, Path(room))), model=args.model,
            batch_size=args.batch_size, device=args.device, train_size=args.size,
            evaluate_size=args.size,
        )  # fmt: skip
        made: dict[str, Any] = dict(
            torch=torch.__version__,
            platform=platform.platform(),
            device=torch.cuda.get_device_name() if args.device.startswith("cuda") else "cpu",
            model=args.model,
            batch_size=args.batch_size,
            speed=speed(base, args.steps, not args.no_compile),
        )
        if args.epochs:
            made["accuracy"] = accuracy(base, args.epochs)
    made["seconds"] = time.perf_counter() - started
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(made, indent=1) + "\n")
    print(f"written: {args.out}, after {made['seconds']:.0f} s")


if __name__ == "__main__":
    main()
