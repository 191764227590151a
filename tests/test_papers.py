"""PAPERS.md is true: every row names an object, a test or a page that exists."""

import re
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROW = re.compile(r"^\| *([A-Z]+-[^|]+?) *\|([^|]*)\|([^|]*)\|", re.MULTILINE)
ROWS = ROW.findall((ROOT / "PAPERS.md").read_text())
TARGETS = [
    (identity, target) for identity, _, where in ROWS for target in re.findall(r"`([^`]+)`", where)
]


def resolve(target: str) -> object:
    """A dotted path into the package, or a file of the repository with an optional ``::name``."""
    if "/" in target or target.endswith(".md"):
        path, _, name = target.partition("::")
        text = (ROOT / path).read_text()
        assert not name or re.search(rf"\b(def|class) {re.escape(name)}\b", text), target
        return path
    parts = target.split(".")
    for cut in range(len(parts), 0, -1):
        try:
            found = import_module(".".join(parts[:cut]))
        except ModuleNotFoundError:
            continue
        for name in parts[cut:]:
            found = getattr(found, name)
        return found
    raise AssertionError(f"{target} is neither a module nor an attribute of one")


def test_there_are_rows_and_no_two_share_an_id():
    identities = [identity for identity, _, _ in ROWS]
    assert len(identities) > 100
    assert sorted(identities) == sorted(set(identities))


@pytest.mark.parametrize(("identity", "target"), TARGETS)
def test_row_resolves(identity, target):
    assert resolve(target) is not None


@pytest.mark.parametrize("row", ROWS, ids=[identity for identity, _, _ in ROWS])
def test_row_is_implemented_or_says_why_not(row):
    """A row names an object, or opens with ``planned`` or ``no code:`` and the reason."""
    _, _, where = row
    assert "`" in where or where.strip().startswith(("planned", "no code:")), row
