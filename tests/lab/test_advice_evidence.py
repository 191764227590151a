"""The numbers of docs/suggest.md, computed again from the files under docs/evidence."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from etalambda.lab.experiments import regret

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "suggest.md").read_text()
REGRETS = [json.loads(p.read_text()) for p in sorted((DOCS / "evidence/regret").glob("*-*.json"))]


def table(title):
    """The table that starts with this first column: name -> the other cells."""
    lines = PAGE[PAGE.index(f"| {title} |") :].split("\n\n")[0].splitlines()
    rows = [[cell.strip() for cell in line.strip("| ").split("|")] for line in lines]
    return rows[0][1:], {row[0]: row[1:] for row in rows[2:]}


def name(result):
    task = result["task"]
    labels = "clean" if task["label_noise"] == 0 else "20 % wrong labels"
    optimizer = {"sgd": "SGD", "adamw": "AdamW"}[task["optimizer"]]
    return f"{task['model'].upper()} {optimizer}, {labels}, {result['epochs']}"


def rules(head):
    return ["default" if rule == "torch's default" else rule for rule in head[1:]]


def test_every_regret_is_that_of_its_file():
    head, rows = table("task, epochs")
    assert {name(result) for result in REGRETS} == set(rows) - {"median", "largest"}
    for result in REGRETS:
        best, *shown = rows[name(result)]
        assert best == f"{result['best']['K']:.2g}"
        for rule, text in zip(rules(head), shown, strict=True):
            line = result["regrets"][rule]
            assert line["n"] == 5
            assert text == f"{100 * line['regret']:+.1f}", (name(result), rule)


def test_regrets_follow_from_the_runs_in_the_files():
    for result in REGRETS:
        task = regret.Task(**result["task"] | {"grid": tuple(result["task"]["grid"])})
        named = {rule: line["weight_decay"] for rule, line in result["regrets"].items()}
        again = {line["rule"]: line for line in regret.regrets(task, named, result["runs"])}
        for rule, line in result["regrets"].items():
            assert again[rule]["regret"] == pytest.approx(line["regret"], abs=1e-9)


def test_median_largest_and_verdict():
    head, rows = table("task, epochs")
    lines = [
        dict(task=r["task"]["name"], epochs=r["epochs"], rule=rule, regret=line["regret"])
        for r in REGRETS
        for rule, line in r["regrets"].items()
    ]
    judged = {line["rule"]: line for line in regret.verdict(lines)}
    for rule, median, largest in zip(rules(head), rows["median"][1:], rows["largest"][1:]):
        assert float(median) == pytest.approx(100 * judged[rule]["median"], abs=0.0051)
        assert float(largest) == pytest.approx(100 * judged[rule]["maximum"], abs=0.051)
    assert not any(line["may_be_default"] for line in judged.values())
    assert "**None has passed.**" in PAGE


def test_every_predicted_clock_is_that_of_its_file():
    _, rows = table("lr")
    files = {"3e-3": "lr-0.003", "1e-3": "lr-0.001", "1e-2": "lr-0.01"}
    files["1e-3, λ times 3"] = "lr-0.001-scale-3"
    assert set(rows) == set(files)
    for lr, (n, budget, errors, within) in rows.items():
        found = json.loads((DOCS / f"evidence/clock-prediction/{files[lr]}.json").read_text())
        lines = [line for line in found["predictions"] if line["plan"] != "constant 0.4"]
        arrived = [line for line in lines if line["n"] > line["never"]]
        known = [line["error"] for line in arrived if line["error"] is not None]
        assert int(n) == found["config"]["seeds"]
        assert float(budget) == pytest.approx(lines[0]["K_reference"], abs=0.05)
        shown = [int(text) for text in re.findall(r"[+-]\d+", errors)]
        assert shown == [round(100 * min(known)), round(100 * max(known))]
        assert within.startswith(f"{sum(abs(np.array(known)) <= 0.25)} of {len(arrived)}")
