"""The audit: every finding has a failing and a healthy run, and nothing of the run is touched."""

import copy
import json

import pytest
import torch
from torch import nn

import etalambda as el
from etalambda.suggest import findings as rules
from etalambda.suggest.audit_table import Audit


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(50, 20)
        self.norm = nn.LayerNorm(20)
        self.fc = nn.Linear(20, 20)
        self.head = nn.Linear(20, 50, bias=False)


NET = Net()
MATRICES = [p for p in NET.parameters() if p.ndim > 1]
VECTORS = [p for p in NET.parameters() if p.ndim == 1]


def split(decay=0.1, make=torch.optim.AdamW, **options):
    """The healthy way: matrices decay, vectors do not."""
    groups = [dict(params=MATRICES, weight_decay=decay), dict(params=VECTORS, weight_decay=0.0)]
    return make(groups, **dict(lr=1e-3) | options)


def codes(report: Audit) -> list[str]:
    return [finding.code for finding in report.findings]


FAILING = {
    "INERT": lambda: split(decay=1e-3),
    "EXCESS": lambda: split(decay=20.0),
    "GROUPS": lambda: torch.optim.AdamW(NET.parameters(), lr=1e-3, weight_decay=0.1),
    "L2-IN-ADAM": lambda: split(make=torch.optim.Adam),
}


@pytest.mark.parametrize("code", FAILING)
def test_each_finding_on_its_failing_run_and_only_there(code):
    report = el.audit(NET, FAILING[code](), steps=10_000)
    assert codes(report) == [code]
    assert not report.ok
    finding = report.findings[0]
    assert finding.value > finding.threshold or code == "INERT"
    assert finding.why
    assert "el." in finding.fix
    assert finding.source
    assert len(str(report).splitlines()) <= 12


HEALTHY = [
    lambda: split(),
    lambda: split(decay=0.05),
    lambda: split(decay=1.0),
    lambda: split(make=torch.optim.SGD, lr=0.1, momentum=0.9, decay=5e-4),
    lambda: split(make=torch.optim.SGD, lr=0.1, decay=1e-3),
    lambda: split(make=torch.optim.NAdam, decoupled_weight_decay=True),
    lambda: split(make=torch.optim.RAdam, decoupled_weight_decay=True),
    lambda: split(make=torch.optim.Adam, decoupled_weight_decay=True),
    lambda: split(make=torch.optim.Adafactor, lr=1e-2),
    lambda: [
        torch.optim.Muon([NET.fc.weight], lr=0.02, weight_decay=0.1),
        torch.optim.AdamW([NET.embed.weight, NET.head.weight], lr=1e-3, weight_decay=0.1),
        torch.optim.AdamW(VECTORS, lr=1e-3, weight_decay=0.0),
    ],
]


@pytest.mark.parametrize("make", HEALTHY)
@pytest.mark.parametrize("steps", [10_000, 30_000])
def test_twenty_healthy_runs_have_no_finding(make, steps):
    report = el.audit(NET, make(), steps=steps)
    assert report.ok
    assert codes(report) == []
    assert "nothing to change" in str(report)


@pytest.mark.parametrize("make", [*FAILING.values(), *HEALTHY[:1]])
def test_nothing_moves(make):
    optimizer = make()
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 100)
    before, weights = copy.deepcopy(optimizer.state_dict()), copy.deepcopy(NET.state_dict())
    random, last = torch.get_rng_state(), schedule.last_epoch
    el.audit(NET, optimizer, 100, schedule)
    assert optimizer.state_dict() == before
    assert all(torch.equal(NET.state_dict()[name], weights[name]) for name in weights)
    assert torch.equal(torch.get_rng_state(), random)
    assert schedule.last_epoch == last


def test_no_decay_is_information():
    report = el.audit(NET, split(decay=0.0), steps=100)
    assert codes(report) == ["NONE"]
    assert report.ok
    assert report.budget == 0


def test_numbers_of_the_table():
    optimizer = split(decay=0.1)
    report = el.audit(NET, optimizer, 20_000, lambda step: 0.5, steps_per_epoch=100)
    row = report.to_dict()["groups"][0]
    assert (row["tensors"], row["parameters"]) == (3, 50 * 20 * 2 + 400)
    assert row["budget"] == pytest.approx(1.0)
    assert row["tau"] == pytest.approx(20_000)
    assert row["tau_epochs"] == pytest.approx(200)
    assert row["shrink"] == pytest.approx(0.632, abs=1e-3)
    assert "63.2 %" in str(report)
    assert "200 ep" in str(report)


def test_frozen_foreign_and_forgotten_parameters():
    net, stranger = Net(), nn.Parameter(torch.ones(3, 3))
    net.embed.weight.requires_grad_(False)
    optimizer = torch.optim.AdamW([net.embed.weight, net.fc.weight, stranger], weight_decay=1.0)
    report = el.audit(net, optimizer, steps=1000)
    row = report.rows[0]
    assert (row.tensors, row.frozen, row.strangers) == (2, 1, 1)
    assert "(1 frozen, 1 not in the model)" in str(report)
    assert codes(report) == ["LEFT-OUT"]
    assert report.ok


def test_a_group_of_frozen_parameters_only_has_no_finding():
    net = Net().requires_grad_(False)
    net.head.weight.requires_grad_(True)
    groups = [dict(params=[net.norm.weight, net.norm.bias]), dict(params=[net.head.weight])]
    report = el.audit(net, torch.optim.AdamW(groups, weight_decay=0.5), steps=5000)
    assert codes(report) == []


def test_many_groups_still_fit_and_are_all_in_the_dict():
    model = nn.Sequential(*[nn.Linear(3, 3) for _ in range(30)])
    groups = [dict(params=layer.parameters(), lr=1e-4 * (i + 1)) for i, layer in enumerate(model)]
    report = el.audit(model, torch.optim.AdamW(groups, weight_decay=0.01), steps=500)
    assert len(str(report).splitlines()) <= 12
    assert "more groups" in str(report)
    assert len(report.to_dict()["groups"]) == 30
    assert report.findings[0].where == "group 0 and 29 more"


def test_everything_wrong_at_once_still_fits():
    net = Net()
    matrices = [dict(params=[net.fc.weight], weight_decay=30.0), dict(params=[net.head.weight])]
    first = torch.optim.AdamW([*matrices, dict(params=list(net.norm.parameters()))], 0.01)
    second = torch.optim.Adam([net.fc.bias], weight_decay=0.1)
    schedule = torch.optim.lr_scheduler.StepLR(first, 3)
    report = el.audit(net, [first, second], 100, schedule)
    assert {"INERT", "EXCESS", "GROUPS", "L2-IN-ADAM", "LEFT-OUT"} <= set(codes(report))
    assert len(str(report).splitlines()) <= 12


def test_the_line_to_paste_keeps_what_the_optimizer_was_told():
    optimizer = torch.optim.SGD(NET.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
    fix = el.audit(NET, optimizer, steps=5000).findings[0].fix
    assert (
        fix == "optimizer = SGD(el.param_groups(model, weight_decay=0.0005), lr=0.1, momentum=0.9)"
    )


def test_stable_decay_before_its_first_step_is_unknown_not_wrong():
    class AdamS(torch.optim.Optimizer):
        def __init__(self, params):
            super().__init__(params, dict(lr=1e-3, betas=(0.9, 0.99), weight_decay=5e-4))

    report = el.audit(NET, AdamS(MATRICES), steps=10)
    assert codes(report) == ["UNKNOWN", "LEFT-OUT"]
    assert report.ok
    assert report.to_dict()["budget"] is None
    json.dumps(report.to_dict(), allow_nan=False)


def test_adamws_decay_given_to_adams_is_noticed_before_training():
    wrong, right = (el.AdamS(MATRICES, lr=1e-3, weight_decay=decay) for decay in (0.5, 5e-4))
    assert "SCALE" in codes(el.audit(NET, wrong, steps=10_000))
    assert "SCALE" not in codes(el.audit(NET, right, steps=10_000))


@pytest.mark.parametrize(
    "make",
    [
        lambda o: torch.optim.lr_scheduler.StepLR(o, 30, gamma=0.1),
        lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, T_max=90),
    ],
)
def test_a_schedule_in_epochs_is_noticed(make):
    optimizer = split()
    report = el.audit(NET, optimizer, 9000, make(optimizer))
    assert "SCHEDULE" in codes(report)
    right = el.audit(NET, optimizer, 9000, make(optimizer), scheduler_every=100)
    assert "SCHEDULE" not in codes(right)


def test_json_holds_the_findings():
    report = json.loads(json.dumps(el.audit(NET, FAILING["INERT"](), 10).to_dict()))
    assert report["findings"][0]["code"] == "INERT"
    assert report["findings"][0]["threshold"] == rules.INERT
    assert report["ok"] is False


def test_the_plot_carries_the_run():
    axes = el.audit(NET, split(), steps=10_000).plot()
    assert "your run: K = 1" in [text.get_text() for text in axes.texts]
    axes = el.audit(NET, split(decay=0.0), steps=10_000).plot()
    assert axes.get_title(loc="left") == "your run: K = 0"


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: el.audit(NET, split(), steps=0), ValueError, "steps must be a positive"),
        (lambda: el.audit(split(), split(), steps=1), TypeError, "model must be a torch.nn.Module"),
        (lambda: el.audit(NET, [], steps=1), ValueError, "optimizers is empty"),
        (lambda: el.audit(NET, split(), 3, [1.0]), ValueError, "1 factors for steps=3"),
        (lambda: el.audit(NET, split(), 3, steps_per_epoch=0), ValueError, "steps_per_epoch"),
    ],
)
def test_bad_input_is_named(call, error, message):
    with pytest.raises(error, match=message):
        call()
