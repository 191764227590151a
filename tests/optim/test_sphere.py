"""The sphere: projection, what keeps it, and that it turns L2 into a learning rate."""

import math

import pytest
import torch
from torch.nn import Parameter

from etalambda.optim import AdamS, keep_on_sphere, project_, sphere_lr


def test_project_takes_all_tensors_as_one_vector():
    a, b = torch.randn(3, 4).double(), torch.randn(5).double()
    direction = torch.cat([a.flatten(), b]) / torch.cat([a.flatten(), b]).norm()
    project_([a, b])
    torch.testing.assert_close(torch.cat([a.flatten(), b]), direction * math.sqrt(17))


@pytest.mark.parametrize("bad", [0.0, -1.0, math.nan, math.inf, "unit"])
def test_bad_radius_is_named(bad):
    w = torch.ones(2)
    with pytest.raises(ValueError, match=f"radius must be .* got {bad}"):
        project_(w, bad)
    assert torch.equal(w, torch.ones(2))


@pytest.mark.parametrize("value", [0.0, math.nan])
def test_weights_without_direction_raise(value):
    with pytest.raises(ValueError, match=f"params have norm {value}"):
        project_(torch.full((3,), value))


def test_empty_params_raise():
    with pytest.raises(ValueError, match="params is empty"):
        project_([])
    with pytest.raises(ValueError, match="params is empty"):
        keep_on_sphere(torch.optim.SGD([Parameter(torch.ones(1))]), [])


def run(lr, weight_decay, per, radius, steps=200, make=torch.optim.SGD):
    """SGD on a fixed quadratic with every step projected; returns the weights."""
    torch.manual_seed(3)
    params = [Parameter(torch.randn(4, 3).double()), Parameter(torch.randn(5).double())]
    target = [torch.randn_like(p) for p in params]
    optimizer = make(params, lr=lr, weight_decay=weight_decay)
    keep_on_sphere(optimizer, params, radius, per=per)
    for _ in range(steps):
        optimizer.zero_grad()
        sum(((p - t) ** 4).mean() for p, t in zip(params, target)).backward()
        optimizer.step()
    return torch.cat([p.detach().flatten() for p in params])


@pytest.mark.parametrize("per", ["all", "tensor"])
@pytest.mark.parametrize("radius", [None, "initial", 2.5])
@pytest.mark.parametrize("weight_decay", [5e-4, 9.0])
def test_l2_on_a_sphere_is_a_learning_rate(per, radius, weight_decay):
    """CGD-S1, exact: 200 steps with w equal 200 steps without at η / (1 - η w)."""
    lr = 0.1
    with_decay = run(lr, weight_decay, per, radius)
    without = run(sphere_lr(lr, weight_decay), 0.0, per, radius)
    torch.testing.assert_close(with_decay, without, rtol=1e-12, atol=1e-12)


def test_the_pole_raises_before_the_step():
    """2 η λ >= 1, with torch's weight_decay 2λ: the step would mirror the weights."""
    w = Parameter(torch.ones(4))
    optimizer = torch.optim.SGD([w], lr=0.5, weight_decay=2.0)
    keep_on_sphere(optimizer, [w])
    w.grad = torch.ones(4)
    with pytest.raises(ValueError, match=r"lr \* weight_decay must lie in \[0, 1\)"):
        optimizer.step()
    assert torch.equal(w.detach(), torch.ones(4))


def test_groups_off_the_sphere_have_no_pole():
    w, free = Parameter(torch.ones(4)), Parameter(torch.ones(1))
    groups = [dict(params=[w], weight_decay=0.0), dict(params=[free], weight_decay=3.0)]
    optimizer = torch.optim.SGD(groups, lr=0.5)
    keep_on_sphere(optimizer, [w])
    w.grad, free.grad = torch.ones(4), torch.ones(1)
    optimizer.step()
    assert free.item() == 1 - 0.5 * (1 + 3)


def test_per_tensor_keeps_each_norm_and_leaves_others_free():
    a, b = Parameter(torch.tensor([3.0, 4.0])), Parameter(torch.tensor([6.0, 8.0]))
    bias = Parameter(torch.ones(2))
    optimizer = AdamS([a, b, bias], lr=0.3)
    handle = keep_on_sphere(optimizer, [a, b], "initial", per="tensor")
    assert handle.radii == [5.0, 10.0]
    for p in (a, b, bias):
        p.grad = torch.tensor([1.0, -2.0])
    optimizer.step()
    torch.testing.assert_close(a.norm().item(), 5.0)
    torch.testing.assert_close(b.norm().item(), 10.0)
    assert bias.detach().norm() > 1
    handle.remove()
    optimizer.step()
    assert abs(a.norm().item() - 5.0) > 1e-3


def test_radius_scaling():
    """CGD-S6: θ = s σ turns (η, w) on θ into (η / s², w s²) on σ."""
    s, torch_seed = 3.0, 5

    def go(scale, lr, weight_decay):
        torch.manual_seed(torch_seed)
        start = torch.randn(6).double()
        w = Parameter(start * scale)
        optimizer = torch.optim.SGD([w], lr=lr, weight_decay=weight_decay)
        keep_on_sphere(optimizer, [w], scale * math.sqrt(6))
        for _ in range(50):
            optimizer.zero_grad()
            (w / scale).pow(3).sum().backward()
            optimizer.step()
        return w.detach() / scale

    torch.testing.assert_close(go(s, 0.05 * s**2, 0.5 / s**2), go(1.0, 0.05, 0.5))


def test_errors_of_keep_on_sphere():
    w = Parameter(torch.zeros(2))
    optimizer = torch.optim.SGD([w])
    with pytest.raises(ValueError, match="per must be 'all' or 'tensor', got 'layer'"):
        keep_on_sphere(optimizer, [w], per="layer")
    with pytest.raises(ValueError, match="radius='initial' got weights of norm 0"):
        keep_on_sphere(optimizer, [w], "initial")
