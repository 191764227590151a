"""The pages build without a warning, show formulas, and load nothing from a network."""

import os
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

DOCS = Path(__file__).parent.parent / "docs"
pytest.importorskip("sphinx")
pytest.importorskip("mathjax")


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """As `make docs` builds them, elsewhere."""
    out = tmp_path_factory.mktemp("docs")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html"]
    done = subprocess.run(
        [*command, "-d", out / "doctrees", DOCS, out / "html"],
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    return out / "html"


def test_no_page_needs_a_network(built):
    found = subprocess.run(
        [sys.executable, DOCS / "offline.py", built], capture_output=True, text=True
    )
    assert found.returncode == 0, found.stderr


def test_formulas_have_their_renderer(built):
    page = (built / "theory.html").read_text()
    (script,) = re.findall(r'src="(_static/mathjax/[^"?]+)', page)
    assert (built / script).stat().st_size > 1e6
    assert page.count('class="math') > 40


def test_the_reference_has_every_public_name(built):
    for room in ("diagnose", "integrations", "optim", "schedule", "suggest", "theory"):
        page = (built / f"api/{room}.html").read_text()
        for name in import_module(f"etalambda.{room}").__all__:
            whole = f"etalambda.{room}.{name}"
            assert f'id="{whole}"' in page or f'id="module-{whole}"' in page, whole
