"""One network at a time by `lab.train`, for figures whose networks are too large for the engine."""

from __future__ import annotations

from typing import Any

import numpy as np

from etalambda.lab.engine.pool import Tick
from etalambda.lab.reproduce.figure import Bench
from etalambda.lab.train import TrainConfig


def trained(config: TrainConfig, bench: Bench, name: str, tick: Tick) -> Any:
    """The `Result` of one run; on more than digits a checkpoint waits for it in the scratch folder.

    Args:
        config: What to train.
        bench: Whose scratch folder keeps the checkpoint.
        name: Of the checkpoint.
        tick: Called with the share that is done.
    """
    from etalambda.lab.train.loop import Keep, fit

    path = bench.scratch / f"{name}.pt"
    keep = Keep(path) if config.task != "digits" else None
    result = fit(config, keep=keep, progress=lambda at, total, _: tick(at / total))
    path.unlink(missing_ok=True)
    return result


def evaluated(metrics: dict[str, Any], *names: str) -> dict[str, np.ndarray]:
    """Columns of a run's metrics at the steps at which the first of them was measured.

    >>> rows = {"step": [1, 2], "test_error": [float("nan"), 0.5]}
    >>> {name: column.tolist() for name, column in evaluated(rows, "test_error", "step").items()}
    {'test_error': [0.5], 'step': [2.0]}
    """
    rows = {name: np.array(metrics[name], dtype=float) for name in names}
    seen = np.isfinite(rows[names[0]])
    return {name: values[seen] for name, values in rows.items()}
