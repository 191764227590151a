"""``etalambda demo``: the clock, the map, the comparison and one page that shows them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from etalambda.lab.commands.experiments import at_best_lr, show, train
from etalambda.lab.configs import ClockConfig, CompareConfig, MapConfig

GOODBYE = """
The page:  {page}

Your own script, two lines before the training loop:

    import etalambda as el
    print(el.audit(model, optimizer, steps=STEPS))
"""


def demo(out: Path = Path("runs/demo"), device: str = "cpu") -> None:
    """Train the clock, the map and the comparison, and write one page about them.

    About three minutes on two cores. Each part is kept as it finishes; Ctrl-C and the same command
    again go on. Also by hand: etalambda clock, etalambda map digits, etalambda compare digits,
    etalambda report.

    Args:
        out: Folder of the runs and of report.html.
        device: torch device of the networks, as in cpu or cuda:0.
    """
    run_demo(
        out, ClockConfig(device=device), MapConfig(device=device), CompareConfig(device=device)
    )


def run_demo(out: Path, clock: ClockConfig, map: MapConfig, compare: CompareConfig) -> Path:
    """Train everything, print the tables, write the page and say where it is."""
    from etalambda.lab.report import find_runs, write_report

    folders = []
    for name, kind, config in _plan(out, clock, map, compare):
        train(kind, config, out / name)
        folders.append(out / name)
        show(find_runs([out / name])[out / name])
    page = write_report(find_runs(folders), out / "report.html")
    print(GOODBYE.format(page=page.resolve().as_uri()))
    return page


def _plan(
    out: Path, clock: ClockConfig, map: MapConfig, compare: CompareConfig
) -> Iterator[tuple[str, str, Any]]:
    """(folder, kind, config), each made when its turn comes: the comparison needs the map's lr."""
    yield "clock", "clock", clock
    yield "map", "map", map
    yield "map-clean", "map", clean(map)
    yield "compare", "compare", at_best_lr(compare, out / "map")


def clean(config: MapConfig) -> MapConfig:
    """The same map with right labels, on every third lr and for one short length."""
    return replace(config, label_noise=0.0, lrs=config.lrs[1::3], lengths=config.lengths[:1])
