"""The theory's part of the page: what random landscapes say, and how far that carries."""

from __future__ import annotations

from etalambda.lab.figures.style import to_svg
from etalambda.lab.figures.theory import convexifying_panel, index_panel
from etalambda.lab.report.html import Section, figures, paragraph


def section() -> Section:
    """Two panels from closed forms; they hold for Gaussian random fields."""
    text = (
        "Why change weight decay during training at all? In a Gaussian random landscape the "
        "saddles near the bottom have few downhill directions, and the L2 penalty that would "
        "remove the rest falls with the loss, in a straight line (Richemond & Guo 2019, eq. 9 to "
        "11). That is the case for annealing weight decay with the loss."
    )
    caveat = (
        "These are closed forms for random fields, in units of the field, not measurements of a "
        "network: the rows of matched annealing above show what such a schedule does to one."
    )
    panels = [
        to_svg(index_panel(), "theory-index", "share of downhill directions against energy"),
        to_svg(convexifying_panel(), "theory-l2", "weight decay that convexifies against energy"),
    ]
    body = paragraph(text) + figures(panels) + paragraph(caveat, "note")
    return Section("theory", "A first look at the theory", body)
