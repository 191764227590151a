"""On a CUDA device: the numbers of the CPU and of the papers."""

import pytest
import torch
from torch.nn import Parameter

from etalambda.optim import SGDS, AdaiS, AdamS, keep_on_sphere
from tests.optim._cuda import (
    MEMBERS,
    NEEDS_CUDA,
    SHAPES,
    close,
    drive,
    flags_of,
    last,
    members,
    on_cuda,
)
from tests.optim._drive import flat, flat_gradients, run, weights
from tests.reference import optimizers as reference

pytestmark = NEEDS_CUDA


@members
@pytest.mark.parametrize("missing", [False, True])
def test_float64_agrees_with_the_pure_rule_on_the_cpu(member, missing):
    cls, hyper = MEMBERS[member]
    slow = weights(shapes=SHAPES)
    control = list(drive(cls(slow, foreach=False, **hyper), slow, missing=missing))
    for flags in flags_of(cls):
        fast = on_cuda(weights(shapes=SHAPES))
        result = list(drive(cls(fast, **hyper, **flags), fast, missing=missing))
        for step, (a, b) in enumerate(zip(result, control, strict=True), start=1):
            close(a, b, 1e-12), (flags, step)


@pytest.mark.parametrize("name", ["adams", "amsgrads", "sgds", "adais"])
def test_float64_agrees_with_the_paper(name):
    cases = {
        "adams": (AdamS, dict(lr=0.01, weight_decay=0.05), (0.01, 0.9, 0.999, 1e-8, 0.05, 0.5)),
        "amsgrads": (
            AdamS,
            dict(lr=0.01, weight_decay=0.05, amsgrad=True),
            (0.01, 0.9, 0.999, 1e-8, 0.05, 0.5),
        ),
        "sgds": (SGDS, dict(lr=0.01, momentum=0.9, weight_decay=0.05), (0.01, 0.9, 1.0, 0.05)),
        "adais": (AdaiS, dict(lr=0.01, weight_decay=0.05), (0.01, 0.1, 0.99, 1e-3, 0.05)),
    }
    cls, hyper, numbers = cases[name]
    start = weights()
    params = on_cuda(start)
    theirs = getattr(reference, name)(flat(start), flat_gradients(start, 60), *numbers)
    for a, b in zip(drive(cls(params, **hyper), params, steps=60), theirs, strict=True):
        close(a, b, 1e-12)


@members
def test_parameters_on_two_devices(member):
    cls, hyper = MEMBERS[member]
    both = weights(shapes=SHAPES)
    both = [Parameter(p.detach().cuda()) if i % 2 else p for i, p in enumerate(both)]
    alone = weights(shapes=SHAPES)
    close(last(cls(both, **hyper), both), last(cls(alone, **hyper), alone), 1e-12)


@pytest.mark.parametrize("per", ["all", "tensor"])
def test_sphere(per):
    results = []
    for move in (list, on_cuda):
        params = move(weights())
        optimizer = torch.optim.AdamW(params, lr=0.01)
        keep_on_sphere(optimizer, params, radius="initial", per=per)
        results.append(last(optimizer, params))
    close(*results, 1e-12)


def test_v_mean_is_the_mean_of_the_corrected_moments():
    params = on_cuda(weights(shapes=SHAPES))
    optimizer = AdamS(params)
    last(optimizer, params, steps=7)
    sums = sum(optimizer.state[p]["exp_avg_sq"].sum() for p in params) / (1 - 0.999**7)
    close(optimizer.v_mean(), sums / sum(p.numel() for p in params), 1e-12)


def test_run_of_the_drive_is_ours():
    """The two drivers of these tests agree, so that what is compared above is the optimizer."""
    a, b = weights(), weights()
    close(list(run(AdamS(a), a))[-1], last(AdamS(b), b, steps=60), 0)
