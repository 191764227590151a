"""Free energies of Sherrington-Kirkpatrick: quenched by integration and by enumeration, annealed.

Each β and N: F_N(β) averaged over the same draws by `etalambda.theory.quenched` both ways, their
difference over the sampling error, and N β times the distance to the annealed value, which has a
known limit for β < 1/√2 and grows with N beyond.

    python benchmarks/theory_quenched.py --draws 32 --out docs/evidence/theory-quenched
"""

import argparse
import json
import sys
import time
from pathlib import Path

import torch

from etalambda.theory import quenched
from etalambda.theory.spin_glass import sherrington_kirkpatrick

SIZES, BETAS = (8, 12, 16), (0.4, 0.7, 1.0, 2.0)


def row(size: int, beta: float, draws: int) -> dict[str, float]:
    """One line of the table."""

    def draw(seed: int):
        return sherrington_kirkpatrick(size, seed=seed)

    found = quenched.quenched_free_energy(draw, beta, draws=draws)
    exact = quenched.exact_quenched_free_energy(draw, beta, draws=draws)
    annealed = quenched.annealed_free_energy(beta).item()
    return {
        "N": size,
        "beta": beta,
        "integrated": found.value,
        "enumerated": exact.value,
        "error over draws": exact.error,
        "sampling error": found.sampling_error,
        "difference, sampling errors": (found.value - exact.value) / found.sampling_error,
        "annealed": annealed,
        "N beta gap": size * beta * (annealed - exact.value),
        "its error": size * beta * exact.error,
        "its limit": quenched.annealing_gap(beta).item(),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=32)
    parser.add_argument("--out", type=Path, default=None)
    options = parser.parse_args()
    if options.draws < 2:
        parser.error(f"--draws must be at least 2 for a standard error, got {options.draws}")
    torch.set_num_threads(1)
    rows = []
    for size in SIZES:
        for beta in BETAS:
            began = time.time()
            rows.append(row(size, beta, options.draws))
            took = time.time() - began
            print(f"N {size}, β {beta}: {took:.1f} s", file=sys.stderr, flush=True)
    lines = [json.dumps({k: float(f"{v:.5g}") for k, v in line.items()}) for line in rows]
    text = ",\n".join(lines).replace("Infinity", "null")
    command = f"python benchmarks/theory_quenched.py --draws {options.draws}"
    text = f'{{"command": "{command}", "rows": [\n{text}\n]}}\n'
    print(text)
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        (options.out / "free_energies.json").write_text(text)


if __name__ == "__main__":
    main()
