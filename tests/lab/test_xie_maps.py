"""Xie et al.'s maps: units, equal grids, and statistics on tables with known answers."""

from dataclasses import replace

import numpy as np
import pytest

from etalambda.lab import reproduce
from etalambda.lab.experiments.parts import columns
from etalambda.lab.figures.xie2022 import fig8
from etalambda.lab.figures.xie2022._batches import exponent
from etalambda.lab.figures.xie2022._maps import (
    ARMS,
    Maps,
    basin_gap,
    cell,
    decay_ratio,
    gap,
    late_gap,
)
from etalambda.lab.figures.xie2022._pictured import config

GRID = np.logspace(-5, -1, 9)


def recipe(**other):
    numbers = dict(lrs=(0.1,), decays=(0.01,), epochs=10, choosing=3, seeds=3)
    return Maps(minutes=1, arms=tuple(ARMS), models=("mlp",), **(numbers | other))


def parabola(model, arm, best, spread=0.0, **more):
    """A map whose error grows with the distance of log λ from ``best``; nine λ, four seeds."""
    unit = ARMS[arm].decay_unit
    rows = [
        dict(model=model, arm=arm, lr=0.1, eta=0.1, decay=decay, weight_decay=decay * unit,
             seed=seed, val=error, test=error) | more
        for decay in GRID
        for seed in range(4)
        for error in [0.05 + 0.008 * (np.log10(decay / best) ** 2) + spread * seed]
    ]  # fmt: skip
    return columns(rows)


def joined(*tables):
    return {name: np.concatenate([t[name] for t in tables]) for name in tables[0]}


def test_one_grid_serves_every_arm_in_its_own_units():
    made = {arm: cell(recipe(), "mlp", arm, 0, 0.1, 0.01).trial for arm in ARMS}
    assert made["AdamW"].weight_decay == pytest.approx(1000 * made["AdamS"].weight_decay)
    assert made["SGDW"].weight_decay == pytest.approx(10 * made["SGD"].weight_decay)
    assert made["vanilla SGD"].lr == pytest.approx(10 * made["SGD"].lr)
    assert made["p = 0"].weight_decay == pytest.approx(made["AdamW"].weight_decay)
    assert made["p = 0.5"].weight_decay == pytest.approx(made["AdamS"].weight_decay)


def test_the_schedule_of_the_lr_reaches_the_decay_in_equation_2_only():
    rates = {}
    for arm in ("equation (1)", "equation (2)"):
        rules = cell(recipe(), "mlp", arm, 0, 0.1, 0.01).trial.rules
        decay = rules.get("weight_decay", lambda step: 1.0)
        rates[arm] = [rules["lr"](step) * decay(step) for step in (0, 60, 110)]
    assert rates["equation (1)"] == pytest.approx([1, 1, 1])
    assert rates["equation (2)"] == pytest.approx([1, 0.1, 0.01])


def test_the_ratio_of_the_best_decays_counts_the_units():
    tables = {"map": joined(parabola("mlp", "AdamS", 1e-3), parabola("mlp", "AdamW", 1e-2))}
    found = decay_ratio(tables, "mlp", "AdamW", "AdamS")
    assert found[:4] == pytest.approx((4.0, 4.0, 4.0, 4))  # 1 on the axis, 3 in the unit


def test_a_basin_is_measured_from_the_best_cell_of_all_arms():
    tables = {"map": joined(parabola("cnn", "AdamS", 1e-3), parabola("cnn", "AdamW", 1e-3))}
    assert basin_gap(tables, "cnn", "AdamS", "AdamW", ("AdamS", "AdamW")).value == 0
    theirs = tables["map"]["arm"] == "AdamW"
    tables["map"]["val"] = tables["map"]["val"] + np.where(theirs, 0.02, 0.0)
    # Within a point: a power of ten either way, five of nine cells; none of the other arm.
    found = basin_gap(tables, "cnn", "AdamS", "AdamW", ("AdamS", "AdamW"))
    assert found.value == pytest.approx(5 / 9)


def test_gaps_are_paired_by_seed():
    rows = [
        dict(model="mlp", arm=arm, seed=seed, epoch=epoch, test=0.1 * seed + better,
             train_loss=np.exp(better))
        for arm, better in (("AdamS", 0.0), ("AdamW", 0.01))
        for seed in range(3)
        for epoch in (1, 9, 10)
    ]  # fmt: skip
    tables = {"curves": columns(rows)}
    tables["cells"] = columns(row for row in rows if row["epoch"] == 10)
    assert gap(tables, "mlp", "AdamS", "AdamW")[:3] == pytest.approx((-1, -1, -1))
    assert late_gap(tables, "mlp", "AdamS", "AdamW", "test").value == pytest.approx(-1)
    assert late_gap(tables, "mlp", "AdamS", "AdamW", "train_loss").value == pytest.approx(-0.01)


def test_the_best_decay_grows_as_the_batch_by_rule_2():
    small, large = parabola("mlp", "Adam", 1e-4, k=1), parabola("mlp", "Adam", 1e-3, k=10)
    assert exponent({"map": joined(small, large)}, "mlp", "Adam").value == pytest.approx(1)


def test_maps_of_single_networks_have_the_tables_of_those_trained_together(tmp_path):
    ours = fig8.FIGURE.recipes["gpu"]
    small = replace(
        ours, task="digits", net="mlp", batch_size=50, validation=0, amp="", lrs=(1e-3, 1e-2),
        decays=(1e-4, 1e-2), epochs=1, choosing=1, seeds=3, departures=("digits",),
    )  # fmt: skip
    figure = replace(fig8.FIGURE, recipes={"smoke": small})
    assert reproduce.measure(figure, "smoke", tmp_path)
    made = reproduce.outcome(figure, "smoke", tmp_path)
    cells = made.tables["cells"]
    assert len(made.tables["map"]["val"]) == 3 * 4
    assert cells["seed"].tolist() == [0, 1, 2] * 3
    assert not set(made.tables["map"]["seed"]) & set(cells["seed"])
    assert set(made.tables["curves"]) >= {"arm", "seed", "epoch", "test", "train_loss"}
    adamw = cells["arm"] == "AdamW"
    assert (cells["weight_decay"] / cells["decay"])[adamw] == pytest.approx(1000)
    assert made.picture.axes[0].has_data()


def test_a_single_network_takes_its_optimizer_by_name():
    odd = cell(recipe(), "mlp", "equation (1)", 0, 0.1, 0.01)
    with pytest.raises(ValueError, match="not an optimizer of `etalambda train`"):
        config(fig8.FIGURE.recipes["gpu"], reproduce.Bench(), odd)
