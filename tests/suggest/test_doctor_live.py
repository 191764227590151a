"""The doctor beside real trainings: every finding on a sick one, and twenty healthy ones."""

import itertools
import math

import pytest
import torch
from torch import nn

import etalambda as el
from etalambda.optim import AdamS
from etalambda.suggest import Doctor, Trace, examine
from etalambda.suggest.trace import read_csv

STEPS = 150


def net(head=True):
    """A layer that a norm makes scale-invariant, and a head that may be frozen."""
    layers = [nn.Linear(16, 32, bias=False), nn.LayerNorm(32, elementwise_affine=False), nn.Tanh()]
    model = nn.Sequential(*layers, nn.Linear(32, 4))
    model[-1].requires_grad_(head)
    return model


def run(make, *, model=net, shape=lambda share: 1.0, decay=None, size=None, seed=0):
    """Train on noisy labels. ``shape`` is the lr's, ``size`` the loss's; ``decay`` writes λ."""
    torch.manual_seed(seed)
    model = model()
    optimizers = make(model)
    optimizers = optimizers if isinstance(optimizers, list) else [optimizers]
    groups = [group for optimizer in optimizers for group in optimizer.param_groups]
    peaks = [group["lr"] for group in groups]
    doctor = Doctor(model, optimizers, steps=STEPS, interval=5)
    teacher = torch.randn(16, 4)
    for step in range(STEPS):
        for group, peak in zip(groups, peaks):
            group["lr"] = peak * shape(step / STEPS)
            if decay:
                group["weight_decay"] = decay(step / STEPS)
        x = torch.randn(32, 16)
        y = (x @ teacher + torch.randn(32, 4)).argmax(1)
        for optimizer in optimizers:
            optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        (loss * size(step / STEPS) if size else loss).backward()
        for optimizer in optimizers:
            optimizer.step()
    return doctor


def adamw(decay, lr=3e-3):
    return lambda model: torch.optim.AdamW(el.param_groups(model, weight_decay=decay), lr=lr)


def sgd(decay, lr=0.05):
    def make(model):
        groups = el.param_groups(model, weight_decay=decay)
        return torch.optim.SGD(groups, lr=lr, momentum=0.9)

    return make


def adams(decay, lr=3e-3):
    return lambda model: AdamS(el.param_groups(model, weight_decay=decay), lr=lr, betas=(0.9, 0.9))


def muon(decay, lr=0.02):
    def make(model):
        matrices = [p for p in model.parameters() if p.ndim > 1]
        others = [p for p in model.parameters() if p.ndim <= 1]
        return [
            torch.optim.Muon(matrices, lr=lr, weight_decay=decay),
            torch.optim.AdamW(others, lr=3e-3, weight_decay=0.0),
        ]

    return make


def everything(model):
    return torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=1.0)


def l2(model):
    return torch.optim.Adam(el.param_groups(model, weight_decay=0.01), lr=3e-3)


def linear(share):
    return 1 - share


def cosine(share):
    return (1 + math.cos(math.pi * share)) / 2


def warm(share):
    return min(1.0, 10 * share + 0.01) * cosine(share)


SICK = {
    "INERT": dict(make=adamw(0.01)),
    "EXCESS": dict(make=adamw(50.0)),
    "GROUPS": dict(make=everything),
    "L2-IN-ADAM": dict(make=l2),
    "SCALE": dict(make=adams(3.0)),  # what AdamW takes on this task
    "OVERWRITTEN": dict(make=adamw(1.0), decay=lambda share: 1.0),
    "COLLAPSE": dict(make=adamw(0.0, lr=0.5)),
    "EXPLODE": dict(make=sgd(0.04), size=lambda share: 1e-4),
    "FAR": dict(make=adamw(1e-6, lr=1e-3), shape=lambda share: 1 + 1000 * max(0, share - 0.8)),
    "GRAD-RISE": dict(make=sgd(0.1), model=lambda: net(head=False), shape=linear, seed=1),
    "V-MEAN": dict(make=adams(0.02), size=lambda share: 10 ** (-3 * share)),
}


@pytest.mark.parametrize("code", SICK)
def test_each_finding_beside_a_sick_training(code):
    report = run(**SICK[code]).report()
    assert code in [finding.code for finding in report.findings], str(report)


def test_a_pair_of_optimizers_is_judged_one_by_one(tmp_path):
    """AdamW's λ beside AdamS: the scale is right for one and would be wrong for the other."""

    def make(model, stable=0.02, plain=3.0):
        first, last = model[0].weight, model[-1].weight
        return [
            AdamS([first], lr=3e-3, weight_decay=stable),
            torch.optim.AdamW([last], lr=3e-3, weight_decay=plain),
            torch.optim.AdamW([model[-1].bias], lr=3e-3, weight_decay=0.0),
        ]

    doctor = run(make)
    assert doctor.report().findings == ()
    doctor.save(tmp_path / "doctor.csv")
    trace = Trace.of(read_csv(tmp_path / "doctor.csv"), total_steps=STEPS)
    assert trace.optimizers == {"0": "AdamS", "1": "AdamW", "2": "AdamW"}
    assert examine(trace).findings == ()
    wrong = examine(Trace.of(run(lambda model: make(model, stable=3.0)).rows))
    assert ("SCALE", "group 0") in [(f.code, f.where) for f in wrong.findings]


HEALTHY = list(
    itertools.product(
        [adamw(3.0), sgd(0.01), adams(0.04), muon(0.4)],
        [lambda share: 1.0, linear, cosine, warm, lambda share: 1.0 if share < 0.8 else 0.2],
    )
)


def test_at_most_one_false_alarm_in_twenty_healthy_trainings():
    assert len(HEALTHY) == 20
    reports = [run(make, shape=shape, seed=i).report() for i, (make, shape) in enumerate(HEALTHY)]
    spent = [max(report.budgets.values()) for report in reports]
    assert all(0.2 < k < 20 for k in spent), spent
    alarms = [report for report in reports if report.findings]
    assert len(alarms) <= 1, "\n".join(map(str, alarms))
