"""The theory page: one offline file whose curves are the theory's own."""

import json
import re

import numpy as np
import pytest

from etalambda.lab import theory_page
from etalambda.theory import wide


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    return theory_page.build(tmp_path_factory.mktemp("page") / "new" / "theory.html").read_text()


def specs(page):
    blocks = re.findall(r'data-sliders="(\w+)">(.*?)</script>', page, re.S)
    return {name: json.loads(text) for name, text in blocks}


def test_the_page_is_one_offline_file(page):
    assert len(page) < 8e6
    ours = "".join(part for part in page.split("<script>") if "plotly.js v" not in part)
    assert not re.findall(r'(?:src|href)="(?:https?:)?//', ours)
    assert page.count("plotly.js v") == 1


def test_every_position_of_the_sliders_has_curves(page):
    found = specs(page)
    assert set(found) == {"norm", "modes", "saddles", "spectrum"}
    for name, spec in found.items():
        assert len(spec["curves"]) == np.prod([len(texts) for texts in spec["texts"]]), name
        charts = json.loads(re.search(rf'data-chart="{name}">(.*?)</script>', page, re.S)[1])
        assert {len(curves) for curves in spec["curves"]} == {len(charts["data"])}
        for curves in spec["curves"]:
            for x, y in curves:
                assert len(y) == len(spec["x"] if x is None else x)


def test_the_last_slider_runs_fastest(page):
    """Position (degree 2, λ = 1e-2) of the modes is wide.mode at these values, to 4 digits."""
    spec = specs(page)["modes"]
    i, j = spec["texts"][0].index("2"), spec["texts"][1].index("0.01")
    curve = spec["curves"][i * len(spec["texts"][1]) + j][1][1]
    expected = wide.mode(spec["x"], 2, 1.0, 0.01, 1.0, 0.0).numpy()
    np.testing.assert_allclose(curve, expected, rtol=0, atol=1e-4)


def test_values_are_finite(page):
    for name in ("norm", "modes", "spectrum"):
        for curves in specs(page)[name]["curves"]:
            assert all(value is not None for _, y in curves for value in y), name
