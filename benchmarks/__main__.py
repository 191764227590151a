"""Run every benchmark of this folder: `make bench`. One thread, no asserts; numbers are printed.

``python -m benchmarks.optim --help`` and its siblings take options one at a time.
"""

import runpy
import sys
from pathlib import Path

NAMES = ("optim", "engine", "monitor")

if __name__ == "__main__":
    chosen = sys.argv[1:] or list(NAMES)
    for name in chosen:
        if not (Path(__file__).parent / f"{name}.py").is_file():
            sys.exit(f"unknown benchmark {name!r}; known: {', '.join(NAMES)}")
        print(f"== {name}", flush=True)
        sys.argv = [f"benchmarks.{name}"]
        runpy.run_module(f"benchmarks.{name}", run_name="__main__")
