"""The page: one HTML file that works without a network, on a phone and on paper.

plotly's script is written into it once. Every name and number that a run holds is escaped.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

from etalambda._common import need
from etalambda.lab.report.html import Section
from etalambda.lab.report.look import SCRIPT, STYLE

# The browser itself refuses what is not in the file: no request leaves the page.
POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data: blob:"
)
HEAD = (
    '<!doctype html><html lang="en"><head><meta charset="utf-8">'
    '<meta name="viewport" content="width=device-width,initial-scale=1">'
    f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
    '<meta name="generator" content="etalambda"><link rel="icon" href="data:,">'
)


def make_page(title: str, lead: str, sections: Sequence[Section]) -> str:
    """The whole page as text.

    Args:
        title: Its headline.
        lead: One sentence below it.
        sections: In order; their names are the anchors.
    """
    links = "".join(f'<a href="#{escape(s.name)}">{escape(s.title)}</a>' for s in sections)
    body = "".join(section.to_html() for section in sections)
    return (
        f"{HEAD}<title>{escape(title)}</title><style>{STYLE}</style></head><body>"
        f"<header><h1>{escape(title)}</h1><p>{escape(lead)}</p><nav>{links}</nav></header>"
        f"<main>{body}</main><footer></footer>{_scripts(body)}</body></html>\n"
    )


def _scripts(body: str) -> str:
    """plotly, when a chart asks for it, and the page's own few lines."""
    if "data-chart=" not in body:
        return f"<script>{SCRIPT}</script>"
    plotly = need("plotly.offline", "lab").get_plotlyjs()
    return f"<script>{plotly}</script><script>{SCRIPT}</script>"


def write_page(path: Path, text: str) -> Path:
    """Write the page, renamed into place when complete: a kill leaves the old one.

    Raises:
        OSError: If the disk refuses.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.tmp")
    try:
        part.unlink(missing_ok=True)
        with open(part, "x", encoding="utf-8") as file:  # never through a link
            file.write(text)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return path
