"""Does convexifying first help? Continuation in λ against direct descent on flat fields.

Richemond & Guo 2019 end section 4 on "convex optimization": make the loss convex by L2, minimize,
take the L2 away. On the flat rational-quadratic field, d = 40, from one start a draw: L-BFGS on φ;
continuation along the linear and the ridge path; and the best of as many direct descents from fresh
starts as the continuation's gradients pay for. The measure is the paired difference of ε to direct
descent and to that control; a path is better if the 95 % interval lies below 0.

Run it: ``python -m etalambda.lab.experiments.convex_continuation --out FILE --seeds 32``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from etalambda.theory import continuation
from etalambda.theory.random_field import RandomFourierField


def ends(seed: int, size: int = 40, stages: int = 20) -> dict[str, dict[str, float]]:
    """Where each way ends on one draw: ε, |x|²/N and the gradients spent."""
    field = RandomFourierField(size, seed=seed)
    start = field.sample(1, seed=10_000 + seed)[0]

    def seen(x: Tensor, calls: int) -> dict[str, float]:
        energy = field.energy(x).item() / size
        return {"energy": energy, "norm2": x.square().sum().item() / size, "calls": calls}

    found = {"direct": seen(*continuation.minimize(field, start))}
    for path in continuation.PATHS:
        followed = continuation.follow(field, start, stages=stages, path=path)
        found[f"continuation, {path}"] = seen(followed.point, followed.calls)
    budget = found["continuation, linear"]["calls"]
    best, spent = found["direct"], found["direct"]["calls"]
    for x in field.sample(1000, seed=20_000 + seed):
        if spent >= budget:
            break
        now = seen(*continuation.minimize(field, x))
        spent += now["calls"]
        best = min(best, now, key=lambda end: end["energy"])
    found["best of restarts, same gradients"] = {**best, "calls": spent}
    return found


def main(out: Path, seeds: int = 32) -> dict[str, Any]:
    """Run ``seeds`` draws and write the table and every energy to ``out`` (JSON)."""
    if seeds < 2:
        raise ValueError(f"seeds must be at least 2 for a standard error, got {seeds}")
    torch.set_num_threads(1)
    rows = []
    for seed in range(seeds):
        rows.append(ends(seed))
        print(f"\rseed {seed + 1}/{seeds}", end="", flush=True)
    print()
    energy = {way: torch.tensor([r[way]["energy"] for r in rows]).double() for way in rows[0]}
    table = {}
    for way, values in energy.items():
        table[way] = {"energy": values.mean().item(), "energy_se": values.std().item() / seeds**0.5}
        for key in ("norm2", "calls"):
            table[way][key] = sum(row[way][key] for row in rows) / seeds
        for control in ("direct", "best of restarts, same gradients"):
            difference = values - energy[control]
            table[way][f"minus {control}"] = difference.mean().item()
            table[way][f"minus {control}, se"] = difference.std().item() / seeds**0.5
    result: dict[str, Any] = {"seeds": seeds, "table": table}
    result["energies"] = {way: [round(e, 5) for e in v.tolist()] for way, v in energy.items()}
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(result, indent=1) + "\n")
    return result


if __name__ == "__main__":
    import tyro

    tyro.cli(main)
