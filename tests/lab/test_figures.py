"""Figures draw what the run holds: read back from the axes, not from the code that drew them."""

import re

import numpy as np
import pytest

from etalambda.lab.figures import clock, grid, map, style
from etalambda.lab.figures.compare import method_panel
from etalambda.lab.figures.richemond2019 import fig1
from etalambda.theory.gaussian_field import GaussianField
from tests.lab import synthetic

RUN = synthetic.clock()
MAP = synthetic.map_digits()


def lines(axis, label):
    return [line for line in axis.lines if line.get_label() == label]


def test_the_clock_draws_every_seed_of_every_plan_in_both_panels():
    left, right = clock.decay_clock(RUN.tables).axes
    plans = len(synthetic.PLANS)
    assert len(left.lines) == 3 * plans + 1
    assert len(right.lines) == 3 * plans
    (drawn,) = lines(left, "constant 0.8")
    metrics = RUN.tables["metrics"]
    ours = (metrics["plan"] == "constant 0.8") & (metrics["seed"] == 0)
    assert np.array_equal(drawn.get_xdata(), metrics["step"][ours])
    assert np.array_equal(drawn.get_ydata(), 100 * metrics["test_accuracy"][ours])
    (against,) = lines(right, "constant 0.8")
    assert np.array_equal(against.get_xdata(), metrics["K"][ours])
    assert right.get_xscale() == "log"


def test_the_plans_are_drawn_as_decay_a_step():
    (axis,) = clock.plans_panel(RUN.tables).axes
    assert len(axis.lines) == len(synthetic.PLANS)
    highest = max(line.get_ydata().max() for line in axis.lines)
    assert highest == pytest.approx(1e3 * 3e-3 * 0.8)


def test_the_first_plan_to_arrive_is_darkest_and_who_never_arrives_is_grey():
    colours = clock.plan_colours(RUN.tables["summary"])
    assert next(iter(colours)) == "constant 0.8"
    assert colours["none"] == colours["constant 0.02"] == style.FAINT
    assert colours["constant 0.8"] == style.shades(3)[0]
    assert "matched annealing" not in colours


def test_a_clock_on_which_nobody_arrives_is_drawn():
    run = synthetic.clock(at_k=1e6)
    assert set(clock.plan_colours(run.tables["summary"]).values()) == {style.FAINT}
    assert len(clock.decay_clock(run.tables).axes) == 2


def test_the_grid_is_the_mean_over_seeds_and_a_diverged_seed_takes_its_cell():
    found = grid.map_grid(MAP.tables["metrics"])
    metrics = MAP.tables["metrics"]
    i, j = found.best
    assert found.lrs[i] == pytest.approx(0.1)
    assert found.weight_decays[j] == pytest.approx(0.01)
    ours = (metrics["lr"] == found.lrs[i]) & (metrics["weight_decay"] == found.weight_decays[j])
    assert found.val[i, j] == pytest.approx(metrics["val_error"][ours].mean())
    assert found.val_sd[i, j] == pytest.approx(metrics["val_error"][ours].std(ddof=1))
    corner = found.lrs[:, None] * found.weight_decays > 0.2
    assert np.array_equal(found.diverged, corner)
    assert np.isnan(found.val[corner]).all()
    assert found.border() == []


def test_the_border_alarm_names_flag_and_side():
    metrics = MAP.tables["metrics"]
    kept = {
        k: v[(metrics["lr"] <= 0.1001) & (metrics["weight_decay"] >= 0.009)]
        for k, v in metrics.items()
    }
    assert grid.map_grid(kept).border() == [
        "extend --lrs above 0.1",
        "extend --weight-decays below 0.01",
    ]


def test_the_basin_holds_the_cells_within_half_a_point():
    found = grid.map_grid(MAP.tables["metrics"])
    inside = found.val[found.basin()]
    assert inside.max() <= found.val[found.best] + 0.005
    outside = found.val[~found.basin() & ~found.diverged]
    assert outside.min() > found.val[found.best] + 0.005


def test_the_outline_of_two_cells_apart_is_two_squares():
    mask = np.array([[True, False, True]])
    segments = grid.outline(mask, np.arange(4.0), np.arange(2.0))
    assert len(segments) == 8
    assert sum(xs[0] != xs[1] for xs, _ in segments) == 4


def test_iso_lines_hold_lr_times_decay():
    for level, xs, ys in grid.iso_lines(np.array([-4.5, 0.5]), np.array([-2.5, 0.5])):
        assert np.allclose(np.add(xs, ys), level)
        assert min(xs) >= -4.5
        assert max(ys) <= 0.5


def test_a_map_of_one_cell_and_one_that_diverged_everywhere():
    metrics = MAP.tables["metrics"]
    one = {k: v[(metrics["lr"] == metrics["lr"][0])][:3] for k, v in metrics.items()}
    assert grid.map_grid(one).best == (0, 0)
    assert grid.map_grid(one).border() == []
    assert map.lr_lambda_map(grid.map_grid(one)).axes
    gone = metrics | {"diverged": np.ones_like(metrics["diverged"])}
    with pytest.raises(ValueError, match="use smaller values in --lrs"):
        _ = grid.map_grid(gone).best


def test_zero_decay_has_a_place_on_the_log_axis():
    assert grid.positions(np.array([0.0, 1e-3, 1e-2])).tolist() == [-4.0, -3.0, -2.0]
    assert grid.positions(np.array([0.0])).tolist() == [0.0]


def test_diverged_cells_are_hatched_and_not_coloured():
    axis = map.lr_lambda_map(grid.map_grid(MAP.tables["metrics"])).axes[0]
    mesh, *hatched = axis.collections
    assert len(hatched) == np.ma.count_masked(mesh.get_array()) == 4
    assert all(cell.get_hatch() for cell in hatched)


def test_lengths_are_drawn_at_one_lr_against_both():
    made = map.length_panels(MAP.tables["lengths"], 0.1)
    for figure, column in zip(made, ("weight_decay", "K")):
        axis = figure.axes[0]
        assert [line.get_label() for line in axis.lines] == ["10 epochs", "40 epochs", "160 epochs"]
        lengths = MAP.tables["lengths"]
        ours = np.isclose(lengths["lr"], 0.1) & (lengths["epochs"] == 40)
        assert np.allclose(axis.lines[1].get_xdata(), np.unique(lengths[column][ours]))


def test_the_methods_figure_has_a_row_a_method():
    axis = method_panel(synthetic.compare().tables["summary"]).axes[0]
    assert [tick.get_text() for tick in axis.get_yticklabels()] == list(synthetic.METHODS)


def test_svg_ids_are_unique_and_the_same_each_time():
    one, two = (style.to_svg(clock.steps_panel(RUN.tables), "a", "x < y") for _ in range(2))
    other = style.to_svg(clock.steps_panel(RUN.tables), "b", "x")
    assert one == two
    ids = re.findall(r'\bid="([^"]*)"', one)
    assert len(ids) == len(set(ids))
    assert not set(ids) & set(re.findall(r'\bid="([^"]*)"', other))
    assert set(re.findall(r'(?:href="|url\()#([^")]*)', one)) <= set(ids)
    assert 'aria-label="x &lt; y"' in one
    assert "<script" not in one


@pytest.mark.parametrize("suffix", style.SUFFIXES)
def test_pictures_are_written_whole(tmp_path, suffix):
    path = style.save(clock.decay_clock(RUN.tables), tmp_path / "new" / f"clock{suffix}")
    first = path.read_bytes()
    assert style.save(clock.decay_clock(RUN.tables), path).read_bytes() == first
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_a_picture_of_an_unknown_kind_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"picture must end in \.svg, \.png, \.pdf"):
        style.save(clock.steps_panel(RUN.tables), tmp_path / "a.bmp")
    assert not list(tmp_path.iterdir())


def test_drawing_leaves_matplotlibs_settings_alone():
    import matplotlib

    before = dict(matplotlib.rcParams)
    clock.decay_clock(RUN.tables)
    assert dict(matplotlib.rcParams) == before


def test_twenty_methods_are_all_told_apart():
    looks = style.palette([f"m{i}" for i in range(20)])
    assert len(set(looks.values())) == 20


def test_figure_1_of_richemond_2019_plots_its_formulas():
    """Against (9)-(11) written out here, to 1e-9 (the arcs meet at their ends)."""
    field = GaussianField.rational_quadratic()
    points = dict.fromkeys(("energy", "index", "sphere", "flat"), np.array([0.0, 0.5]))
    axes = fig1.draw({"curves": fig1.curves(401), "points": points}).axes

    def share_above(x):
        x = np.clip(x, -1, 1)
        return (np.arccos(x) - x * np.sqrt(1 - x**2)) / np.pi

    density, index, energy = (axis.lines[0].get_xydata().T for axis in axes[:3])
    centre = 0.5 * np.sqrt(field.f2)
    inside = np.maximum(4 * field.f2 - (density[0] - centre) ** 2, 0)
    drawn = 2 * np.pi * field.f2 * density[1]
    assert np.allclose(drawn**2, inside, rtol=0, atol=1e-9)  # a root loses half its digits at 0
    assert np.allclose(index[0][[0, -1]], np.array([-2, 2]) * np.sqrt(field.f2))
    assert np.allclose(index[1], share_above(index[0] / (2 * np.sqrt(field.f2))), rtol=0, atol=1e-9)
    critical = field.P * field.f2**1.5 / field.f1
    assert np.allclose(energy[0][[0, -1]], [critical, -critical])
    assert np.allclose(energy[1], share_above(energy[0] / critical), rtol=0, atol=1e-9)
    dashed = axes[2].lines[1]
    assert dashed.get_xdata()[0] == pytest.approx(critical)
    assert dashed.get_linestyle() == "--"
