"""``etalambda reproduce``: the figures of the papers, run, judged and drawn."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import Positional, arg

Figures = Positional[Annotated[tuple[str, ...], arg(metavar="[FIGURE ...]", help_behavior_hint="")]]
Scale = Annotated[str, arg(metavar="{smoke,cpu,gpu,paper}")]
MaybePath = Annotated[Path | None, arg(metavar="PATH", help_behavior_hint="")]
Minutes = Annotated[float, arg(help_behavior_hint="(default: no limit)")]
RUNS = Path("runs/reproduce")


def reproduce(
    figures: Figures = (),
    all: bool = False,
    scale: Scale = "smoke",
    device: str = "cpu",
    out: Path = RUNS,
    data_dir: MaybePath = None,
    minutes: Minutes = float("inf"),
    evidence: MaybePath = None,
) -> None:
    """The figures and tables of the papers: each a recipe, a claim that can fail, and a drawing.

    Without a name it lists them, what they cost and how they stand. With names it runs those, says
    whether the claim holds by a margin that was set beforehand, and draws them next to the run.

    As in: etalambda reproduce li2020-explr --scale cpu

    Args:
        figures: Names, as in li2020-explr.
        all: Run all figures that have a recipe at the scale.
        scale: smoke is seconds, cpu minutes of one core, gpu a large GPU, paper the full recipe.
        device: torch device of the networks, as in cpu or cuda:0.
        out: Folder of the runs; the same command goes on where it was stopped.
        data_dir: Folder of real data sets, for the figures that need them.
        minutes: Stop after that long, keeping what is done.
        evidence: Also write results and verdict there, as in docs/evidence.
    """
    from etalambda.lab.reproduce import SCALES, find, names

    if scale not in SCALES:
        from etalambda._common import unknown

        raise unknown("scale", scale, SCALES)
    if not figures and not all:
        list_figures(out)
        return
    chosen = [find(name) for name in (names() if all else figures)]
    if all:
        chosen = [figure for figure in chosen if scale in figure.recipes]
    for figure in chosen:
        figure.recipe(scale)  # an unknown scale of the last one is said before the first is run
    for figure in chosen:
        where = dict(device=device, data=data_dir, minutes=minutes)
        if not run(figure, scale, out, evidence, **where):
            return


def run(figure: Any, scale: str, out: Path, evidence: Path | None, **where: Any) -> bool:
    """Run, judge, draw and print one figure; False if it stopped before its end.

    Raises:
        KeyboardInterrupt: After saying what is kept and how to go on.
    """
    from etalambda.lab.commands.experiments import check_device
    from etalambda.lab.console import progress_bar
    from etalambda.lab.figures.style import save
    from etalambda.lab.reproduce import measure, outcome, said

    check_device(where["device"])
    again = f"etalambda reproduce {figure.name} --scale {scale} --out {out}"
    try:
        with progress_bar(figure.name) as progress:
            done = measure(figure, scale, out, progress=progress, **where)
    except KeyboardInterrupt:
        print(f"\nstopped; finished parts are kept. Go on with:\n  {again}", file=sys.stderr)
        raise
    if not done:
        print(f"time is over; finished parts are kept. Go on with:\n  {again}", file=sys.stderr)
        return False
    made = outcome(figure, scale, out)
    print("\n".join(said(made)))
    print(f"  picture: {save(made.picture, out / f'{figure.name}.{scale}.png')}")
    if evidence is not None:
        from etalambda.lab.reproduce.evidence import keep

        print(f"  evidence: {keep(made, evidence)}")
    return True


def list_figures(out: Path) -> None:
    """Print every figure: what it costs at each scale, and what the runs below ``out`` hold."""
    from etalambda.lab.console import print_table
    from etalambda.lab.report.tables import Table
    from etalambda.lab.reproduce import SCALES, find, names

    rows = []
    for name in names():
        figure = find(name)
        costs = [_cost(figure.recipes.get(scale)) for scale in SCALES]
        rows.append([name, figure.shows, *costs, _state(figure, out)])
    note = (
        "smoke and cpu: one core; gpu and paper: one large GPU, ~ reckoned and not measured. "
        "Run one with: etalambda reproduce NAME --scale cpu, or, in slices that go on where the "
        "last one ended: --scale gpu --device cuda --data-dir FOLDER --minutes 9"
    )
    columns = ("figure", "in the paper", *SCALES, "runs here")
    print_table(Table(f"{len(rows)} figures", columns, rows, note))


def _cost(recipe: Any) -> str:
    if recipe is None:
        return "–"
    minutes, mark = recipe.minutes, "~" if recipe.reckoned else ""
    if minutes < 1:
        return f"{mark}{60 * minutes:.0f} s"
    return f"{mark}{minutes:.0f} min" if minutes < 120 else f"{mark}{minutes / 60:.0f} h"


def _state(figure: Any, out: Path) -> str:
    from etalambda.lab.records import RecordError, read
    from etalambda.lab.reproduce.running import folder_of

    said = []
    for scale in figure.recipes:
        try:
            run = read(folder_of(figure, scale, out))
        except RecordError:
            continue
        outcome = figure.judge(run.tables).outcome if run.finished else "unfinished"
        said.append(f"{scale}: {outcome}")
    return ", ".join(said)
