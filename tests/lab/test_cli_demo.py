"""The demo, in small: real training, every record, and the page at its end."""

import re
from dataclasses import replace

import pytest

from etalambda.lab.commands import demo
from etalambda.lab.configs import MODELS, OPTIMIZERS, ClockConfig, CompareConfig, MapConfig
from etalambda.lab.figures.grid import map_grid
from etalambda.lab.records import read

SMALL = (
    ClockConfig(seeds=1, steps=100, p=5, width=4, every=50),
    MapConfig(seeds=2, epochs=1, lrs=(0.03, 0.1, 0.2), weight_decays=(1e-3, 1e-2), lengths=(1,)),
    CompareConfig(seeds=2, epochs=1, weight_decays=(1e-3, 1e-2)),
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    out = tmp_path_factory.mktemp("demo")
    return out, demo.run_demo(out, *SMALL).read_text()


def test_the_demo_trains_everything_and_shows_it_on_one_page(trained):
    out, page = trained
    names = {"clock": "clock", "map": "map", "map-clean": "map", "compare": "compare"}
    for name, kind in names.items():
        run = read(out / name)
        assert run.finished
        assert run.kind == kind
        assert f"etalambda {kind}" in page
        assert f"--out {out / name}" in page
    for title in ("The decay clock", "The map: digits mlp sgd, clean labels", "Ways of scheduling"):
        assert f"<h2>{title}" in page
    assert "not there yet" not in page
    assert len(re.findall(r'<div class="chart"', page)) >= 8


def test_the_comparison_trains_at_the_maps_best_lr(trained):
    out, _ = trained
    grid = map_grid(read(out / "map").tables["metrics"])
    assert read(out / "compare").config["lr"] == grid.lrs[grid.best[0]]
    assert read(out / "map-clean").config["label_noise"] == 0.0


def test_a_second_demo_trains_nothing_and_says_where_the_page_is(trained, capsys):
    out, page = trained
    before = {p: p.stat().st_mtime_ns for p in out.rglob("*.parquet")}
    assert demo.run_demo(out, *SMALL).read_text() == page
    assert {p: p.stat().st_mtime_ns for p in out.rglob("*.parquet")} == before
    said = capsys.readouterr()
    assert (out / "report.html").resolve().as_uri() in said.out
    assert "el.audit(model, optimizer" in said.out
    assert said.err.count("is finished already") == 4


def test_another_demo_in_the_same_folder_is_refused_before_it_trains(trained):
    out, _ = trained
    with pytest.raises(ValueError, match=r"seeds \(1 there, 2 now\)"):
        demo.run_demo(out, replace(SMALL[0], seeds=2), *SMALL[1:])


def test_the_names_of_the_flags_are_those_of_the_lab():
    from etalambda.lab import models
    from etalambda.optim import functional

    assert set(MODELS) <= set(models.MODELS)
    assert set(OPTIMIZERS) <= set(functional.RULES)
