"""AutoL2 and matched annealing on modular addition, from seven initial weight decays.

    python benchmarks/autol2_modular.py --out docs/evidence/autol2-modular

Every method starts from every λ₀ of one grid. Its own best λ₀ is chosen on three seeds (most seeds
that arrive, then the smallest median step) and reported on five others, beside the spread over the
whole grid: what a method that finds its own level should keep small.

Measure: the step at which test accuracy reaches 95 %; "never" within the run is counted, not
averaged away. Task, network and optimizer are those of the decay clock (p = 31, lr 3e-3, AdamW).
Writes trials.csv, summary.md and autol2_modular.svg.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import time
from pathlib import Path

import torch

from etalambda.lab.engine import Trial, train
from etalambda.lab.models import Quadratic
from etalambda.lab.tasks import Modular
from etalambda.schedule import AutoL2, MatchedAnnealing, constant

LR, P, WIDTH, BETAS = 3e-3, 31, 128, (0.9, 0.98)
GRID = (0.2, 0.4, 0.8, 1.6, 3.0, 8.0, 16.0)
CHOOSING, REPORTED = (0, 1, 2), (3, 4, 5, 6, 7)
# The paper waits 0.1/λ steps at lr 0.2 and momentum 0.9, which is a budget of K = 0.2 a wait.
SCALED = 0.2 / LR
METHODS = {
    "constant": constant(),
    "AutoL2, literal (0.1/λ steps)": AutoL2(every=10),
    "AutoL2, wait of K = 0.2 in steps": AutoL2(every=10, refractory=SCALED),
    "AutoL2, wait of K = 0.2 in decay": AutoL2(every=10, refractory=SCALED, unit="decay"),
    "matched, ratio": MatchedAnnealing(),
    "matched, increment, ema 20": MatchedAnnealing(20, "ema", variant="increment"),
    "matched, aitken, median 20": MatchedAnnealing(20, "median", variant="aitken"),
}


def run(steps: int, every: int) -> list[dict]:
    """One row a trial: when its training and test halves reached 95 %, and where λ ended."""
    task, rows = Modular(P), []
    for seed in (*CHOOSING, *REPORTED):
        began = time.monotonic()
        trials = [
            Trial(seed, LR, decay, rules={"weight_decay": rule})
            for rule in METHODS.values()
            for decay in GRID
        ]
        ours = [
            dict(method=name, decay=decay, seed=seed, fitted="", step95="", K95="")
            for name in METHODS
            for decay in GRID
        ]
        made = train(
            lambda: Quadratic(P, WIDTH),
            task.batches,
            trials,
            optimizer="adamw",
            steps=steps,
            every=every,
            betas=BETAS,
        )
        for seen in made:
            right = task.accuracy(seen.predict(task.pairs), [t.seed for t in seen.trials])
            for i, row in enumerate(ours):
                fitted, test = right[0][i].item(), right[1][i].item()
                if row["fitted"] == "" and fitted >= 0.95:
                    row["fitted"] = seen.step
                if row["step95"] == "" and test >= 0.95:
                    row["step95"], row["K95"] = seen.step, round(seen.K[i].item(), 4)
                row |= dict(final_test=round(test, 4), final_decay=seen.weight_decay[i].item())
        rows += ours
        print(f"seed {seed}: {len(ours)} networks, {time.monotonic() - began:.0f} s", flush=True)
    return rows


def arrivals(rows: list[dict], method: str, decay: float, seeds: tuple[int, ...]) -> list[float]:
    """Steps to 95 %, infinity for never."""
    return [
        float(row["step95"] or "inf")
        for row in rows
        if (row["method"], float(row["decay"])) == (method, decay) and int(row["seed"]) in seeds
    ]


def chosen(rows: list[dict], method: str) -> float:
    """The λ₀ with the most arrivals, then the smallest median, on the choosing seeds."""

    def rank(decay: float) -> tuple[int, float]:
        steps = arrivals(rows, method, decay, CHOOSING)
        return sum(s == float("inf") for s in steps), statistics.median(steps)

    return min(GRID, key=rank)


def shown(steps: list[float]) -> str:
    there = [int(s) for s in steps if s < float("inf")]
    if not there:
        return "never"
    span = f"{min(there)}-{max(there)}" if min(there) < max(there) else f"{there[0]}"
    return span if len(there) == len(steps) else f"{span} ({len(there)} of {len(steps)})"


def summary(rows: list[dict], steps: int) -> str:
    """Markdown: the reported seeds at the chosen λ₀, and all λ₀."""
    lines = [
        f"Steps to 95 % test accuracy within {steps}: smallest-largest over seeds "
        f"{REPORTED[0]}-{REPORTED[-1]} (n = {len(REPORTED)}). λ₀ chosen on seeds "
        f"{CHOOSING[0]}-{CHOOSING[-1]}.",
        "",
        "| method | chosen λ₀ | median step, range | "
        + " | ".join(f"λ₀ {d:g}" for d in GRID)
        + " |",
        "|---|---|---|" + "---|" * len(GRID),
    ]
    for method in METHODS:
        best = chosen(rows, method)
        at_best = arrivals(rows, method, best, REPORTED)
        cells = [shown(arrivals(rows, method, decay, REPORTED)) for decay in GRID]
        middle = f"{statistics.median(at_best):g}, {shown(at_best)}"
        lines.append(f"| {method} | {best:g} | {middle} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def draw(rows: list[dict], path: Path, steps: int) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots(figsize=(7, 4))
    for i, method in enumerate(METHODS):
        medians = [statistics.median(arrivals(rows, method, d, REPORTED)) for d in GRID]
        style = "o-" if method == "constant" else ["s--", "^-", "v-", "x:", "+:", "d:"][i - 1]
        axis.plot(GRID, [min(m, 1.25 * steps) for m in medians], style, label=method)
    axis.axhline(steps, color="grey", lw=0.8)
    axis.text(GRID[0], 1.04 * steps, "above the line: not within the run", color="grey", size=8)
    axis.set(xscale="log", yscale="log", xlabel="initial weight decay λ₀")
    axis.set_ylabel(f"median step to 95 % test accuracy, n = {len(REPORTED)}")
    axis.legend(fontsize=7, loc="upper left", bbox_to_anchor=(1, 1))
    figure.tight_layout()
    figure.savefig(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("docs/evidence/autol2-modular"))
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--every", type=int, default=25, help="steps between two looks")
    parser.add_argument("--grid", type=float, nargs="+", default=GRID, help="initial λ₀")
    options = parser.parse_args()
    globals()["GRID"] = tuple(options.grid)
    torch.set_num_threads(1)
    options.out.mkdir(parents=True, exist_ok=True)
    rows = run(options.steps, options.every)
    with (options.out / "trials.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    text = summary(rows, options.steps)
    (options.out / "summary.md").write_text(text)
    draw(rows, options.out / "autol2_modular.svg", options.steps)
    print(text)


if __name__ == "__main__":
    main()
