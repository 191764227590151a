"""``etalambda train``: one network by any recipe, into a run folder, resumed exactly."""

from __future__ import annotations

import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from tyro.conf import arg

from etalambda.lab.commands.experiments import check_device
from etalambda.lab.commands.words import words_of
from etalambda.lab.train.config import TrainConfig

Config = Annotated[TrainConfig, arg(name="")]
MaybePath = Annotated[Path | None, arg(metavar="PATH", help_behavior_hint="")]
DEFAULT = TrainConfig()
SPLITS = ("train", "val", "test")


def train(
    config: Config = DEFAULT,
    out: MaybePath = None,
    checkpoint_every: int = 0,
    checkpoint_seconds: float = 60.0,
) -> None:
    """Train one network: any model, optimizer, schedule and sphere of the lab on one task.

    Kill it at any moment and run the same command again: on a CPU the weights and the rows are
    those of the run that was never stopped, to the last bit. Under torchrun it trains on many
    processes: torchrun --nproc-per-node 2 -m etalambda train ...

    As in: etalambda train --task cifar10 --data-dir data --model resnet18 --lr-schedule cosine

    Args:
        config: What to train.
        out: Run folder; the same folder and flags go on where they were. Default:
            runs/train-TASK-MODEL-OPTIMIZER.
        checkpoint_every: Steps between two checkpoints; 0 leaves it to the clock.
        checkpoint_seconds: Seconds between two checkpoints.
    """
    from etalambda.lab.console import progress_bar
    from etalambda.lab.records import open_run
    from etalambda.lab.train.recorded import follow, run

    name = f"{config.task}-{config.model}-{config.optimizer}"
    folder = out or Path(f"runs/train-{name}")
    check_device(config.device)
    every = dict(every_steps=checkpoint_every, every_seconds=checkpoint_seconds)
    if int(os.environ.get("RANK", "0")) > 0:
        if not _finished(folder):
            follow(config, folder, **every)
        return
    with open_run(folder, asdict(config), kind="train") as record:
        if record.finished:
            print(f"{folder} is finished already; delete it to train again", file=sys.stderr)
        else:
            try:
                with progress_bar(name) as progress:
                    run(config, record, progress, **every)
            except KeyboardInterrupt:
                again = words_of("train", asdict(config), out=str(folder))
                print(f"\nstopped; {_kept(folder)}. Go on with:\n  {again}", file=sys.stderr)
                raise
    show(folder)


def _finished(folder: Path) -> bool:
    from etalambda.lab.records import read

    return (folder / "config.toml").is_file() and read(folder).finished


def _kept(folder: Path) -> str:
    from etalambda.lab.train.recorded import steps_kept

    steps = steps_kept(folder)
    return f"{steps} steps are kept in {folder}" if steps else f"nothing is kept in {folder} yet"


def show(folder: Path) -> None:
    """Print the last errors, K and cost of a run."""
    from etalambda.lab.console import print_table
    from etalambda.lab.records import read
    from etalambda.lab.report.tables import Table, number, percent

    found = read(folder).tables.get("summary", {})
    if not found:
        return
    row = {name: float(column[0]) for name, column in found.items()}
    cells = {f"{split} error": f"{percent(row[f'{split}_error'])} %" for split in SPLITS}
    if row["average_test_error"] == row["average_test_error"]:
        cells["of the average"] = f"{percent(row['average_test_error'])} %"
    cells |= {"test loss": number(row["test_loss"]), "K": number(row["K"])}
    cells |= {"steps": str(int(row["steps"])), "took": f"{number(row['seconds'])} s"}
    cells["memory"] = f"{row['memory'] / 2**20:.0f} MiB"
    state = "diverged" if row["diverged"] else "finished"
    print_table(Table(str(folder), ("", *cells), [[state, *cells.values()]]))
