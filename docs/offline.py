"""What would a built page load from the network? `python docs/offline.py FOLDER` names it.

Links to follow are fine; scripts, styles, fonts, pictures and frames must lie beside the page.
"""

import re
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

_LOADS = {"src", "srcset", "data", "poster"}  # what a browser fetches by itself, on any element
_STYLE = re.compile(r"""(?:url\(\s*|@import\s+)["']?((?:https?:)?//[^"')\s]+)""")


class _Loads(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._inside = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._inside = tag
        values = {name: value or "" for name, value in attrs}
        names = _LOADS | ({"href"} if tag == "link" and values.get("rel") != "canonical" else set())
        self.found += [
            values[name]
            for name in sorted(names & set(values))
            if re.match(r"(https?:)?//", values[name])
        ]
        self.found += _STYLE.findall(values.get("style", ""))

    def handle_data(self, data: str) -> None:
        if self._inside == "style":
            self.found += _STYLE.findall(data)

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""


def loads(text: str, suffix: str = ".html") -> list[str]:
    """What a page or a style sheet would fetch from another host.

    >>> loads('<a href="https://example.org">read</a> <script src="https://example.org/x.js">')
    ['https://example.org/x.js']
    >>> loads("@font-face { src: url(//example.org/f.woff2) }", ".css")
    ['//example.org/f.woff2']
    """
    if suffix == ".css":
        return _STYLE.findall(text)
    page = _Loads()
    page.feed(text)
    return page.found


def offenders(folder: Path) -> Iterator[str]:
    """``file: address`` for all that the pages below ``folder`` would fetch."""
    for path in sorted([*folder.rglob("*.html"), *folder.rglob("*.css")]):
        for address in loads(path.read_text(), path.suffix):
            yield f"{path.relative_to(folder)}: {address}"


if __name__ == "__main__":
    bad = list(offenders(Path(sys.argv[1])))
    sys.exit("\n".join(["these pages need a network:", *bad]) if bad else 0)
