"""Reproductions: every figure runs, judges and draws; runs go on; evidence and page are true."""

import math
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from etalambda.lab import cli, reproduce
from etalambda.lab.figures.style import figure as new_figure
from etalambda.lab.records import ConfigMismatch, RecordError
from etalambda.lab.reproduce import Figure, Recipe, above, below, evidence, judge, summary, within
from etalambda.lab.reproduce.criteria import FEWEST
from etalambda.lab.statistics import Interval, exact, mean_interval

DOCS = Path(__file__).parent.parent.parent / "docs"
NAMES = reproduce.names()
KEPT = list(evidence.found(DOCS / "evidence"))


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """One folder for all, as a user has it: figures of one measurement share its run."""
    return tmp_path_factory.mktemp("runs")


@pytest.mark.parametrize("name", NAMES)
def test_every_figure_runs_judges_and_draws_at_smoke_scale(name, runs, tmp_path):
    figure = reproduce.find(name)
    recipe = figure.recipes["smoke"]
    assert reproduce.measure(figure, "smoke", runs)
    made = reproduce.outcome(figure, "smoke", runs)
    assert made.verdict.outcome in ("holds", "fails", "undecided")
    assert any(axis.has_data() for axis in made.picture.axes)
    caption = made.picture.texts[-1].get_text().replace("\n", " ")
    assert f"{name} · smoke scale" in caption
    assert all(line in caption for line in recipe.departures)
    kept = evidence.keep(made, tmp_path / "evidence")
    assert (kept / "smoke.json").is_file()


@pytest.mark.parametrize("name", NAMES)
def test_every_recipe_says_what_it_costs_and_where_smoke_departs(name):
    figure = reproduce.find(name)
    assert figure.claim.endswith(".")
    assert all(recipe.minutes > 0 for recipe in figure.recipes.values())
    if len({str(recipe.config()) for recipe in figure.recipes.values()}) > 1:
        assert figure.recipes["smoke"].departures


@pytest.mark.parametrize("name", NAMES)
def test_what_no_gpu_ran_says_what_its_minutes_were_reckoned_from(name):
    figure = reproduce.find(name)
    for scale in {"gpu", "paper"} & set(figure.recipes):
        if not any(one.figure == name and one.scale == scale for one in KEPT):
            assert figure.recipes[scale].reckoned


@pytest.mark.parametrize(("name", "classes"), [("li2020-fig12", 10), ("li2020-fig13", 100)])
def test_the_five_schedules_train_the_networks_that_the_paper_names(name, classes):
    net = reproduce.find(name).recipes["gpu"].net().eval()
    assert net(torch.zeros(2, 3, 32, 32)).shape == (2, classes)
    *_, last = [module for module in net.modules() if isinstance(module, torch.nn.Linear)]
    assert not last.weight.requires_grad


def test_a_criterion_holds_or_fails_only_with_its_whole_interval():
    slope = within("slope", -1.2, -0.8)
    asked = [(-1.0, 0.1), (-0.5, 0.1), (-0.85, 0.1), (-1.0, 9.0)]
    found = [slope.outcome(Interval(m, m - h, m + h, n=5)) for m, h in asked]
    assert found == ["holds", "fails", "undecided", "undecided"]
    assert above("x", 1.0).outcome(exact(1.5, 3)) == below("x", 2.0).outcome(exact(1.5, 3))
    assert slope.outcome(exact(-1.0, FEWEST - 1)) == "undecided"
    assert slope.outcome(mean_interval([math.nan])) == "undecided"
    with pytest.raises(ValueError, match="give low, high or both"):
        within("nothing", 1.0, 1.0)


def test_a_verdict_fails_with_one_finding_and_needs_all_of_them():
    rules = {"a": above("a", 0.0), "b": below("b", 0.0)}
    both = {"a": exact(1.0, 3), "b": exact(-1.0, 3)}
    assert judge(rules, both).outcome == "holds"
    assert judge(rules, both | {"b": Interval(0.0, -1.0, 1.0, 3)}).outcome == "undecided"
    assert judge(rules, both | {"b": exact(1.0, 3)}).outcome == "fails"
    with pytest.raises(ValueError, match="but estimated were"):
        judge(rules, {"a": exact(1.0, 3)})


@dataclass(frozen=True, kw_only=True)
class Parts(Recipe):
    count: int = 3


def counting(calls, interrupt=None):
    """A figure whose parts note that they ran; ``interrupt`` is raised in part 2, once."""
    left = [interrupt] if interrupt else []

    def job(i):
        def run(tick):
            if i == 2 and left:
                raise left.pop()
            calls.append(i)
            return {"metrics": {"part": [i], "value": [1.0 + i / 100]}}

        return run

    def measure(recipe, bench):
        yield {f"part={i}": job(i) for i in range(recipe.count)}
        done = len(bench.tables()["metrics"]["part"])
        yield {"last": lambda tick: {"total": {"parts": [done]}}}

    def draw(tables):
        made, (axis,) = new_figure(5, 3)
        axis.plot(tables["metrics"]["part"], tables["metrics"]["value"])
        return made

    return Figure(
        name="test-counting",
        shows="Figure 0",
        claim="Values are above 0.",
        criteria={"value": above("value", 0.0)},
        recipes={"smoke": Parts(minutes=1.0), "cpu": Parts(minutes=1.0, count=4)},
        measure=measure,
        estimate=lambda tables: {"value": mean_interval(tables["metrics"]["value"])},
        draw=draw,
    )


def test_an_interrupted_run_goes_on_and_repeats_no_part(tmp_path):
    calls = []
    figure = counting(calls, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        reproduce.measure(figure, "smoke", tmp_path)
    with pytest.raises(RecordError, match="not finished"):
        reproduce.outcome(figure, "smoke", tmp_path)
    assert reproduce.measure(figure, "smoke", tmp_path)
    assert sorted(calls) == [0, 1, 2]
    assert reproduce.measure(figure, "smoke", tmp_path)
    assert sorted(calls) == [0, 1, 2]
    made = reproduce.outcome(figure, "smoke", tmp_path)
    assert made.tables["total"]["parts"].tolist() == [3]
    assert made.verdict.outcome == "holds"
    assert "HOLDS" in reproduce.said(made)[0]


def test_no_time_means_no_part_and_no_error(tmp_path):
    calls = []
    assert not reproduce.measure(counting(calls), "smoke", tmp_path, minutes=0)
    assert calls == []


def test_another_recipe_in_the_same_folder_is_refused(tmp_path):
    figure = counting([])
    reproduce.measure(figure, "smoke", tmp_path)
    cheaper = replace(figure, recipes={"smoke": Parts(minutes=9.0, departures=("none",))})
    assert reproduce.measure(cheaper, "smoke", tmp_path)  # cost and departures are no settings
    other = replace(figure, recipes={"smoke": Parts(minutes=1.0, count=5)})
    with pytest.raises(ConfigMismatch, match="count"):
        reproduce.measure(other, "smoke", tmp_path)


def test_a_figure_names_what_it_lacks():
    with pytest.raises(ValueError, match="scale of test-counting"):
        counting([]).recipe("paper")
    with pytest.raises(ValueError, match="unknown scale 'huge'"):
        replace(counting([]), recipes={"huge": Parts(minutes=1.0)})
    with pytest.raises(ValueError, match="needs a smoke recipe and a criterion"):
        replace(counting([]), criteria={})
    with pytest.raises(ValueError, match="did you mean 'li2020-explr'"):
        reproduce.find("li2020-exprl")


def test_evidence_that_is_too_large_is_refused_and_leaves_nothing(tmp_path):
    figure = counting([])
    reproduce.measure(figure, "smoke", tmp_path / "runs")
    noise = {"x": np.random.default_rng(0).normal(size=200_000)}
    large = replace(figure, compact=lambda tables: tables | {"noise": noise})
    made = reproduce.outcome(large, "smoke", tmp_path / "runs")
    with pytest.raises(RecordError, match="give its figure a `compact`"):
        evidence.keep(made, tmp_path / "docs")
    assert not [path for path in (tmp_path / "docs").rglob("*") if path.is_file()]


@pytest.mark.parametrize("kept", KEPT, ids=[f"{one.figure}-{one.scale}" for one in KEPT])
def test_the_kept_tables_still_give_the_kept_verdict(kept):
    """No verdict was written by hand, and none is older than its criteria."""
    again = evidence.rejudged(kept)
    assert [row["outcome"] for row in again] == [row["outcome"] for row in kept.said["findings"]]
    for now, then in zip(again, kept.said["findings"]):
        assert now["asks"] == then["asks"]
        assert now["margin"] == then["margin"]
        assert now["value"] == pytest.approx(then["value"], rel=1e-4, nan_ok=True)
    figure = reproduce.find(kept.figure)
    recipe = {k: list(v) if isinstance(v, tuple) else v for k, v in
              figure.recipe(kept.scale).config().items()}  # fmt: skip
    assert kept.said["recipe"] == recipe
    assert all(row["n"] >= FEWEST for row in kept.said["findings"])
    files = [path for path in kept.path.parent.iterdir() if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= evidence.LIMIT * 4


def test_the_page_is_what_the_evidence_says():
    """If not: python -m etalambda.lab.reproduce.summary docs"""
    assert (DOCS / "reproduction.md").read_text() == summary.page(KEPT)


def test_a_measurement_needs_neither_tyro_nor_rich(tmp_path):
    code = (
        "import sys\n"
        "for name in ('tyro', 'rich', 'optuna', 'plotly'): sys.modules[name] = None\n"
        "from etalambda.lab.reproduce.__main__ import main\n"
        f"sys.exit(main(['richemond2019-fig1', '--out', {str(tmp_path)!r}, '--minutes', '5']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "richemond2019-fig1 (Figure 1), smoke:" in done.stdout


def test_the_command_lists_runs_and_refuses(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["reproduce", "richemond2019-fig1", "--evidence", "docs"]) == 0
    assert "curves: largest error" in capsys.readouterr().out
    assert Path("docs/richemond2019-fig1/smoke.json").is_file()
    assert cli.main(["reproduce"]) == 0
    listed = capsys.readouterr().out
    assert "richemond2019-fig1" in listed
    assert "smoke:" in listed
    assert cli.main(["reproduce", "li2020-fig99"]) == 2
    assert cli.main(["reproduce", "--all", "--scale", "big"]) == 2
    assert "unknown scale 'big'" in capsys.readouterr().err
