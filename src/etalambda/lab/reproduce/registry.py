"""All figures: one module each, ``lab/figures/<paper>/<figure>.py`` with a ``FIGURE``.

A ``_`` in a module name is a ``-`` in its figure; modules that begin with ``_`` are no figures.
"""

from __future__ import annotations

import pkgutil
from importlib import import_module

from etalambda._common import unknown
from etalambda.lab import figures
from etalambda.lab.reproduce.figure import Figure

_HOME = figures.__name__


def names() -> list[str]:
    """Every figure's name, without importing any.

    >>> "richemond2019-fig1" in names()
    True
    """
    found = []
    for paper in pkgutil.iter_modules(figures.__path__):
        if paper.ispkg:
            package = import_module(f"{_HOME}.{paper.name}")
            modules = [m.name for m in pkgutil.iter_modules(package.__path__)]
            ours = [name.replace("_", "-") for name in modules if not name.startswith("_")]
            found += [f"{paper.name}-{name}" for name in ours]
    return sorted(found)


def find(name: str) -> Figure:
    """One figure by its name.

    Raises:
        ValueError: If there is none of that name; the message lists the known ones.

    >>> find("richemond2019-fig1").shows
    'Figure 1'
    """
    known = names()
    if name not in known:
        raise unknown("figure", name, known)
    paper, _, rest = name.partition("-")
    found = import_module(f"{_HOME}.{paper}.{rest.replace('-', '_')}").FIGURE
    if found.name != name:
        raise ValueError(f"{name}'s module declares the figure {found.name!r}; make them equal")
    return found
