"""``etalambda report``: one offline page from any runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

Folders = Annotated[
    Positional[tuple[Path, ...]], arg(metavar="[FOLDER ...]", help_behavior_hint="")
]
MaybePath = Annotated[Path | None, arg(metavar="PATH", help_behavior_hint="")]


def report(folders: Folders = (), out: MaybePath = None, pictures: MaybePath = None) -> None:
    """One offline HTML page from any runs, finished or not.

    As in: etalambda report runs/sweep-train --pictures figures

    Args:
        folders: Run folders, or folders that hold some. Default: runs.
        out: Where to write the page. Default: report.html in the first folder.
        pictures: Also write every static figure there, as SVG and PDF for papers.
    """
    from etalambda.lab.report import find_runs, write_pictures, write_report

    places = list(folders) or [Path("runs")]
    runs = find_runs(places)
    page = write_report(runs, out or places[0] / "report.html")
    if pictures is not None:
        print("\n".join(str(path) for path in write_pictures(runs, pictures)))
    size = page.stat().st_size / 1e6
    count = "1 run" if len(runs) == 1 else f"{len(runs)} runs"
    print(f"{count} on one page, {size:.1f} MB: {page.resolve().as_uri()}")
