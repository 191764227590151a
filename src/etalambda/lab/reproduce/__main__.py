"""``python -m etalambda.lab.reproduce FIGURE ...``: the runs without the command line's extras.

For a machine that has torch, numpy, scipy, matplotlib and duckdb only, and lends itself by the
slice: it runs until ``--minutes`` are over, keeps what it has below ``--out``, and goes on when
called again. ``etalambda reproduce`` is the same with a table, a bar and a better ``--help``.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from etalambda.lab.reproduce import find, measure, names, outcome, said
from etalambda.lab.reproduce.figure import SCALES


def main(argv: list[str] | None = None) -> int:
    """Run the figures; 0 if all are finished, 2 after a mistake, 3 if time ran out."""
    parser = argparse.ArgumentParser("etalambda.lab.reproduce", description=__doc__)
    parser.add_argument("figures", nargs="+", help="names, or 'all'")
    parser.add_argument("--scale", choices=SCALES, default="smoke")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, default=Path("runs/reproduce"))
    parser.add_argument("--data-dir", type=Path, default=None)
    parser.add_argument("--minutes", type=float, default=float("inf"))
    asked = parser.parse_args(argv)
    end = time.monotonic() + 60 * asked.minutes
    finished = True
    for name in names() if asked.figures == ["all"] else asked.figures:
        try:
            finished &= one(name, asked, (end - time.monotonic()) / 60)
        except (ValueError, OSError, ModuleNotFoundError) as error:
            print(f"{name}: {' '.join(str(error).split())}", file=sys.stderr, flush=True)
            return 2
    return 0 if finished else 3


def one(name: str, asked: argparse.Namespace, minutes: float) -> bool:
    """Run one figure for at most ``minutes``; prints its verdict or what is left."""
    found = find(name)
    if asked.scale not in found.recipes:
        print(f"{name}: no recipe at scale {asked.scale}")
        return True
    started = time.monotonic()
    where = dict(device=asked.device, data=asked.data_dir, minutes=minutes)
    done = minutes > 0 and measure(found, asked.scale, asked.out, progress=_Lines(), **where)
    took = f"{time.monotonic() - started:.1f} s"
    if done:
        made = outcome(found, asked.scale, asked.out)
        made.picture.savefig(asked.out / f"{name}.{asked.scale}.png", dpi=100)
        print("\n".join(said(made)), f"  took {took}", sep="\n", flush=True)
    else:
        print(f"{name}: not finished after {took}; call again to go on", flush=True)
    return done


class _Lines:
    """Progress as a line on stderr now and then."""

    def __init__(self) -> None:
        self.last = time.monotonic()

    def __call__(self, done: float, total: float, text: str) -> None:
        if time.monotonic() - self.last > 10:
            self.last = time.monotonic()
            print(f"{text}: {done:.2f} of {total} parts", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
