"""``docs/reproduction.md``: one row a figure, written from the evidence and from nothing else."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from typing import Any

from etalambda.lab.numbers import number
from etalambda.lab.reproduce.evidence import Kept
from etalambda.lab.reproduce.figure import SCALES

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


def page(kept: Iterable[Kept]) -> str:
    """The page as Markdown."""
    best: dict[str, Kept] = {}
    for one in sorted(kept, key=lambda k: SCALES.index(k.scale)):
        if one.scale != "smoke":
            best[one.figure] = one
    parts = [HEAD]
    for paper, group in groupby(sorted(best), key=lambda name: name.partition("-")[0]):
        parts += [f"## {PAPERS.get(paper, paper)}", "", _HEADER]
        parts += [_row(best[name].said) for name in group]
        parts.append("")
    return "\n".join(parts).rstrip() + "\n"


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
