"""Small pieces of HTML, everything escaped, and the numbers a script on the page reads."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from html import escape
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Section:
    """One part of the page: its anchor, title, HTML body and what it found, in sentences."""

    name: str
    title: str
    body: str
    findings: list[str] = field(default_factory=list)

    def to_html(self) -> str:
        """The section with its findings on top."""
        points = "".join(_point(finding) for finding in self.findings)
        found = f'<ul class="findings">{points}</ul>' if points else ""
        name = escape(self.name)
        return f'<section id="{name}"><h2>{escape(self.title)}</h2>{found}{self.body}</section>'


def _point(finding: str) -> str:
    alarm = ' class="alarm"' if finding.startswith("ALARM") else ""
    return f"<li{alarm}>{escape(finding)}</li>"


def paragraph(text: str, style: str = "") -> str:
    """One escaped paragraph."""
    kind = f' class="{escape(style)}"' if style else ""
    return f"<p{kind}>{escape(text)}</p>"


def code(text: str) -> str:
    """Escaped lines to copy, with a button that does it."""
    button = '<button type="button" class="copy">copy</button>'
    return f'<div class="code">{button}<pre><code>{escape(text)}</code></pre></div>'


def figures(panels: Iterable[str]) -> str:
    """Panels side by side, stacked on a narrow screen. Each is an ``<svg>`` or a `chart`."""
    return f'<div class="panels">{"".join(f"<figure>{panel}</figure>" for panel in panels)}</div>'


def legend(colours: Mapping[str, str]) -> str:
    """Names with their colours."""
    items = "".join(
        f'<li><i style="background:{escape(colour)}"></i>{escape(name)}</li>'
        for name, colour in colours.items()
    )
    return f'<ul class="legend">{items}</ul>'


def details(title: str, body: str) -> str:
    """HTML that opens on a click."""
    return f"<details><summary>{escape(title)}</summary>{body}</details>"


def chart(name: str, data: list[dict[str, Any]], layout: dict[str, Any], height: int = 420) -> str:
    """A plotly figure: an empty box, and its data as JSON that the page's script draws.

    Args:
        name: Unique on the page.
        data: plotly traces, plain dicts; arrays may be numpy's.
        layout: plotly layout.
        height: In pixels; the width is the page's.
    """
    name = escape(name)
    return (
        f'<div class="chart" id="{name}" style="height:{int(height)}px"></div>'
        f'<script type="application/json" data-chart="{name}">'
        f"{to_json({'data': data, 'layout': layout})}</script>"
    )


def to_json(value: Any) -> str:
    """JSON that may stand inside a script element: NaN is null, ``<`` cannot end the element.

    >>> to_json({"x": np.array([1.0, np.nan]), "name": "</script>"})
    '{"x": [1.0, null], "name": "\\\\u003c/script>"}'
    """
    text = json.dumps(_plain(value), allow_nan=False)
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, dict):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    if isinstance(value, float):
        return float(f"{value:.6g}") if np.isfinite(value) else None
    return value
