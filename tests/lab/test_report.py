"""The page: everything escaped, nothing from a network, whatever runs it is given."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import plotly.graph_objects as go
import pytest

from etalambda.lab import report
from etalambda.lab.records import open_run
from etalambda.lab.report import clock, compare, html, map, page, tables
from tests.lab import synthetic

RUNS = {
    Path("runs/clock"): synthetic.clock(),
    Path("runs/map"): synthetic.map_digits(),
    Path("runs/map-clean"): synthetic.map_digits(label_noise=0.0),
    Path("runs/compare"): synthetic.compare(),
}
VOID = {"meta", "link", "br", "i", "img", "input", "hr"}


class Checker(HTMLParser):
    """Collects ids, addresses and script blocks, and whether every element is closed."""

    def __init__(self, text):
        super().__init__()
        self.ids, self.addresses, self.charts, self.open = [], [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.ids += [attrs["id"]] if "id" in attrs else []
        self.addresses += [attrs[k] for k in ("src", "href", "action", "data") if attrs.get(k)]
        self.charts += [attrs["data-chart"]] if "data-chart" in attrs else []
        if tag not in VOID - {"i"}:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        self.open.pop()


@pytest.fixture(scope="module")
def text():
    return report.build(RUNS)


@pytest.fixture(scope="module")
def without_plotly(text):
    """The page less plotly's own script, which is not ours to check."""
    longest = max(re.findall(r"<script>.*?</script>", text, flags=re.S), key=len)
    assert len(longest) > 1e6
    assert text.count(longest) == 1
    return text.replace(longest, "")


def test_the_page_is_well_formed_and_its_ids_unique(without_plotly):
    found = Checker(without_plotly)
    assert found.open == []
    assert len(found.ids) == len(set(found.ids))
    assert set(found.charts) <= set(found.ids)


def test_nothing_comes_from_a_network(without_plotly):
    assert all(a.startswith(("#", "data:")) for a in Checker(without_plotly).addresses)
    assert "default-src 'none'" in without_plotly
    rest = without_plotly.replace("http://www.w3.org/", "")
    assert not re.findall(r"https?://|@import|url\((?!#)", rest)


def test_every_chart_is_a_valid_plotly_figure(without_plotly):
    import json

    blocks = re.findall(r'<script type="application/json"[^>]*>(.*?)</script>', without_plotly)
    assert len(blocks) == 2 + 7
    for block in blocks:
        spec = json.loads(block)
        assert go.Figure(data=spec["data"], layout=spec["layout"]).data


def test_names_from_a_run_cannot_become_markup():
    evil = '<img src=x onerror="alert(1)"></script><script>alert(2)</script>'
    run, other, third = synthetic.clock(), synthetic.compare(), synthetic.map_digits()
    for table in (run.tables["metrics"], run.tables["summary"]):
        table["plan"] = np.where(table["plan"] == "constant 0.8", evil, table["plan"])
    for table in other.tables.values():
        table["method"] = np.where(table["method"] == "cosine", evil, table["method"])
    for made in (run, other, third):
        made.config = made.config | {"device": evil, "task": evil, "model": evil, "optimizer": evil}
        made.env = {"platform": evil, "commit": evil, "packages": {"torch": evil}}
    text = report.build({Path(evil): run, Path("b" + evil): other, Path("c"): third})
    assert "<img" not in text
    assert "alert(1)" in text
    assert "<script>alert" not in text
    assert text.count("<script") == text.count("</script>")


@pytest.mark.parametrize("folders", [list(RUNS)[:1], list(RUNS)[1:2], list(RUNS)[3:], []])
def test_any_subset_makes_a_page(folders):
    text = report.build({folder: RUNS[folder] for folder in folders})
    assert "Your own script" in text
    assert text.endswith("</html>\n")


def test_plotly_is_left_out_where_no_chart_asks_for_it():
    assert len(report.build({Path("runs/clock"): RUNS[Path("runs/clock")]})) < 5e5


def test_a_run_that_holds_nothing_yet_says_so():
    empty = replace(synthetic.clock(), tables={}, finished=False)
    text = report.build({Path("runs/clock"): empty})
    assert "runs/clock holds no" in text
    assert "UNFINISHED" in text


def test_every_kind_of_run_that_has_only_begun_has_its_place():
    """The comparison chooses λ before it trains what it reports; a map begins with some cells."""
    choosing, begun = synthetic.compare(), synthetic.map_digits()
    for table in (choosing.tables["summary"],):
        table["role"] = np.full_like(table["role"], "grid", dtype=object)
    metrics = begun.tables["metrics"]
    some = np.random.default_rng(0).permutation(len(metrics["lr"]))[:20]
    begun.tables = {"metrics": {key: column[some] for key, column in metrics.items()}}
    runs = {Path("c"): replace(choosing, finished=False), Path("m"): replace(begun, finished=False)}
    text = report.build(runs)
    assert "c holds no networks at the tuned λ yet; run its command again" in text
    assert "<h2>The map: digits" in text


def test_a_map_that_diverged_everywhere_says_what_to_do():
    run = synthetic.map_digits()
    run.tables["metrics"]["diverged"][:] = True
    run.tables["metrics"]["val_error"][:] = np.nan
    assert "m: every cell of the map diverged; use smaller values" in report.build({Path("m"): run})


def test_findings_of_the_clock_are_its_numbers():
    said = " ".join(clock.findings(synthetic.clock()))
    assert "3 plans reach 95 % on the other half in every seed: at steps 900 to 2550" in said
    assert "(a factor of 2.8)" in said
    assert "(a factor of 1.0)" in said
    assert "Never, in 3500 steps: none (K = 0), constant 0.02 (K = 0.21)" in said
    assert "slope -0.94 (95 % interval -0.99 to -0.89, n = 6)" in said
    assert "not a clock" not in said


def test_what_is_no_clock_is_called_none():
    run = synthetic.clock()
    run.tables["fit"] = {
        k: np.array([v]) for k, v in dict(slope=-0.67, low=-0.7, high=-0.6, n=9).items()
    }
    assert "this is not a clock" in " ".join(clock.findings(run))
    steps_only = {"a": (100.0, 1.0), "b": (200.0, 2.0)}
    assert not clock.is_clock(-1.1, -0.9, steps_only)
    assert clock.is_clock(-1.1, -0.9, {"a": (100.0, 1.0), "b": (400.0, 1.2)})
    assert not clock.is_clock(-1.1, -0.9, {"a": (100.0, 1.0)})


def test_the_map_warns_at_the_border_and_prints_every_r2():
    assert not any("ALARM" in finding for finding in map.findings(RUNS[Path("runs/map")]))
    best, explained = map.tables(RUNS[Path("runs/map")])
    assert best.rows[0][:3] == ["best cell", "0.1", "0.01"]
    assert list(explained.columns) == ["networks", "K", "λ", "lr", "n"]
    assert explained.rows[0] == ["all lengths", "0.93", "0.61", "0.02", "21"]
    assert explained.rows[1][0] == "lengths, best lr"
    run = synthetic.map_digits()
    metrics = run.tables["metrics"]
    inner = metrics["weight_decay"] <= 0.0101
    run.tables["metrics"] = {k: v[inner] for k, v in metrics.items()}
    assert any("extend --weight-decays above 0.01" in finding for finding in map.findings(run))
    assert 'class="alarm"' in report.build({Path("m"): run})


def test_the_paired_difference_is_the_t_interval():
    rows = {"seed": np.array([2, 0, 1]), "test_error": np.array([0.12, 0.10, 0.11])}
    base = {"seed": np.array([0, 1, 2, 3]), "test_error": np.array([0.09, 0.09, 0.10, np.nan])}
    middle, low, high = compare.paired(rows, base)
    shift = np.array([1.0, 2.0, 2.0])
    half = 4.302652729911275 * shift.std(ddof=1) / np.sqrt(3)  # t of 2 degrees of freedom
    assert middle == pytest.approx(5 / 3)
    assert (low, high) == pytest.approx((middle - half, middle + half))
    assert np.isnan(compare.paired(rows, base | {"seed": base["seed"] + 9})).all()


def test_findings_of_the_comparison_follow_the_intervals():
    said = compare.findings(synthetic.compare())
    assert said[1].startswith("Better")
    assert "cosine (-0.4)" in said[1]
    assert "no decay (+4.0)" in said[2]
    assert "matched annealing" in said[3]


def test_a_choice_at_the_end_of_its_grid_is_an_alarm():
    run = synthetic.compare()
    assert compare.at_the_end(run) == ""
    tuned = {
        k: v[run.tables["summary"]["role"] == "tuned"] for k, v in run.tables["summary"].items()
    }
    grids = []
    for decays in ((0.001, 0.01, 0.1), (0.01, 0.1)):
        for decay in decays:
            ours = tuned["method"] == ("constant" if len(decays) == 3 else "cosine")
            rows = {k: v[ours] for k, v in tuned.items()}
            grids.append(
                rows
                | {"weight_decay": np.full(ours.sum(), decay), "role": np.full(ours.sum(), "grid")}
            )
    run.tables["summary"] = {k: np.concatenate([tuned[k], *(g[k] for g in grids)]) for k in tuned}
    assert compare.at_the_end(run) == "cosine (λ 0.01)"
    assert compare.findings(run)[-1].startswith("ALARM: chosen at the end of its grid")


def test_a_method_that_diverged_everywhere_is_a_row_without_numbers():
    run = synthetic.compare()
    summary = run.tables["summary"]
    gone = summary["method"] == "AdamS"
    for column in ("val_error", "test_error", "norm"):
        summary[column] = np.where(gone, np.nan, summary[column])
    summary["diverged"] = gone
    row = compare.table(run, "tuned").rows[-1]
    assert row == ["AdamS", "0.01", "–", "–", "–", "0", "0.48", "–"]
    assert report.build({Path("c"): run})


def test_selection_bias_and_clean_labels_are_on_the_page(text):
    assert "its validation error is too good" in text
    assert "Wrong labels, clean labels" in text
    assert "etalambda map digits --label-noise 0" in text


def test_tables_need_no_best_row():
    plain = tables.Table("<b>", ("a", "b"), [["x<y", "1"]])
    assert "<caption>&lt;b&gt;</caption>" in plain.to_html()
    assert 'class="best"' not in plain.to_html()


def test_json_blocks_hold_no_nan_and_end_no_script():
    made = html.chart("c", [{"x": np.array([np.inf, 1]), "name": "</script>"}], {})
    assert made.count("</script>") == 1
    assert "[null, 1.0]" in made


def test_a_page_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "deep" / "report.html"
    page.write_page(path, "old")

    def full(self, *args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)  # the last of the write: a full disk may show there
    with pytest.raises(ValueError, match=r"No space left on device; choose another --out"):
        report.write_report({}, path)
    assert path.read_text() == "old"
    assert [p.name for p in path.parent.iterdir()] == ["report.html"]


def test_a_damaged_run_is_named_and_left_out(tmp_path, capsys):
    with open_run(tmp_path / "good", {"seeds": 1}, kind="clock") as run:
        run.finish()
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "config.toml").write_text("kind = ")
    assert list(report.find_runs([tmp_path])) == [tmp_path / "good"]
    assert "left out: " in capsys.readouterr().err
    with pytest.raises(ValueError, match="no run in"):
        report.find_runs([tmp_path / "bad"])
