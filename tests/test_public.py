"""The public surface: complete, lazy, and each name marked stable or experimental."""

import inspect
import re
from importlib import import_module
from pathlib import Path
from typing import is_typeddict

import pytest

import etalambda as el

API = Path(__file__).parent.parent / "docs" / "api"
PAGES = "\n".join(page.read_text() for page in sorted(API.glob("*.md")))
BLOCKS = re.findall(r"^\.\. automodule:: (\S+)\n((?: +:.*\n)*)", PAGES, re.MULTILINE)
ROOMS = ("optim", "schedule", "theory", "diagnose", "suggest", "integrations", "lab")


def test_top_level_is_complete():
    names = [
        "tie",
        "Scheduler",
        "audit",
        "suggest",
        "param_groups",
        "decay_budget",
        "stats",
        "AdamS",
        "Monitor",
    ]
    assert sorted(names) == el.__all__
    for name in names:
        assert callable(getattr(el, name))
    assert set(names) <= set(dir(el))


def test_unknown_attribute_names_the_known_ones():
    with pytest.raises(AttributeError, match="has no attribute 'AdamZ'"):
        _ = el.AdamZ


@pytest.mark.parametrize("room", ROOMS)
def test_every_public_name_is_documented_and_marked(room):
    """``EXPERIMENTAL`` lists the names that may change in a minor release; the rest are stable."""
    module = import_module(f"etalambda.{room}")
    assert set(module.EXPERIMENTAL) <= set(module.__all__)
    for name in module.__all__:
        assert getattr(module, name).__doc__, f"etalambda.{room}.{name} has no docstring"


def test_the_api_pages_hold_every_room():
    rooms = {f"etalambda.{room}" for room in ROOMS if room != "lab"}  # whose parts are listed
    assert rooms <= {name for name, _ in BLOCKS}
    theory = import_module("etalambda.theory")
    assert {f"etalambda.theory.{name}" for name in theory.__all__} <= {name for name, _ in BLOCKS}


@pytest.mark.parametrize("name", [name for name, options in BLOCKS if ":members:" in options])
def test_every_name_of_the_api_pages_has_an_example(name):
    """A doctest, which runs with the other tests, in the docstring that the page shows."""
    module = import_module(name)
    ours = [n for n, part in vars(module).items() if getattr(part, "__module__", "") == name]
    for public in getattr(module, "__all__", ours):
        part = getattr(module, public)
        if not public.startswith("_") and runs(part):
            assert ">>>" in (part.__doc__ or ""), f"{name}.{public} has no example"


def runs(part):
    """Whether there is something to run: not in a constant, nor in what only describes a type.

    An exception has its example where it is raised.
    """
    if inspect.isclass(part):
        described = is_typeddict(part) or getattr(part, "_is_protocol", False)
        return not (described or issubclass(part, Exception))
    return inspect.isroutine(part)


def test_suggest_is_both_a_room_and_a_function():
    from etalambda.suggest import suggest

    assert el.suggest.audit is el.audit
    assert el.suggest.suggest is suggest
