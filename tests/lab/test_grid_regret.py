"""E4: the rules' regrets follow from the kept grids, and the pages and the product from them."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from etalambda.lab.experiments import grid_regret
from etalambda.lab.experiments.kept_grids import Grid, kept_grids
from etalambda.lab.figures.parttwo import e1
from etalambda.lab.records import files
from etalambda.suggest.fitted import TABLE, fitted_budget
from etalambda.suggest.run_plan import NotApplicable

DOCS = Path(__file__).parents[2] / "docs"
EVIDENCE = DOCS / "evidence"
PLAN = dict(optimizer="adamw", lr=1e-3, steps=1000, batch_size=50, dataset_size=600)


@pytest.fixture(scope="module")
def kept():
    """The tables of the kept file, words put back."""

    def column(values):
        if isinstance(values, dict):
            return [values["words"][i] for i in values["among"]]
        return values

    said = json.loads((EVIDENCE / "parttwo-e4" / "regrets.json").read_text())
    tables = {name: t for name, t in said.items() if name not in ("kind", "config")}
    return {name: {k: column(v) for k, v in t.items()} for name, t in tables.items()}


@pytest.fixture(scope="module")
def grids(kept):
    """Grids of what had been kept when the file was written."""
    known = set(kept["regrets"]["source"])
    return [grid for grid in kept_grids(EVIDENCE) if grid.source in known]


@pytest.fixture(scope="module")
def rows(grids):
    return [row for grid in grids for row in grid_regret.regrets(grid)]


def test_every_regret_follows_from_the_kept_grids(kept, rows):
    table = kept["regrets"]
    assert len(table["rule"]) == len(rows)
    for name in ("source", "task", "setting", "rule", "seen", "outside", "n"):
        assert table[name] == [row[name] for row in rows], name
    for name in ("weight_decay", "best", "regret"):
        assert table[name] == pytest.approx([row[name] for row in rows], rel=1e-4, abs=1e-9)


def test_verdicts_follow_from_the_regrets(kept, rows):
    for name, chosen in (("all", rows), ("held_out", grid_regret.held_out(rows))):
        table = kept[f"verdict_{name}"]
        for i, line in enumerate(grid_regret.verdict(chosen)):
            for column, value in line.items():
                found = table[column][i]
                assert found == (value if isinstance(value, str) else pytest.approx(value, 1e-4))


def test_the_page_shows_the_held_out_verdict(kept):
    page = (DOCS / "part-two.md").read_text()
    lines = page[page.index("| rule | median |") :].split("\n\n")[0].splitlines()[2:]
    table = kept["verdict_held_out"]
    assert len(lines) == len(table["rule"])
    for i, line in enumerate(lines):
        name, *cells = [cell.strip() for cell in line.strip("| ").split("|")]
        at = {column: values[i] for column, values in table.items()}
        assert name == ("torch's default" if i == 0 else f"`{at['rule']}`")
        mean = f"{at['mean']:.1f} ({at['mean_low']:.1f} to {at['mean_high']:.1f})"
        low, high = at["minus_low"], at["minus_high"]
        minus = f"{at['minus_budget']:+.1f} ({low:+.1f} to {high:+.1f})"
        worst = "-" if i == 0 else str(at["worst"])
        shown = [f"{at['median']:.1f}", f"{at['largest']:.1f}", worst, mean]
        assert cells == [*shown, "-" if at["rule"] == "decay_budget" else minus]


def test_no_rule_is_trusted_and_the_fitted_one_is_undecided(kept):
    table = kept["verdict_held_out"]
    assert not any(table["trusted"])
    fitted = table["rule"].index("fitted")
    assert table["minus_low"][fitted] < 0 < table["minus_high"][fitted]


def test_what_the_fitted_rule_has_seen_is_the_network_of_e1_at_its_lrs(grids):
    seen = [grid for grid in grids if grid.seen]
    assert {grid.task for grid in seen} == {"digits, MLP, sgd", "digits, MLP, adamw"}
    assert all(grid.plan["lr"] == e1.LRS[grid.plan["optimizer"]] for grid in seen)
    assert {grid.source for grid in seen} == {"E1", "regret", "E3", "E11"}
    assert all(grid.seen for grid in grids if grid.source == "E1")


def test_a_grid_s_own_best_has_no_regret_and_what_lies_outside_is_marked(monkeypatch):
    decays, errors = np.array([0.0, 0.1, 1.0]), np.array([[9.0, 9.0], [4.0, 6.0], [8.0, 8.0]])
    grid = Grid("mine", "task", "setting", PLAN, decays, errors, errors)
    named = {"default": 0.01, "best": 0.1, "beyond": 10.0}
    monkeypatch.setattr(grid_regret, "predictions", lambda plan: named)
    found = {row["rule"]: row for row in grid_regret.regrets(grid)}
    assert {rule: row["regret"] for rule, row in found.items()} == pytest.approx(
        {"default": 3.6, "best": 0.0, "beyond": 3.0}
    )
    assert [row["outside"] for row in found.values()] == [False, False, True]
    without_zero = replace(grid, decays=decays[1:], val=errors[1:], test=errors[1:])
    assert grid_regret.error_at(without_zero, 0.01)[1]


def test_the_fitted_table_is_that_of_the_evidence():
    cells = files.read_parquet([EVIDENCE / "parttwo-e1" / "cpu.cells.parquet"])
    found = e1.peak_budgets(cells)
    assert [row.passes for row in TABLE] == list(found)
    for row in TABLE:
        assert row[1:] == pytest.approx(found[int(row.passes)], rel=5e-3)


def test_the_fitted_rule_is_silent_outside_of_what_was_trained():
    assert fitted_budget(320) == pytest.approx(TABLE[-1])
    for passes in (9.9, 321.0):
        with pytest.raises(NotApplicable, match="10 to 320 passes"):
            fitted_budget(passes)
