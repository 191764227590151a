"""``etalambda theory``: the closed forms as a page with sliders."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path


def theory(out: Path = Path("runs/theory.html")) -> None:
    """One offline HTML page with the theory's curves and a slider for each parameter.

    Norms under weight decay, modes of a wide network, saddles of a random landscape and their
    spectra. Nothing is trained; it takes a few seconds.

    Args:
        out: Where to write the page.
    """
    from etalambda.lab.console import progress_bar
    from etalambda.lab.theory_page import Panel, build

    with progress_bar("theory") as progress:

        def track(panels: list[Panel]) -> Iterator[Panel]:
            for i, panel in enumerate(panels):
                progress(i, len(panels), panel.title)
                yield panel

        page = build(out, track)
    print(f"page: {page.resolve().as_uri()}")
