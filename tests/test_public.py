"""The public surface: complete, lazy, and each name marked stable or experimental."""

import inspect
from importlib import import_module
from typing import is_typeddict

import pytest

import etalambda as el

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


@pytest.mark.parametrize("room", ROOMS)
def test_every_public_name_has_an_example(room):
    """A doctest, which runs with the other tests; modules have theirs function by function."""
    module = import_module(f"etalambda.{room}")
    for name in module.__all__:
        found = getattr(module, name)
        if room == "theory":
            for part in filter(_runs, vars(found).values()):
                if part.__module__ == found.__name__ and not part.__name__.startswith("_"):
                    assert ">>>" in part.__doc__, f"{found.__name__}.{part.__name__} has no example"
        elif callable(found):
            assert ">>>" in found.__doc__, f"etalambda.{room}.{name} has no example"


def _runs(part):
    """A function or a class; what only describes a type has nothing to run."""
    if inspect.isclass(part):
        return not (is_typeddict(part) or getattr(part, "_is_protocol", False))
    return inspect.isfunction(part)


def test_suggest_is_both_a_room_and_a_function():
    from etalambda.suggest import suggest

    assert el.suggest.audit is el.audit
    assert el.suggest.suggest is suggest
