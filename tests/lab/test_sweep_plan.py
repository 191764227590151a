"""Which cells a sweep has: axes, combinations, names, and the plan as text."""

from collections import Counter

import pytest

from etalambda.lab.configs import MapConfig
from etalambda.lab.experiments.cell_config import CellConfig
from etalambda.lab.sweep import Axis, Plan, parse_axis
from etalambda.lab.sweep.space import cell_name, grid_cells
from etalambda.lab.sweep.targets import target
from tests.lab import sweep_target
from tests.lab.sweep_plans import plan
from tests.lab.sweep_target import Config
from tests.lab.sweep_workers import KIND


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("lr=1e-2:1:3", (0.01, 0.1, 1.0)),
        ("weight-decay=0,1e-4", (0.0, 1e-4)),
        ("epochs=10,40", (10, 40)),
        ("optimizer=sgd, adamw", ("sgd", "adamw")),
    ],
)
def test_an_axis_has_the_fields_type(text, values):
    found = parse_axis(text, CellConfig())
    assert found.values == values
    assert list(map(type, found.values)) == list(map(type, values))


def test_axes_of_lists_and_switches():
    assert parse_axis("lengths=10+40,20", MapConfig()).values == ((10, 40), (20,))
    assert parse_axis("big=true,false", Config()).values == (True, False)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("lr", "must be FIELD=VALUES, as in lr=1e-3:1:7, got 'lr'"),
        ("lrr=1", "unknown field 'lrr'; did you mean 'lr'"),
        ("lr=1,x", "lr: .*'1,x' is no grid"),
        ("lr=1:2", "lr: .*is no grid"),
        ("lr=1,1", "lr has a value twice in '1,1'"),
        ("epochs=1.5,2", "epochs: 1.5 is no whole number"),
        ("lr=0:1:3", "low must be a finite number above 0"),
    ],
)
def test_wrong_axes_name_field_value_and_remedy(text, says):
    with pytest.raises(ValueError, match=says):
        parse_axis(text, CellConfig())
    with pytest.raises(ValueError, match="big is true or false, got 'yes'"):
        parse_axis("big=yes", Config())


def test_every_combination_is_a_checked_config():
    cells = plan("lr=0.1,0.2", "weight_decay=0,1e-3", "seed=0,1,2").cells()
    assert len({cell.name for cell in cells}) == len(cells) == 12
    assert cells[1].config == Config(lr=0.1, weight_decay=0.0, seed=1)
    with pytest.raises(ValueError, match=r"the cell lr=-1.0 is not possible: lr must be above 0"):
        plan("lr=-1,1").cells()
    with pytest.raises(ValueError, match="lr is swept over twice"):
        plan("lr=1", "lr=2").cells()


def test_a_cells_name_is_safe_and_its_own():
    values = {"name": "../../etc/passwd\n<b>", "lr": 0.1}
    name = cell_name(KIND, Config(**values), values)
    assert "/" not in name
    assert not name.startswith(".")
    assert cell_name(KIND, Config(lr=0.1000001), {"lr": 0.1}) != cell_name(
        KIND, Config(), {"lr": 0.1}
    )
    assert len(cell_name(KIND, Config(name="x" * 999), {"name": "x" * 999})) < 140


def test_random_settings_are_drawn_once_and_paired_by_seed():
    made = plan("lr=0.01,0.1,1.0", "name=a,b", "seed=0,1", sampler="random", trials=8)
    cells, again = made.cells(), made.cells()
    assert [cell.name for cell in cells] == [cell.name for cell in again]
    assert len(cells) == 16
    by_lr = Counter((cell.config.lr, cell.config.name) for cell in cells)
    assert set(by_lr.values()) == {2}
    assert all(0.01 <= lr <= 1 for lr, _ in by_lr)
    assert len(by_lr) == 8


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (dict(sampler="grids"), "unknown sampler 'grids'; did you mean 'grid'"),
        (dict(sampler="tpe", trials=0), "trials must be at least 1"),
        (dict(together=0), "together must be at least 1"),
    ],
)
def test_wrong_plans_are_named(options, says):
    with pytest.raises(ValueError, match=says):
        plan("lr=0.1,1", **options)
    with pytest.raises(ValueError, match="random needs a field to choose"):
        plan("seed=0,1", sampler="random", trials=3)


def test_a_plan_survives_its_text():
    made = plan("lr=0.01:1:3", "name=a,b", base=Config(sleep=0.5), trials=3)
    assert Plan.from_json(made.to_json(), trusted=KIND) == made
    with pytest.raises(ValueError, match="if you trust it, name it: etalambda worker"):
        Plan.from_json(made.to_json())
    lengths = Plan("map", MapConfig(), (parse_axis("lengths=10+40,20", MapConfig()),))
    assert Plan.from_json(lengths.to_json()) == lengths
    strange = made.to_json().replace('"sleep"', '"slumber"')
    with pytest.raises(ValueError, match=r"does not know: \['slumber'\]"):
        Plan.from_json(strange, trusted=KIND)


def test_only_experiments_are_targets():
    assert target(KIND).run() is sweep_target.run
    for name in ("nothing", "../x.y", "os; x.y"):
        with pytest.raises(ValueError, match="unknown experiment"):
            target(name)
    with pytest.raises(ValueError, match="must have a dataclass Config and run"):
        target("os.path")


def test_grid_cells_of_no_axis_is_the_one_config():
    (cell,) = grid_cells(KIND, Config(), [])
    assert cell.config == Config()
    assert cell.name.startswith("tests.lab.sweep_target-")
    assert Axis("lr", (1.0,)).field == "lr"
