"""Sphinx builds the Markdown of this folder: `make docs`."""

from importlib.metadata import version as _version

project = "etalambda"
author = "The etalambda authors"
release = _version("etalambda")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
exclude_patterns = ["_build", "evidence"]

autodoc_typehints = "none"  # the signatures show them
autodoc_member_order = "bysource"
napoleon_google_docstring = True
napoleon_use_rtype = False

html_theme = "furo"
html_title = "etalambda"
html_show_sphinx = False
