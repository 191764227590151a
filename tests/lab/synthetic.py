"""Made-up runs with the columns of real ones, so that figures and page are tested in a second.

The numbers follow simple laws (accuracy is a function of K alone; error is a bowl in lr and λ),
so a test knows what the page has to find.
"""

from dataclasses import asdict, dataclass, field

import numpy as np

from etalambda.lab.configs import ClockConfig, CompareConfig, MapConfig, log_grid

ENV = {
    "command": "etalambda demo",
    "etalambda": "0.1.0",
    "torch": "2.13.0+cpu",
    "python": "3.11.2",
    "platform": "Linux",
    "cpu_count": 2,
}


@dataclass
class FakeRun:
    """What `records.read` returns, made by hand."""

    kind: str
    config: dict
    tables: dict[str, dict[str, np.ndarray]]
    env: dict = field(default_factory=lambda: dict(ENV))
    finished: bool = True


def stack(rows: list[dict]) -> dict[str, np.ndarray]:
    return {key: np.array([row[key] for row in rows]) for key in rows[0]}


PLANS = {
    "none": lambda t: 0 * t,
    "constant 0.02": lambda t: 0.02 + 0 * t,
    "constant 0.2": lambda t: 0.2 + 0 * t,
    "constant 0.8": lambda t: 0.8 + 0 * t,
    "down 0.8 to 0": lambda t: 0.8 * (1 - t),
    "up 0 to 0.8": lambda t: 0.8 * t,
}


def clock(seeds: int = 3, steps: int = 3500, every: int = 50, at_k: float = 1.0) -> FakeRun:
    """Accuracy is a logistic curve of log K that passes one half at ``at_k``."""
    config = ClockConfig(seeds=seeds, steps=steps, every=every)
    step = np.arange(0, steps + 1, every)
    rows, summary = [], []
    for plan, shape in PLANS.items():
        decay = shape(step / steps)
        budget = np.cumsum(decay) * config.lr * every
        for seed in range(seeds):
            half = at_k * (1 + 0.05 * seed)
            accuracy = 1 / (1 + (half / np.maximum(budget, 1e-9)) ** 4)
            there = np.flatnonzero(accuracy >= 0.95)
            for i, now in enumerate(step):
                rows.append(
                    dict(
                        plan=plan,
                        seed=seed,
                        step=int(now),
                        K=budget[i],
                        train_accuracy=min(1.0, now / 100),
                        test_accuracy=accuracy[i],
                        lr=config.lr,
                        weight_decay=decay[i],
                        norm=30 * np.exp(-budget[i]) + 12,
                    )
                )
            summary.append(
                dict(
                    plan=plan,
                    kind="plan",
                    seed=seed,
                    step95=float(step[there[0]]) if there.size else np.nan,
                    K95=budget[there[0]] if there.size else np.nan,
                    final_test=accuracy[-1],
                )
            )
    for name, kind, reached in [("matched annealing", "method", False), ("2x", "sphere", True)]:
        summary += [
            dict(
                plan=name,
                kind=kind,
                seed=seed,
                step95=700.0 + 25 * seed if reached else np.nan,
                K95=0.0 if reached else np.nan,
                final_test=1.0 if reached else 0.14,
            )
            for seed in range(seeds)
        ]
    fit = dict(slope=[-0.94], low=[-0.99], high=[-0.89], n=[2 * seeds])
    tables = dict(metrics=stack(rows), summary=stack(summary), fit=fit)
    tables["fit"] = {key: np.array(value) for key, value in fit.items()}
    return FakeRun("clock", asdict(config), tables)


def bowl(lr: float, weight_decay: float) -> float:
    """An error in percent, lowest (8 %) at lr 0.1 and weight_decay 0.01."""
    return 8 + 2 * np.log10(lr / 0.1) ** 2 + np.log10(max(weight_decay, 1e-9) / 0.01) ** 2


def map_digits(seeds: int = 3, label_noise: float = 0.2, cells: int = 7) -> FakeRun:
    """A bowl with a corner of diverged cells where lr x weight_decay is large."""
    rng = np.random.default_rng(0)
    lrs, decays = log_grid(0.01, 1, cells), log_grid(1e-4, 1, cells)
    config = MapConfig(
        seeds=seeds, lrs=lrs, weight_decays=decays, label_noise=label_noise, epochs=40
    )
    rows = []
    for lr in lrs:
        for decay in decays:
            for seed in range(seeds):
                diverged = lr * decay > 0.2
                error = (bowl(lr, decay) + rng.normal(0, 0.1)) / 100
                rows.append(
                    dict(
                        lr=lr,
                        weight_decay=decay,
                        seed=seed,
                        val_error=np.nan if diverged else error,
                        test_error=np.nan if diverged else error + 0.004,
                        train_loss=np.nan if diverged else 0.1,
                        diverged=diverged,
                        K=480 * lr * decay,
                        norm=np.nan if diverged else 10.0,
                    )
                )
    lengths = [
        dict(
            epochs=epochs,
            lr=lr,
            weight_decay=decay,
            seed=seed,
            K=12 * epochs * lr * decay,
            val_error=bowl(lr, decay * epochs / 40) / 100,
            test_error=bowl(lr, decay * epochs / 40) / 100 + 0.004,
            diverged=False,
        )
        for epochs in (10, 40, 160)
        for lr in lrs[2:5]
        for decay in decays
        for seed in range(seeds)
    ]
    fit = dict(quantity=["K", "weight_decay", "lr"], r2=[0.93, 0.61, 0.02], n=[21, 21, 21])
    tables = dict(metrics=stack(rows), lengths=stack(lengths))
    tables["fit"] = {key: np.array(value) for key, value in fit.items()}
    parts = {key: np.array(value) for key, value in fit.items()}
    tables["fit_parts"] = parts | {"part": np.repeat("lengths, best lr", 3)}
    return FakeRun("map", asdict(config), tables)


METHODS = {
    "constant": 8.0,
    "no decay": 12.0,
    "matched annealing": 8.1,
    "cosine": 7.6,
    "two-step": 8.4,
    "sphere": 9.0,
    "AdamW": 8.3,
    "AdamS": 8.2,
}


def compare(seeds: int = 8) -> FakeRun:
    """Paired seeds: every method is the constant one plus its own shift and a little noise."""
    rng = np.random.default_rng(1)
    config = CompareConfig(seeds=seeds, epochs=40)
    shared = rng.normal(0, 0.3, size=seeds)
    rows, summary = [], []
    steps = np.arange(0, 481, 40)
    for method, level in METHODS.items():
        for seed in range(seeds):
            error = (level + shared[seed] + rng.normal(0, 0.1)) / 100
            decay = 0.0 if method in ("no decay", "sphere") else 0.01
            for role in ("tuned", "common"):
                summary.append(
                    dict(
                        method=method,
                        weight_decay=decay,
                        role=role,
                        seed=seed,
                        val_error=error,
                        test_error=error + 0.004,
                        K=480 * 0.1 * decay,
                        norm=9.0,
                        diverged=False,
                    )
                )
            for step in steps:
                share = step / steps[-1]
                rows.append(
                    dict(
                        method=method,
                        weight_decay=decay,
                        seed=seed,
                        step=int(step),
                        K=0.1 * decay * step,
                        lr=0.1 * (1 + np.cos(np.pi * share)) / 2,
                        lam=decay * (1 - share if method == "cosine" else 1),
                        train_loss=2.3 * np.exp(-4 * share),
                        val_error=error + (0.9 - error) * np.exp(-6 * share),
                        norm=10 - share,
                        effective_lr=1e-3 * (1 + share),
                    )
                )
    return FakeRun("compare", asdict(config), dict(metrics=stack(rows), summary=stack(summary)))
