"""Weight norms and effective lr against their definitions, and the law they are made for."""

import math

import pytest
import torch

from etalambda.diagnose import effective_lr, weight_norms


def three_groups():
    torch.manual_seed(0)
    a, b, c = (torch.nn.Parameter(torch.randn(n).double()) for n in (3, 4, 5))
    return [a, b, c], torch.optim.SGD(
        [dict(params=[a, b]), dict(params=[c], lr=0.5, momentum=0.9), dict(params=[])], lr=0.1
    )


def test_norms_per_group_and_per_tensor():
    (a, b, c), optimizer = three_groups()
    joint = math.hypot(a.norm().item(), b.norm().item())
    assert weight_norms(optimizer) == pytest.approx([joint, c.norm().item(), 0.0], rel=1e-14)
    each = [w.norm().item() for w in (a, b, c)]
    assert weight_norms(optimizer, per="tensor") == pytest.approx(each, rel=1e-14)


def test_effective_lr_counts_momentum_and_is_infinite_at_zero():
    (_, _, c), optimizer = three_groups()
    rates = effective_lr(optimizer)
    assert rates[1] == pytest.approx(0.5 / (1 - 0.9) / c.norm().item() ** 2, rel=1e-12)
    assert rates[2] == math.inf
    assert len(effective_lr(optimizer, per="tensor")) == 3


def test_norms_are_accumulated_in_float64_and_complex_counts_by_modulus():
    big = torch.nn.Parameter(torch.full((100_000,), 1e-3))
    z = torch.nn.Parameter(torch.tensor([3 + 4j]))
    optimizer = torch.optim.SGD([dict(params=[big]), dict(params=[z])], lr=1.0)
    expected = [math.sqrt(100_000) * float(torch.tensor(1e-3)), 5.0]
    assert weight_norms(optimizer) == pytest.approx(expected, rel=1e-9)


def test_two_optimizers_are_one_list():
    _, first = three_groups()
    _, second = three_groups()
    assert weight_norms([first, second]) == weight_norms(first) + weight_norms(second)
    assert effective_lr(iter([first, second])) == effective_lr(first) + effective_lr(second)


def test_scale_invariant_direction_moves_by_the_effective_lr():
    """One SGD step on f(w/|w|) turns w/|w| by η/|w|² times the gradient at the unit sphere."""
    for scale in (0.5, 1.0, 3.0):
        torch.manual_seed(1)
        unit = torch.nn.functional.normalize(torch.randn(50).double(), dim=0)
        target = torch.randn(50).double()
        w = torch.nn.Parameter(scale * unit)
        optimizer = torch.optim.SGD([w], lr=1e-5)
        (rate,) = effective_lr(optimizer)
        torch.nn.functional.normalize(w, dim=0).dot(target).backward()
        optimizer.step()
        moved = torch.nn.functional.normalize(w.detach(), dim=0) - unit
        tangent = target - unit * unit.dot(target)
        assert moved.norm().item() == pytest.approx(rate * tangent.norm().item(), rel=1e-4)


def test_unknown_per_is_named():
    _, optimizer = three_groups()
    with pytest.raises(ValueError, match="per must be 'group' or 'tensor', got 'layer'"):
        weight_norms(optimizer, per="layer")
