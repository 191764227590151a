"""How often does the doctor cry wolf, and how often does it miss? Real trainings on digits.

    python -m benchmarks.doctor_alarms OUT.json

Healthy: 4 optimizers x 5 lr schedules x 2 decay budgets x 2 networks, matrices alone decay, K = 0.5
and 2: more would take a tenth of each weight in one step of so short a run, which the doctor is
asked to name. Any warning there is a false alarm. Sick: one disease each, 6 seeds. Networks and
data are those of the lab's digits task with 20 % wrong labels. Prints, and writes, alarms by code.
"""

import itertools
import json
import math
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from rich.progress import track

import etalambda as el
from etalambda.lab.models import MODELS
from etalambda.lab.tasks import Digits
from etalambda.lab.tasks.digits import SIZES
from etalambda.optim import AdamS
from etalambda.suggest import Doctor

EPOCHS, BATCH = 12, 50
FIRST_SEED = 2000
STEPS = EPOCHS * -(-SIZES["train"] // BATCH)
SHAPES = {
    "constant": lambda share: 1.0,
    "linear": lambda share: 1 - share,
    "cosine": lambda share: (1 + math.cos(math.pi * share)) / 2,
    "warmup, cosine": lambda share: min(1, 20 * share + 0.02) * (1 + math.cos(math.pi * share)) / 2,
    "one drop": lambda share: 1.0 if share < 0.8 else 0.1,
}
LRS = {"sgd": 0.05, "adamw": 3e-3, "adams": 3e-3, "muon": 0.02}


def make(name: str, model: torch.nn.Module, decay: float, lr: float) -> list[torch.optim.Optimizer]:
    groups = el.param_groups(model, weight_decay=decay)
    if name == "sgd":
        return [torch.optim.SGD(groups, lr=lr, momentum=0.9)]
    if name == "adams":
        return [AdamS(groups, lr=lr)]
    if name == "adams, short memory":
        return [AdamS(groups, lr=lr, betas=(0.9, 0.9))]
    if name == "adamw":
        return [torch.optim.AdamW(groups, lr=lr)]
    if name == "adam with L2":
        return [torch.optim.Adam(groups, lr=lr)]
    if name == "all decay":
        return [torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=decay)]
    flat = [p for p in model.parameters() if p.ndim == 2]
    rest = [p for p in model.parameters() if p.ndim != 2]
    kernels, vectors = ([p for p in rest if (p.ndim > 2) is above] for above in (True, False))
    others = [dict(params=kernels, weight_decay=5 * decay), dict(params=vectors, weight_decay=0.0)]
    muon = torch.optim.Muon(flat, lr=lr, weight_decay=decay)
    return [muon, torch.optim.AdamW([g for g in others if g["params"]], lr=lr / 5)]


def run(name, network, decay, shape, seed, *, lr=None, overwrite=None, scale=None) -> Any:
    """One training with its doctor; returns the report."""
    torch.manual_seed(seed)
    data = Digits(0.2, BATCH)
    model = MODELS[network]()
    optimizers = make(name, model, decay, lr or LRS[name])
    groups = [group for optimizer in optimizers for group in optimizer.param_groups]
    peaks = [group["lr"] for group in groups]
    doctor = Doctor(model, optimizers, steps=STEPS, interval=2)
    x, y = data.x["train"], data.y["train"]
    for step in range(STEPS):
        if step % (STEPS // EPOCHS) == 0:
            order = torch.randperm(len(x)).split(BATCH)
        for group, peak in zip(groups, peaks):
            group["lr"] = peak * shape(step / STEPS)
            if overwrite is not None:
                group["weight_decay"] = overwrite
        rows = order[step % len(order)]
        for optimizer in optimizers:
            optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(x[rows]), y[rows])
        (loss * scale(step / STEPS) if scale else loss).backward()
        for optimizer in optimizers:
            optimizer.step()
    return doctor.report()


def decay_for(name: str, budget: float, shape: Any) -> float:
    """λ that spends the budget; for AdamS with v̄ = 1.6e-4, measured at λ = 1e-4."""
    mean = sum(shape(step / STEPS) for step in range(STEPS)) / STEPS
    gain = {"sgd": 10.0, "adams": 1.6e-4**-0.5}.get(name, 1.0)
    return budget / (STEPS * mean * LRS[name] * gain)


VANISH = lambda share: 10 ** (-2 * share)  # noqa: E731
FLAT = SHAPES["constant"]
SICK = {
    "INERT": dict(name="adamw", decay=0.01),
    "EXCESS": dict(name="sgd", decay=0.5),
    "GROUPS": dict(name="all decay", decay=3.0, lr=3e-3),
    "L2-IN-ADAM": dict(name="adam with L2", decay=0.01, lr=3e-3),
    "SCALE": dict(name="adams", decay=0.5),
    "OVERWRITTEN": dict(name="adamw", decay=2.0, overwrite=2.0),
    "COLLAPSE": dict(name="adamw", decay=0.0, lr=1.0),
    "EXPLODE": dict(name="sgd", decay=0.1, scale=lambda share: 1e-4),
    "FAR": dict(name="adamw", decay=0.01, shape=lambda share: 1 + 300 * max(0, share - 0.8)),
    "V-MEAN": dict(name="adams, short memory", decay=0.02, lr=3e-3, scale=VANISH),
}


def main(out: str) -> None:
    torch.set_num_threads(1)
    healthy = list(itertools.product(LRS, SHAPES, (0.5, 2.0), ("mlp", "cnn")))
    alarms: list[dict[str, Any]] = []
    spent = []
    trained = enumerate(track(healthy, "healthy runs"), FIRST_SEED)
    for seed, (name, shape, budget, network) in trained:
        decay = decay_for(name, budget, SHAPES[shape])
        report = run(name, network, decay, SHAPES[shape], seed)
        spent.append(max(report.budgets.values()))
        for finding in (f for f in report.findings if f.level == "warning"):
            where = dict(optimizer=name, shape=shape, budget=budget, network=network)
            alarms.append(where | dict(code=finding.code, value=round(finding.value, 4)))
    runs = {tuple(v for k, v in a.items() if k not in ("code", "value")) for a in alarms}
    found = {}
    for code, disease in track(SICK.items(), "sick runs"):
        options = dict(network="mlp", shape=FLAT) | disease
        seeds = range(FIRST_SEED, FIRST_SEED + 6)
        seen = [[f.code for f in run(seed=seed, **options).findings] for seed in seeds]
        found[code] = sum(code in codes for codes in seen)
    result = dict(
        healthy_runs=len(healthy), runs_with_an_alarm=len(runs), steps=STEPS,
        budgets=[round(min(spent), 3), round(max(spent), 3)],
        alarms_by_code=Counter(a["code"] for a in alarms), alarms=alarms,
        sick_runs_each=6, found=found, torch=torch.__version__,
    )  # fmt: skip
    Path(out).write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps({k: v for k, v in result.items() if k != "alarms"}, indent=1))


if __name__ == "__main__":
    main(*sys.argv[1:])
