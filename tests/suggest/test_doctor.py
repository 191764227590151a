"""The doctor: each finding on a failing run and not on its healthy twin; twenty healthy runs."""

import csv
import json
import math

import pytest
import torch
from torch import nn

import etalambda as el
from etalambda.suggest import Doctor, Trace, examine, examine_log
from etalambda.suggest.doctor import SCRIPT
from etalambda.suggest.trace import read_csv


def course(steps=2000, rows=100, **columns):
    """Rows of a run; a column is a number or a function of the share of the run."""
    made = []
    for i in range(rows):
        step, share = (i + 1) * steps // rows, (i + 1) / rows
        row = {k: v(share) if callable(v) else v for k, v in columns.items()}
        made.append({"step": step} | row)
    return made


def codes(rows, **options):
    return [finding.code for finding in examine(Trace.of(rows, **options)).findings]


def linear(peak):
    return lambda share: peak * (1 - share)


# code: (failing rows, healthy rows, options)
PAIRS = {
    "INERT": (course(lr=1e-3, wd=0.01), course(lr=1e-3, wd=1.0), {}),
    "EXCESS": (course(lr=0.1, wd=2.0), course(lr=0.1, wd=0.02), {}),
    "SCALE": (
        course(steps=20_000, lr=1e-3, weight_decay=0.5, v_mean=1e-4),
        course(steps=20_000, lr=1e-3, weight_decay=5e-4, v_mean=1e-6),
        dict(optimizer="adams"),
    ),
    "OVERWRITTEN": (
        course(
            lr=1e-3, **{"weight_decay/0": 1.0, "weight_decay/1": lambda s: 0.0 if s < 0.1 else 1.0}
        ),
        course(lr=1e-3, **{"weight_decay/0": 1.0, "weight_decay/1": 0.0}),
        {},
    ),
    "COLLAPSE": (course(norm=lambda s: 1 + 30 * s), course(norm=lambda s: 1 + 3 * s), {}),
    "EXPLODE": (course(norm=lambda s: math.exp(-4 * s)), course(norm=lambda s: 1 - s / 2), {}),
    "FAR": (
        course(lr=1e-3, wd=0.5, norm=lambda s: 1 + 7 * s**4),
        course(lr=1e-3, wd=0.5, norm=lambda s: 8 - 4 * math.exp(-9 * s)),
        {},
    ),
    "GRAD-RISE": (
        course(lr=linear(0.01), wd=0.5, grad_norm=lambda s: 1 / math.sqrt(1.02 - s)),
        course(lr=linear(0.01), wd=0.5, grad_norm=lambda s: 1 + 0.2 * s),
        {},
    ),
    "L2-IN-ADAM": (
        course(lr=1e-3, weight_decay=0.01),
        course(lr=1e-3, weight_decay=0.0),
        dict(optimizer="adam"),
    ),
    "V-MEAN": (
        course(lr=1e-3, wd=5e-4, v_mean=lambda s: 10 ** (-4 - 10 * s)),
        course(lr=1e-3, wd=5e-4, v_mean=lambda s: 10 ** (-4 - 2 * s)),
        dict(optimizer="adams"),
    ),
}


@pytest.mark.parametrize("code", PAIRS)
def test_each_finding_on_its_failing_run_only(code):
    failing, healthy, options = PAIRS[code]
    assert code in codes(failing, **options)
    assert codes(healthy, **options) == []


def test_a_decay_that_rises_from_0_everywhere_is_a_schedule():
    assert codes(course(lr=1e-2, wd=lambda share: share - 0.01)) == []


def test_reverse_scale_l2s_number_in_adamw():
    assert "SCALE" in codes(course(lr=1e-3, weight_decay=5e-4))
    assert "SCALE" not in codes(course(lr=1e-3, weight_decay=0.5))


def test_a_rise_inside_the_noise_is_no_finding():
    columns = dict(lr=linear(0.01), wd=0.5)
    loud = course(**columns, grad_norm=lambda s: (1 + 0.5 * (s > 0.9)) * (1 + math.sin(400 * s)))
    still = course(**columns, grad_norm=lambda s: (1 + 0.5 * (s > 0.9)) * (1 + 0.1 * math.sin(s)))
    assert codes(loud) == []
    assert codes(still) == ["GRAD-RISE"]


def test_the_optimizer_named_by_the_caller_wins_over_the_log():
    rows = course(lr=1e-3, weight_decay=0.5, **{"optimizer/0": "AdamS"})
    assert Trace.of(rows).form("0") == "stable"
    assert Trace.of(rows, optimizer="adamw").form("0") == "plain"
    assert Trace.of(course(lr=1e-3, optimizer="NobodyKnows")).optimizer == "adamw"


def wave(share):
    return 1 + 0.1 * math.sin(40 * share)


HEALTHY = [
    course(steps=20_000, lr=schedule, wd=decay, norm=norm, grad_norm=grad)
    for schedule, decay in [(3e-4, 0.1), (lambda s: 3e-4 * (1.1 - s), 0.2), (linear(1e-3), 0.1),
                            (lambda s: 1e-3 * min(1, 10 * s), 0.05), (2e-3, 1.0)]
    for norm, grad in [
        (lambda s: 10 + 20 * s, wave),
        (lambda s: 30 - 20 * s, lambda s: 2 - s),
        (wave, lambda s: 1 + 0.4 * s),
        (lambda s: 5 * math.sqrt(1 + 8 * s), lambda s: wave(s) / (0.3 + s)),
    ]
]  # fmt: skip


def test_at_most_one_false_alarm_on_twenty_healthy_runs():
    assert len(HEALTHY) == 20
    alarms = [codes(rows) for rows in HEALTHY]
    assert sum(bool(found) for found in alarms) <= 1, alarms


def train(optimizer_of, steps=200, decay_of=None, **options):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 1))
    optimizer = optimizer_of(net)
    doctor = Doctor(net, optimizer, steps=steps, interval=5, **options)
    x = torch.randn(64, 8)
    y = x[:, :1] * 2
    for step in range(steps):
        if decay_of:
            for group in optimizer.param_groups:
                group["weight_decay"] = decay_of(step)
        optimizer.zero_grad()
        (net(x) - y).square().mean().backward()
        optimizer.step()
    return doctor


def split(net, decay, make=torch.optim.AdamW, **options):
    weights = [p for p in net.parameters() if p.ndim > 1]
    biases = [p for p in net.parameters() if p.ndim == 1]
    groups = [dict(params=weights, weight_decay=decay), dict(params=biases, weight_decay=0.0)]
    return make(groups, **dict(lr=0.01) | options)


def test_live_healthy_and_live_sick():
    assert train(lambda net: split(net, 0.5)).report().findings == ()
    inert = train(lambda net: split(net, 0.01)).report()
    assert [f.code for f in inert.findings] == ["INERT"]
    groups = train(lambda net: torch.optim.AdamW(net.parameters(), lr=0.01, weight_decay=0.5))
    assert [f.code for f in groups.report().findings] == ["GROUPS"]
    adam = train(lambda net: split(net, 0.1, torch.optim.Adam)).report()
    assert [f.code for f in adam.findings] == ["L2-IN-ADAM"]
    written = train(lambda net: split(net, 0.5), decay_of=lambda step: 0.5).report()
    assert "OVERWRITTEN" in [f.code for f in written.findings]


def test_a_live_doctor_before_its_first_measurement_and_after_its_removal():
    doctor = train(lambda net: split(net, 0.5), steps=3)
    assert "before its first measurement" in str(doctor.report())
    doctor = train(lambda net: split(net, 0.5), steps=20)
    doctor.remove()
    assert len(doctor.rows) == 4
    assert doctor.rows[0]["grad_norm"] > 0


def test_a_saved_run_is_read_back(tmp_path):
    doctor = train(lambda net: split(net, 0.01))
    doctor.save(tmp_path / "doctor.csv")
    report = examine_log(tmp_path / "doctor.csv", total_steps=200)
    assert [f.code for f in report.findings] == ["INERT"]
    assert report.budgets == pytest.approx(doctor.report().budgets)
    assert json.loads(json.dumps(report.to_dict()))["ok"] is False


def test_foreign_logs_csv_with_gaps_and_other_names(tmp_path):
    path = tmp_path / "metrics.csv"
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, ["step", "lr-AdamW/pg1", "lr-AdamW/pg1-weight_decay", "loss"])
        writer.writeheader()
        for step in range(1, 101):
            half = {"lr-AdamW/pg1": 1e-3, "lr-AdamW/pg1-weight_decay": 0.1}
            writer.writerow({"step": step} | (half if step % 2 else {"loss": "nan"}))
    trace = Trace.of(read_csv(path))
    assert set(trace.columns) == {"lr", "weight_decay"}
    assert codes(read_csv(path)) == ["INERT"]


def test_event_files(tmp_path):
    board = pytest.importorskip("torch.utils.tensorboard")
    with board.SummaryWriter(str(tmp_path)) as writer:
        for step in range(1, 51):
            writer.add_scalar("train/lr", 1e-3, step)
            writer.add_scalar("train/weight_decay", 0.01, step)
    assert [f.code for f in examine_log(tmp_path).findings] == ["INERT"]
    assert [f.code for f in examine_log(next(tmp_path.iterdir())).findings] == ["INERT"]


def test_missing_columns_are_filled_by_the_caller_and_silence_is_no_alarm():
    rows = [{"loss": 1.0, "grad_norm": 1.0}] * 30
    assert codes(rows) == []
    assert codes(rows, lr=1e-3, weight_decay=0.1) == ["INERT"]
    assert examine(Trace.of(rows)).budgets == {}
    assert "K unknown" in str(examine(Trace.of(rows)))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Trace.of([]), "the log has no rows"),
        (lambda: Trace.of([{"loss": 1.0}]), "nothing known among the columns loss"),
        (lambda: Trace.of([{"lr": 1}], optimizer="adamv"), "did you mean 'adam"),
        (lambda: Doctor(nn.Linear(1, 1), split(nn.Linear(1, 1), 0.1), steps=0), "steps must be"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_bad_files_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no log at"):
        examine_log(tmp_path / "none.csv")
    (tmp_path / "empty.csv").write_text("")
    with pytest.raises(ValueError, match="no rows below a header line"):
        examine_log(tmp_path / "empty.csv")
    pytest.importorskip("tensorboard")
    with pytest.raises(ValueError, match="has no scalars"):
        examine_log(tmp_path)


def test_the_script_runs_as_printed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = nn.Linear(2, 1)
    optimizer = split(model, 0.1)
    before, after = SCRIPT.split("...", 1)
    names = dict(model=model, optimizer=optimizer, total_steps=50)
    exec(before, names)
    for _ in range(50):
        model(torch.ones(2)).sum().backward()
        optimizer.step()
    exec("..." + after, names)
    assert el.suggest.examine_log("doctor.csv").budgets
