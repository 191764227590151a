"""How wide is wide? Two-layer ReLU networks under L2 against ``etalambda.theory.wide``.

RMS difference of the output at 6 test points and 5 times up to t = 8 = 1.6/λ, by width: 12 training
points in 5 dimensions, λ = 0.2, full-batch descent with lr 0.01 from the NTK initialization, the
network's own start f_0 given to the theory. Degree 1, a fixed kernel, is the control.

    python benchmarks/theory_width.py --seeds 8 --out docs/evidence/theory-wide
"""

import argparse
import math
import sys
import time
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parent.parent))

from etalambda.theory import wide
from etalambda.theory.wide_kernels import relu_ntk
from tests.reference.two_layer import train

WIDTHS = (64, 128, 256, 512, 1024, 2048, 4096)
DECAY, LR, STEPS = 0.2, 0.01, 800


def gaps(width: int, seeds: int):
    """RMS gap of each seed to degree 2 and to degree 1."""
    generator = torch.Generator().manual_seed(0)
    x, at = (torch.randn(n, 5, dtype=torch.float64, generator=generator) for n in (12, 6))
    y, theta, cross = x[:, 0].sign(), relu_ntk(x, x), relu_ntk(at, x)
    times, rows = torch.arange(1, 6) * LR * STEPS / 5, []
    for seed in range(seeds):
        f0, path = train(width, x, y, at, DECAY, LR, STEPS, STEPS // 5, seed)
        start = dict(cross=cross, initial_at=f0[12:])
        rows.append([
            (path - wide.solution(times, degree, DECAY, theta, y, f0[:12], **start))
            .square().mean().sqrt().item()
            for degree in (2, 1)
        ])  # fmt: skip
    return np.array(rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--out", type=Path, default=None)
    options = parser.parse_args()
    torch.set_num_threads(1)
    began, lines, level = time.time(), [], []
    lines.append(f"{'width':>6}{'rms gap to degree 2':>26}{'to degree 1':>22}")
    for width in WIDTHS:
        found = gaps(width, options.seeds)
        level.append(math.sqrt((found[:, 0] ** 2).mean()))
        cells = "".join(f"{a:14.4f} ± {b:.4f}" for a, b in zip(found.mean(0), found.std(0, ddof=1)))
        lines.append(f"{width:6}{cells}")
        print(lines[-1], file=sys.stderr, flush=True)
    slope, _ = np.polyfit(np.log(WIDTHS), np.log(level), 1)
    lines.append(f"fitted exponent of the gap to degree 2: {slope:.3f} (theory -0.5)")
    text = "\n".join([f"python benchmarks/theory_width.py --seeds {options.seeds}",
                      f"mean ± standard deviation over seeds 0 ... {options.seeds - 1}; "
                      f"{time.time() - began:.0f} s on one core", *lines])  # fmt: skip
    print(text)
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        (options.out / "width.txt").write_text(text + "\n")


if __name__ == "__main__":
    main()
