"""The three experiments, small: their tables, their resuming, and what their numbers must obey."""

from dataclasses import asdict

import numpy as np
import pytest

from etalambda.lab.configs import ClockConfig, CompareConfig, MapConfig
from etalambda.lab.experiments import clock, compare, map
from etalambda.lab.experiments.parts import columns
from etalambda.lab.records import open_run, read

CLOCK = ClockConfig(seeds=2, steps=60, p=7, width=8, every=20)
MAP = MapConfig(
    epochs=2, lrs=(0.02, 0.1, 50.0), weight_decays=(0.0, 1e-3, 0.1), seeds=2, lengths=(1, 2)
)
COMPARE = CompareConfig(epochs=2, seeds=2, weight_decays=(1e-3, 1e-2))


def quiet(done, total, text):
    assert 0 <= done <= total
    assert text


def made(folder, experiment, kind, config, progress=quiet):
    with open_run(folder, asdict(config), kind=kind) as run:
        experiment.run(config, run, progress)
    return read(folder)


@pytest.fixture(scope="module")
def clock_run(tmp_path_factory):
    return made(tmp_path_factory.mktemp("clock"), clock, "clock", CLOCK)


@pytest.fixture(scope="module")
def map_run(tmp_path_factory):
    return made(tmp_path_factory.mktemp("map"), map, "map", MAP)


@pytest.fixture(scope="module")
def compare_run(tmp_path_factory):
    return made(tmp_path_factory.mktemp("compare"), compare, "compare", COMPARE)


def test_clock_tables(clock_run):
    metrics, summary = clock_run.tables["metrics"], clock_run.tables["summary"]
    assert clock_run.finished
    assert set(metrics) == {
        "plan", "seed", "step", "K", "train_accuracy", "test_accuracy", "lr", "weight_decay",
        "norm",
    }  # fmt: skip
    assert set(summary) == {"plan", "kind", "seed", "step95", "K95", "final_test"}
    plans = [row.name for row in clock.ROWS if row.kind == "plan"]
    ours = np.isin(metrics["plan"].astype(str), plans)
    assert set(metrics["step"][ours]) == {0, 20, 40, 60}
    assert set(metrics["step"][~ours]) == {0, 20, 24}  # methods and spheres: two fifths
    assert ours.sum() == len(plans) * 2 * 4
    assert (~ours).sum() == (len(clock.ROWS) - len(plans)) * 2 * 3
    assert len(summary["plan"]) == len(clock.ROWS) * 2
    assert set(clock_run.tables["fit"]) == {"slope", "low", "high", "n"}


def test_clock_spends_what_the_plans_say(clock_run):
    metrics = clock_run.tables["metrics"]
    last = metrics["step"] == 60

    def spent(plan):
        return metrics["K"][last & (metrics["plan"] == plan)]

    np.testing.assert_allclose(spent("constant 0.8"), 60 * 3e-3 * 0.8)
    np.testing.assert_allclose(spent("none"), 0.0)
    np.testing.assert_allclose(spent("down 0.8 to 0") + spent("up 0 to 0.8"), 60 * 3e-3 * 0.8)
    matched, annealed = spent("lr cosine, matched 0.8"), spent("lr cosine, constant 0.6")
    assert (matched / 0.8 < annealed / 0.6).all()
    matched = metrics["K"][(metrics["plan"] == "matched annealing from 0.8")].max()
    assert 0 < matched < 24 * 3e-3 * 0.8


def test_clock_spheres_keep_their_norm(clock_run):
    metrics = clock_run.tables["metrics"]
    for times in (1, 2, 3):
        ours = metrics["plan"] == next(r.name for r in clock.ROWS if r.sphere == times)
        for seed in (0, 1):
            start = (metrics["plan"] == "none") & (metrics["step"] == 0)
            (first,) = metrics["norm"][start & (metrics["seed"] == seed)]
            norms = metrics["norm"][ours & (metrics["seed"] == seed)]
            assert len(norms) == 3
            np.testing.assert_allclose(norms / first, times, rtol=1e-5)


def test_clock_pairs_its_plans(clock_run):
    """All plans of a seed start from the same weights and the same half of the pairs."""
    metrics = clock_run.tables["metrics"]
    free = [not plan.startswith("sphere") for plan in metrics["plan"]]
    start = (metrics["step"] == 0) & free
    for seed in (0, 1):
        here = start & (metrics["seed"] == seed)
        assert len(set(metrics["norm"][here])) == 1
        assert len(set(metrics["train_accuracy"][here])) == 1
    assert metrics["norm"][start & (metrics["seed"] == 0)][0] != pytest.approx(
        metrics["norm"][start & (metrics["seed"] == 1)][0]
    )


def test_the_fit_finds_a_perfect_clock():
    decays = np.repeat([0.2, 0.4, 0.8], 3)
    summary = dict(
        plan=np.array([f"constant {d:g}" for d in decays] + ["none"], dtype=object),
        step95=np.append(600 / decays, np.nan),
    )
    found = clock.fit(summary)
    assert found["slope"][0] == pytest.approx(-1)
    assert found["low"][0] == pytest.approx(-1)
    assert found["n"] == [9]


def test_map_tables(map_run):
    metrics, lengths = map_run.tables["metrics"], map_run.tables["lengths"]
    names = {
        "lr", "weight_decay", "seed", "val_error", "test_error", "train_loss", "diverged", "K",
        "norm",
    }  # fmt: skip
    assert set(metrics) == names
    assert set(lengths) == names | {"epochs"}
    assert len(metrics["lr"]) == 3 * 3 * 2
    cells = set(zip(metrics["lr"], metrics["weight_decay"], metrics["seed"]))
    assert len(cells) == 18
    assert set(lengths["lr"]) <= {0.02, 0.1, 50.0}
    assert set(map_run.tables["fit"]["quantity"]) == {"K", "weight_decay", "lr"}
    assert len(map_run.tables["fit_parts"]["r2"]) == 12


def test_map_hatches_what_diverged_and_learns_elsewhere(map_run):
    metrics = map_run.tables["metrics"]
    wild = metrics["lr"] == 50.0
    assert metrics["diverged"][wild].all()
    assert np.isnan(metrics["val_error"][metrics["diverged"]]).all()
    calm = metrics["val_error"][(metrics["lr"] == 0.1) & (metrics["weight_decay"] < 0.1)]
    assert (calm < 0.6).all()  # chance is 0.9


def test_the_same_cell_is_the_same_network_in_map_and_lengths(map_run):
    """Length 2 repeats the map's own length: the same trials, trained in another company."""
    metrics, lengths = map_run.tables["metrics"], map_run.tables["lengths"]
    for i in np.flatnonzero((lengths["epochs"] == 2) & (lengths["lr"] < 1)):
        twin = np.flatnonzero(
            np.all([metrics[k] == lengths[k][i] for k in ("lr", "weight_decay", "seed")], axis=0)
        )
        assert metrics["K"][twin] == pytest.approx(lengths["K"][i])
        assert metrics["norm"][twin] == pytest.approx(lengths["norm"][i], rel=1e-3)


def test_best_lr_ignores_cells_with_a_diverged_seed():
    metrics = dict(
        lr=np.array([0.1, 0.1, 0.2, 0.2]),
        weight_decay=np.zeros(4),
        val_error=np.array([0.2, 0.2, 0.1, np.nan]),
    )
    assert map.best_lr(metrics) == 0.1
    metrics["val_error"][:] = np.nan
    with pytest.raises(ValueError, match="every cell of the map has a diverged network"):
        map.best_lr(metrics)


def test_compare_tables(compare_run):
    summary, metrics = compare_run.tables["summary"], compare_run.tables["metrics"]
    assert {"method", "weight_decay", "role", "seed", "val_error", "test_error", "K", "norm",
            "diverged"} <= set(summary)  # fmt: skip
    assert set(metrics) == {
        "method", "weight_decay", "seed", "step", "K", "lr", "lam", "train_loss", "val_error",
        "norm", "effective_lr",
    }  # fmt: skip
    assert set(summary["role"]) == {"grid", "tuned", "common"}
    names = {method.name for method in compare.METHODS}
    assert set(summary["method"]) == names == set(metrics["method"])
    for role in ("tuned", "common"):
        for name in names:
            ours = (summary["role"] == role) & (summary["method"] == name)
            assert sorted(summary["seed"][ours]) == [0, 1]
            assert len(set(summary["weight_decay"][ours])) == 1


def test_compare_chooses_on_other_seeds_and_grid_points_spend_alike(compare_run):
    summary = compare_run.tables["summary"]
    grid = summary["role"] == "grid"
    assert set(summary["seed"][grid]) == set(compare.CHOOSING)
    assert not set(summary["seed"][~grid]) & set(compare.CHOOSING)
    budgets = {
        name: np.unique(summary["K"][grid & (summary["method"] == name)].round(9))
        for name in ("constant", "coupled to lr", "cosine restarts", "AdamW")
    }
    for name in budgets:
        np.testing.assert_allclose(budgets[name], budgets["constant"], rtol=1e-6)
    common = summary["role"] == "common"
    by_method = {
        n: set(summary["weight_decay"][common & (summary["method"] == n)])
        for n in ("constant", "cosine restarts", "AdamW", "AdamS")
    }
    assert len(set.union(*by_method.values())) == 1


def test_choice_prefers_points_where_nobody_diverged():
    summary = dict(
        method=np.array(["a"] * 4, dtype=object),
        role=np.array(["grid"] * 4, dtype=object),
        weight_decay=np.array([0.1, 0.1, 0.2, 0.2]),
        radius=np.full(4, np.nan),
        val_error=np.array([0.05, np.nan, 0.2, 0.2]),
    )
    assert compare.choose(summary)["a"][0] == 0.2


@pytest.mark.parametrize(
    ("experiment", "kind", "config"),
    [(clock, "clock", CLOCK), (map, "map", MAP), (compare, "compare", COMPARE)],
)
def test_interrupted_runs_go_on_to_the_same_result(
    tmp_path, experiment, kind, config, clock_run, map_run, compare_run
):
    class Enough(KeyboardInterrupt):
        pass

    def until_half(done, total, text):
        if done >= total / 2:
            raise Enough

    whole = {"clock": clock_run, "map": map_run, "compare": compare_run}[kind]
    with pytest.raises(Enough):
        made(tmp_path, experiment, kind, config, until_half)
    kept = read(tmp_path)
    assert not kept.finished
    again = made(tmp_path, experiment, kind, config)
    assert again.finished
    for name, table in whole.tables.items():
        for column, values in table.items():
            ours = again.tables[name][column]
            if values.dtype.kind == "f":
                np.testing.assert_allclose(ours, values, rtol=1e-6, atol=1e-9)
            else:
                assert ours.tolist() == values.tolist()


def test_other_networks_optimizers_and_noise(tmp_path):
    config = MapConfig(
        model="cnn", optimizer="adamw", epochs=1, lrs=(0.01,), weight_decays=(0.0, 0.1),
        seeds=1, lengths=(1,), label_noise=0.0,
    )  # fmt: skip
    run = made(tmp_path, map, "map", config)
    assert len(run.tables["metrics"]["lr"]) == 2
    assert np.isfinite(run.tables["metrics"]["val_error"]).all()
    assert (run.tables["metrics"]["train_loss"] < 2.31).all()


def test_clock_with_another_optimizer(tmp_path):
    config = ClockConfig(seeds=1, steps=10, p=5, width=4, every=5, optimizer="sgd", lr=0.01)
    run = made(tmp_path, clock, "clock", config)
    constant = (run.tables["metrics"]["plan"] == "constant 0.8") & (
        run.tables["metrics"]["step"] == 10
    )
    assert run.tables["metrics"]["K"][constant] == pytest.approx(10 * 0.01 * 0.8 / (1 - 0.9))
    assert np.isnan(run.tables["fit"]["slope"]).all()


def test_columns_repeat_scalars():
    made = columns([{"step": 1, "K": np.array([1.0, 2.0]), "name": np.array(["a", "b"])}])
    assert made["step"].tolist() == [1, 1]
    assert columns([]) == {}


@pytest.mark.parametrize(("seeds", "lengths"), [(5, [3, 2]), (3, [3]), (7, [3, 2, 2]), (1, [1])])
def test_seeds_are_run_in_nearly_equal_jobs(seeds, lengths):
    runs = clock._runs(seeds, together=3)
    assert [len(run) for run in runs] == lengths
    assert [seed for run in runs for seed in run] == list(range(seeds))
