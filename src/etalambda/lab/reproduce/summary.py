"""``docs/reproduction.md``: one row a figure, written from the evidence and from nothing else."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from typing import Any

from etalambda.lab.numbers import number
from etalambda.lab.reproduce.evidence import Kept
from etalambda.lab.reproduce.figure import SCALES, Figure
from etalambda.lab.reproduce.registry import find, names

PAPERS = {
    "richemond2019": "Richemond & Guo 2019, complexity gradient descent",
    "li2020": "Li, Lyu & Arora 2020, the intrinsic learning rate",
    "lewkowycz2020": "Lewkowycz & Gur-Ari 2020, training dynamics with L2",
    "xie2022": "Xie, Sato & Sugiyama 2022, stable weight decay",
    "parttwo": "Part II, the evaluation that Richemond & Guo announced",
}

HEAD = """\
# Reproduction

Every figure and table of the papers is a command, and every claim a criterion with a margin that
was written before the run. A criterion *holds* if the whole 95 % interval lies inside its margin,
*fails* if none of it does, and is *undecided* otherwise; a figure holds if all its criteria do.

```sh
etalambda reproduce                                # all figures, what they cost, how they stand
etalambda reproduce li2020-fig3 --scale cpu        # run, judge and draw one
```

`smoke` takes seconds and runs in CI; `cpu` minutes of one core on small networks; `gpu` the
papers' networks, shortened where the figure says so; `paper` is the full recipe. The rows below
show the largest scale that was run, and the criterion that decides. This page is written by
`python -m etalambda.lab.reproduce.summary docs`; a test checks that it is current and that today's
code draws the same verdicts from the kept tables.
"""


LEFT = """\
## Not run

Scales that have a recipe and no evidence yet. `smoke` of each runs in CI, which judges nothing. The
minutes of `cpu` are those of one core, of `gpu` and `paper` those of one H200. No GPU ran any of
these: their minutes are reckoned from rates that were measured on one, [a training
step](evidence/bench-train/cifar-h200.log) and [the engine's
step](evidence/bench-engine/engine-cnn-resnet-figure3-gpu.json), as the last column says, and are
guesses where it says so. A run goes on where it was stopped: `--minutes 9` ends a slice.

```sh
etalambda reproduce NAME --scale gpu --device cuda --data-dir FOLDER --minutes 9
```

| figure | scale | minutes | reckoned from | command |
|---|---|---|---|---|
"""


def page(kept: Iterable[Kept]) -> str:
    """The page as Markdown."""
    best: dict[str, Kept] = {}
    there = set()
    for one in sorted(kept, key=lambda k: SCALES.index(k.scale)):
        there.add((one.figure, one.scale))
        if one.scale != "smoke":
            best[one.figure] = one
    parts = [HEAD]
    for paper, group in groupby(sorted(best), key=lambda name: name.partition("-")[0]):
        parts += [f"## {PAPERS.get(paper, paper)}", "", _HEADER]
        parts += [_row(best[name].said) for name in group]
        parts.append("")
    figures = map(find, names())
    left = [_left(figure, scale) for figure in figures for scale in SCALES[1:]
            if scale in figure.recipes and (figure.name, scale) not in there]  # fmt: skip
    parts.append(LEFT + "\n".join(left))
    return "\n".join(parts).rstrip() + "\n"


def _left(figure: Figure, scale: str) -> str:
    """The row of a scale that was not run; figures that read another's run name that one."""
    recipe = figure.recipe(scale)
    where = "" if scale == "cpu" else " --device cuda --data-dir FOLDER"
    said = recipe.reckoned or "a guess, from like runs on one core"
    if figure.measured_by:
        said = f"the run of {figure.measured_by}"
    command = f"`etalambda reproduce {figure.name} --scale {scale}{where}`"
    return f"| {figure.name}, {figure.shows} | {scale} | {recipe.minutes:g} | {said} | {command} |"


_HEADER = "| figure | the paper's claim | our numbers | scale | verdict |\n|---|---|---|---|---|"


def _row(said: dict[str, Any]) -> str:
    name = said["figure"]
    link = f"[{name}](evidence/{name}/{said['scale']}.json)"
    picture = f"[picture](evidence/{name}/{said['scale']}.png)"
    numbers = "; ".join(_number(finding) for finding in said["findings"])
    cells = [
        f"{link}, {said['shows']} ({picture})",
        said["claim"],
        numbers,
        said["scale"],
        f"**{said['verdict']}**",
    ]
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def _number(finding: dict[str, Any]) -> str:
    value, low, high = (
        number(float("nan") if finding[key] is None else finding[key])
        for key in ("value", "low", "high")
    )
    ends = f" ({low} to {high})" if low != high else ""
    asked = f"asked {finding['margin']}"
    return f"{finding['asks']}: {value}{ends}, n = {finding['n']}, {asked}: {finding['outcome']}"


def main(docs: str) -> None:
    """Write ``<docs>/reproduction.md`` from ``<docs>/evidence``."""
    from pathlib import Path

    from etalambda.lab.records.files import write_text
    from etalambda.lab.reproduce.evidence import found

    home = Path(docs)
    write_text(home / "reproduction.md", page(found(home / "evidence")))


if __name__ == "__main__":
    import sys

    main(*sys.argv[1:])
