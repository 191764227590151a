"""``etalambda sweep``: many configs of one experiment. ``etalambda worker``: help with a sweep."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from tyro.conf import Positional, UseAppendAction, arg

from etalambda.lab.configs import check_counts
from etalambda.lab.sweep.targets import TARGETS, target

if TYPE_CHECKING:
    from etalambda.lab.sweep.counts import Counts
    from etalambda.lab.sweep.plan import Plan

DEFAULT = "train"
Over = UseAppendAction[Annotated[tuple[str, ...], arg(metavar="FIELD=VALUES")]]
Pairs = UseAppendAction[Annotated[tuple[str, ...], arg(metavar="NAME=VALUE")]]
SHOWN = 20  # cells that --dry-run lists


@dataclass(frozen=True)
class Options:
    """How a sweep is run."""

    over: Over = ()
    """A field and its values, as in lr=1e-3:1:7 (log-spaced) or
    optimizer=sgd,adamw; all combinations are trained."""
    sampler: Literal["grid", "random", "tpe"] = "grid"
    """grid: every combination; random and tpe: so many --trials, between the
    ends of an axis of three or more positive numbers, else from its list."""
    trials: int = 0
    """Settings that random and tpe try."""
    out: Annotated[Path | None, arg(metavar="PATH", help_behavior_hint="")] = None
    """Folder of the sweep; the same one goes on, also with more values.
    Default: runs/sweep-EXPERIMENT."""
    workers: int = 1
    """Processes at a time (local), or tasks (ray, slurm)."""
    engine: Literal["local", "ray", "slurm", "none"] = "local"
    """Who runs the workers; none only fills the queue, for workers elsewhere."""
    option: Pairs = ()
    """Of ray (address, num_cpus, num_gpus) or slurm (timeout_min,
    gpus_per_node, slurm_partition, cluster, ...)."""
    storage: str = ""
    """The queue, as in postgresql+psycopg://user@host/db; default: SQLite in the
    folder. Also by ETALAMBDA_STORAGE, which keeps a password off the command line."""
    study: str = ""
    """The queue's name in the storage; default: the folder's."""
    together: int = 64
    """Cells that one worker trains at once, where the experiment can."""
    heartbeat: int = 60
    """Seconds between a worker's signs of life; work is given to another after twice that."""
    dry_run: bool = False
    """List the cells and what they will cost; train nothing."""


@dataclass(frozen=True)
class SeededOptions(Options):
    """The same, for experiments of one seed each."""

    seeds: int = 1
    """How many seeds a cell: seed, seed + 1, ..."""


def sweep(words: Sequence[str]) -> None:
    """Parse ``[EXPERIMENT] FLAGS`` and run the sweep: the flags are the sweep's and the
    experiment's own."""
    import tyro

    if words and not words[0].startswith("-"):
        kind, *rest = words
    else:
        kind, rest = DEFAULT, list(words)
    config_class = target(kind).config_class()
    options_class = SeededOptions if "seed" in _names(config_class) else Options
    listed = ", ".join(f"{name} (default)" if name == DEFAULT else name for name in TARGETS)
    text = (
        "Train every combination of values, on any number of workers and machines.\n\n"
        "The first word is the experiment: "
        f"{listed}, or a module of yours with Config and run. Its own flags set what all cells "
        "share. Stopped, killed or on a full disk: the same command goes on.\n\nAs in: "
        "etalambda sweep cell --over lr=1e-2:1:7 --over weight_decay=0,1e-3,1e-2 --seeds 3"
    )

    def main(options: Any, config: Any) -> None:
        run(kind, options, config)

    main.__doc__ = text
    main.__annotations__ = {  # which classes is known only now
        "options": Annotated[options_class, arg(name="")],
        "config": Annotated[config_class, arg(name="")],
    }
    tyro.cli(main, prog=f"etalambda sweep {kind}", args=list(rest))


def _names(config_class: Any) -> list[str]:
    return [field.name for field in fields(config_class)]


def run(kind: str, options: Options, config: Any) -> None:
    """Run the sweep, or with ``dry_run`` say what it would do."""
    check_counts(workers=options.workers, heartbeat=options.heartbeat)
    plan = plan_of(kind, options, config)
    out = options.out or Path(f"runs/sweep-{kind.rpartition('.')[2]}")
    if options.dry_run:
        return _foretell(plan, options, out)
    from etalambda.lab.console import progress_bar
    from etalambda.lab.sweep import run_sweep

    try:
        with progress_bar(f"sweep {kind}") as progress:
            counts = run_sweep(
                plan,
                out,
                storage=options.storage or os.environ.get("ETALAMBDA_STORAGE", ""),
                study=options.study,
                workers=options.workers,
                engine=options.engine,
                options=_pairs(options.option),
                heartbeat=options.heartbeat,
                progress=progress,
            )
    except KeyboardInterrupt:
        print(
            f"\nstopped; finished cells are kept in {out}. The same command goes on",
            file=sys.stderr,
        )
        raise
    _say(counts, plan, out, options)
    return None


def plan_of(kind: str, options: Options, config: Any) -> Plan:
    """The plan that the flags ask for.

    Raises:
        ValueError: If a field, a value or a combination is not possible; nothing has run then.
    """
    from etalambda.lab.sweep.plan import Plan
    from etalambda.lab.sweep.space import Axis, parse_axis

    axes = [parse_axis(text, config) for text in options.over]
    seeds = getattr(options, "seeds", 1)
    check_counts(seeds=seeds)
    if seeds > 1:
        if any(axis.field == "seed" for axis in axes):
            raise ValueError("seeds and --over seed=... are two ways to say one thing; give one")
        first = config.seed
        axes.append(Axis("seed", tuple(range(first, first + seeds))))
    plan = Plan(kind, config, tuple(axes), options.sampler, options.trials, options.together)
    plan.cells()
    return plan


def _pairs(pairs: Sequence[str]) -> dict[str, str]:
    for pair in pairs:
        if "=" not in pair:
            raise ValueError(f"option must be NAME=VALUE, as in timeout_min=60, got {pair!r}")
    return {name: value for name, _, value in (pair.partition("=") for pair in pairs)}


def _foretell(plan: Plan, options: Options, out: Path) -> None:
    from etalambda.lab.console import print_table
    from etalambda.lab.report.tables import Table
    from etalambda.lab.sweep.cost import estimate

    cells = plan.cells()
    names = [axis.field for axis in plan.axes]
    rows = [[found.name, *(str(found.values[n]) for n in names)] for found in cells[:SHOWN]]
    more = f"; {len(cells) - SHOWN} more" if len(cells) > SHOWN else ""
    total = len(cells) or plan.trials * max(1, len(plan.seeds))
    title = f"{total} cells of {plan.kind} into {out}"
    note = "tpe chooses each setting when its turn comes" if not cells else ""
    print_table(Table(title, ("cell", *names), rows, note + more.removeprefix("; ")))
    print(estimate(plan, out, options.workers))


def _say(counts: Counts, plan: Plan, out: Path, options: Options) -> None:
    if options.engine == "none":
        print(f"{counts.waiting} units of work wait; help with: etalambda worker --out {out} ...")
        return
    if counts.total:
        print(f"{counts.done} of {counts.total} units of work done in {out}")
    else:
        print(f"all {len(plan.cells())} cells were finished in {out} already")
    for trial in counts.failed:
        error = trial.user_attrs.get("error", "its workers died one after the other")
        print(f"  failed: {trial.user_attrs['unit']}: {error}", file=sys.stderr)
    if counts.failed:
        print("  the same command tries the failed ones again", file=sys.stderr)
    print(f"look at it: etalambda ls {out}\n            etalambda report {out}")


def worker(
    experiment: Positional[Annotated[str, arg(metavar="[EXPERIMENT]")]] = "",
    storage: str = "",
    study: str = "",
    out: Annotated[Path | None, arg(metavar="PATH", help_behavior_hint="")] = None,
    heartbeat: int = 60,
    quiet: bool = False,
) -> None:
    """Take work from a sweep until nothing is left: on this machine or on any other.

    Start as many as you like, when you like, by ssh, in a Slurm array or a Kubernetes job. Killed
    ones lose nothing: others go on with what they held.

    As in: etalambda worker --storage postgresql+psycopg://user@host/db --study digits --out DIR

    Args:
        experiment: Needed only for a module of your own: it is imported.
        storage: The queue's address; also by ETALAMBDA_STORAGE. Default: SQLite in --out.
        study: The sweep's name, where the storage holds several.
        out: Folder of the sweep; on many machines one that all of them see. Default: runs/STUDY.
        heartbeat: Seconds between two signs of life.
        quiet: Say nothing.
    """
    from etalambda.lab.sweep.queue import Queue
    from etalambda.lab.sweep.storage import sqlite_url, storage_of
    from etalambda.lab.sweep.work import work

    check_counts(heartbeat=heartbeat)
    url = storage or os.environ.get("ETALAMBDA_STORAGE", "")
    if not url:
        if out is None or not (out / "sweep.db").is_file():
            raise ValueError("name the queue: --storage URL, or --out FOLDER with a sweep.db in it")
        url = sqlite_url(out)
    with storage_of(url, heartbeat) as storage:
        queue = Queue.load(storage, study, trusted=experiment)
        folder = out or Path("runs") / queue.study.study_name
        if not quiet:
            print(f"worker of {queue.study.study_name}: records go to {folder}", file=sys.stderr)
        done = work(queue, folder)
    if not quiet:
        print(f"nothing is left to do; {done} units were done here")
