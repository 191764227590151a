"""``etalambda clock | map | compare``: train into a run folder, then print, draw and report.

The folder is ``runs/<name>`` below the current one. Parts are recorded as they finish: Ctrl-C, a
kill or a full disk lose only the part at work, and the same command goes on from there.
"""

from __future__ import annotations

import sys
from dataclasses import asdict, replace
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import arg

from etalambda.lab.commands.words import words_of
from etalambda.lab.configs import ClockConfig, CompareConfig, MapConfig

Clock = Annotated[ClockConfig, arg(name="")]
Map = Annotated[MapConfig, arg(name="")]
Compare = Annotated[CompareConfig, arg(name="")]
MaybePath = Annotated[Path | None, arg(metavar="PATH", help_behavior_hint="")]
CLOCK, MAP, COMPARE = ClockConfig(), MapConfig(), CompareConfig()
SUFFIXES = (".svg", ".png", ".pdf")


def clock(config: Clock = CLOCK, out: MaybePath = None, picture: MaybePath = None) -> None:
    """The decay clock: one small network under many weight-decay plans.

    Every plan fits the training half at once; each generalizes at a step of its own, but at about
    the same decay budget K = Σ lr · weight_decay. Prints step and K at 95 % test accuracy.

    Args:
        config: The experiment.
        out: Run folder; the same folder and flags go on where they were. Default: runs/clock.
        picture: Also write the two-panel figure there (.svg, .png or .pdf).
    """
    _command("clock", config, out or Path("runs/clock"), picture)


def map(config: Map = MAP, out: MaybePath = None, picture: MaybePath = None) -> None:
    """The lr x weight_decay map of a task, all cells and seeds trained together.

    Prints the best cell, warns when it lies on the border, and shows whether λ or the budget K
    fixes the error when the training length changes.

    Args:
        config: The experiment.
        out: Run folder; the same folder and flags go on where they were. Default: runs/map-TASK.
        picture: Also write the map there (.svg, .png or .pdf).
    """
    _command("map", config, out or Path(f"runs/map-{config.task}"), picture)


def compare(config: Compare = COMPARE, out: MaybePath = None) -> None:
    """Ways of scheduling weight decay, each at its own best λ, on paired seeds.

    Prints test error, the paired difference to constant decay with its 95 % interval, K and the
    final norm. The lr is that of the best cell of runs/map-TASK when that run is there.

    Args:
        config: The experiment.
        out: Run folder; the same folder and flags go on. Default: runs/compare-TASK.
    """
    config = at_best_lr(config, Path(f"runs/map-{config.task}"))
    _command("compare", config, out or Path(f"runs/compare-{config.task}"), None)


def at_best_lr(config: CompareConfig, folder: Path) -> CompareConfig:
    """The config with the lr of that map's best cell; unchanged if a lr was asked for, or no map.

    The map must be of the same task, model, length and labels.
    """
    if config.lr != CompareConfig.lr or not (folder / "config.toml").is_file():
        return config
    from etalambda.lab.figures.grid import map_grid
    from etalambda.lab.records import read

    run = read(folder)
    same = all(
        run.config.get(key) == getattr(config, key)
        for key in ("task", "model", "epochs", "batch_size", "label_noise")
    )
    if not (same and run.finished):
        return config
    grid = map_grid(run.tables["metrics"])
    best = float(grid.lrs[grid.best[0]])
    print(f"lr {best:g}: the best of {folder}; use --lr for another", file=sys.stderr)
    return replace(config, lr=best)


def _command(kind: str, config: Any, folder: Path, picture: Path | None) -> None:
    if picture is not None and picture.suffix not in SUFFIXES:
        raise ValueError(f"--picture must end in {', '.join(SUFFIXES)}, got {picture}")
    train(kind, config, folder)
    from etalambda.lab.report import find_runs, write_report

    run = find_runs([folder])[folder]
    show(run)
    if picture is not None:
        draw(run, picture)
    page = write_report({folder: run}, folder / "report.html")
    print(f"\npage: {page.resolve().as_uri()}")


def train(kind: str, config: Any, folder: Path) -> None:
    """Run the experiment into its folder, with a progress bar; parts that are there are skipped.

    Raises:
        ValueError: If the device is not there, before anything is written.
        ConfigMismatch: If the folder holds a run of other flags.
        KeyboardInterrupt: After saying what is kept and how to go on.
    """
    from etalambda.lab.console import progress_bar
    from etalambda.lab.records import open_run

    experiment = import_module(f"etalambda.lab.experiments.{kind}")
    check_device(config.device)
    with open_run(folder, asdict(config), kind=kind) as run:
        if run.finished:
            print(f"{folder} is finished already; delete it to train again", file=sys.stderr)
            return
        try:
            with progress_bar(kind) as progress:
                experiment.run(config, run, progress)
        except KeyboardInterrupt:
            again = words_of(kind, asdict(config), out=str(folder))
            print(
                f"\nstopped; {len(run.done)} finished parts are kept in {folder}. "
                f"Go on with:\n  {again}",
                file=sys.stderr,
            )
            raise


def check_device(name: str) -> None:
    """Raise a ValueError if torch cannot compute on the device of this name."""
    import torch

    try:
        torch.ones(1, device=name).sum().item()
    except (RuntimeError, AssertionError) as error:  # torch without CUDA asserts
        reason = str(error).splitlines()[0]
        raise ValueError(f"device {name!r} cannot be used ({reason}); try --device cpu") from error


def show(run: Any) -> None:
    """Print the run's tables and what it found."""
    from etalambda.lab.console import print_findings, print_table
    from etalambda.lab.report import PARTS

    part = PARTS[run.kind]
    for table in part.tables(run):
        print_table(table)
    print_findings(part.findings(run))


def draw(run: Any, picture: Path) -> None:
    """Write the run's main figure."""
    from etalambda.lab.figures.style import save
    from etalambda.lab.report import PARTS

    print(f"picture: {save(PARTS[run.kind].picture(run), picture)}")
