"""Sphinx builds the Markdown of this folder: `make docs`."""

import re
import shutil
from importlib.metadata import version as _version
from importlib.util import find_spec as _find_spec
from pathlib import Path as _Path

from docutils import nodes as _nodes

project = "etalambda"
author = "The etalambda authors"
project_copyright = "the etalambda authors, Apache-2.0"
release = _version("etalambda")

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx.ext.mathjax",
]
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
exclude_patterns = ["_build", "evidence"]

default_role = "py:obj"  # `name` in a docstring is a link where the name is known
autodoc_typehints = "none"  # the signatures show them
autodoc_member_order = "bysource"
napoleon_google_docstring = True
napoleon_use_rtype = False
napoleon_use_ivar = True

html_theme = "furo"
html_title = "etalambda"
html_show_sphinx = False
html_static_path = ["_static"]
html_css_files = ["etalambda.css"]

# Formulas without a network: one file of a pinned package, copied into what is built.
mathjax_path = "mathjax/tex-svg-full.js"
mathjax3_config = {"options": {"enableMenu": False}}  # the menu would load more files


def _copy_mathjax(app, exception):
    if exception is None and app.builder.format == "html":
        source = _Path(_find_spec("mathjax").origin).parent / "static/mathjax"
        target = _Path(app.outdir) / "_static/mathjax"
        target.mkdir(parents=True, exist_ok=True)
        for name in ("es5/tex-svg-full.js", "LICENSE"):
            shutil.copy(source / name, target)


def _read(app, docname, source):
    """What differs between the files, as they are read elsewhere, and the built pages."""
    if docname == "reproduction":  # a line for each number
        source[0] = re.sub(r": (holds|fails|undecided); ", r": *\1*<br>", source[0])
        source[0] = re.sub(r": (holds|fails|undecided) \|", r": *\1* |", source[0])


def _unbroken(app, doctree, docname):
    """No line ends within "n = 8"."""
    kept = _nodes.literal | _nodes.math | _nodes.FixedTextElement
    for text in list(doctree.findall(_nodes.Text)):
        whole = re.sub(r"\b(\w+) = (?=-?\d)", "\\1\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}", text)
        if whole != text and not isinstance(text.parent, kept):
            text.parent.replace(text, _nodes.Text(whole))


# Docstrings are written to be read in a terminal. To Sphinx |x| is a substitution, a lone * opens
# an emphasis, and an indented formula is a quotation whose columns are lost.
_KEEP = re.compile(
    r"``.+?``|`[^`]+`|:\w+:|\*\*[^\s*][^*]*\*\*|(?<![\w*])\*[^\s*](?:[^*]*[^\s*])?\*(?![\w*])"
)


def _escaped(line):
    parts, end = [], 0
    for kept in [*_KEEP.finditer(line), None]:
        start = kept.start() if kept else len(line)
        parts.append(re.sub(r"([|*])", r"\\\1", line[end:start]))
        if kept:
            parts.append(kept.group())
            end = kept.end()
    return "".join(parts)


def _readable(app, what, name, obj, options, lines):
    if what in ("property", "attribute", "data") and lines:  # napoleon takes "x: y" for a type
        lines[0] = lines[0].replace(": ", " – ")
    written, before, literal, doctest = [], "", False, False
    for line in lines:
        indented = line.startswith("    ")
        if line.strip() and not indented:
            literal = False
        elif indented and not literal and written and not written[-1].strip():
            doctest = line.lstrip().startswith(">>>")
            if before and not before.startswith(" ") and not before.endswith("::") and not doctest:
                written += ["::", ""]
                literal = True
        doctest = bool(line.strip()) and (doctest or line.lstrip().startswith(">>>"))
        written.append(line if literal or doctest else _escaped(line))
        before = line if line.strip() else before
    lines[:] = written


def setup(app):
    app.connect("source-read", _read)
    app.connect("doctree-resolved", _unbroken)
    app.connect("autodoc-process-docstring", _readable, priority=400)  # before napoleon
    app.connect("build-finished", _copy_mathjax)
