"""SGDW and SGDS: every backend against the paper, and the fused path's change of variables."""

import copy
import math

import pytest
import torch
from torch.nn import Parameter

from etalambda.optim import SGDS, SGDW, functional, keep_on_sphere
from tests.optim._drive import agree, flat, flat_gradients, gradients, run, weights
from tests.reference import optimizers as paper

BACKENDS = {
    "default": dict(),
    "forloop": dict(foreach=False),
    "foreach": dict(foreach=True),
    "fused": dict(fused=True),
    "tensor lr": dict(lr=torch.tensor(0.05, dtype=torch.float64)),
    "tensor decay": dict(weight_decay=torch.tensor(0.2, dtype=torch.float64)),
}
backends = pytest.mark.parametrize("backend", BACKENDS)
classes = pytest.mark.parametrize("cls", [SGDW, SGDS])
HYPER = dict(lr=0.05, momentum=0.9, weight_decay=0.2)


@backends
@pytest.mark.parametrize(
    ("cls", "options", "rule"),
    [
        (SGDW, {}, paper.sgdw),
        (SGDS, {}, paper.sgds),
        (SGDS, dict(bias_corrected=True), paper.sgds_exact),
    ],
)
@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9])
def test_follows_the_paper(backend, cls, options, rule, momentum):
    params = weights()
    optimizer = cls(params, **HYPER | dict(momentum=momentum) | options | BACKENDS[backend])
    theirs = rule(flat(params), flat_gradients(params, 300), 0.05, momentum, 1.0, 0.2)
    agree(run(optimizer, params, 300), theirs, tolerance=1e-11)


@backends
@classes
@pytest.mark.parametrize("options", [dict(dampening=0.3), dict(nesterov=True), dict(maximize=True)])
def test_class_is_the_pure_rule_under_schedules(backend, cls, options):
    """lr, λ and momentum change at every step; torch's first buffer, dampening, Nesterov."""
    params, theirs = weights(), [p.detach() for p in weights()]
    optimizer = cls(params, **HYPER | options | BACKENDS[backend])
    rule = functional.sgds if cls is SGDS else functional.sgdw
    sign = -1 if options.pop("maximize", False) else 1
    (group,), state = optimizer.param_groups, functional.init("sgdw", theirs)
    for t, grads in enumerate(gradients(params, 60)):
        now = dict(lr=0.05 * (1 + math.sin(t)), weight_decay=0.1 * (2 + math.cos(t)))
        now["momentum"] = 0.8 + 0.1 * math.sin(2 * t)
        for name, value in now.items():
            tensor = isinstance(group[name], torch.Tensor)
            group[name] = torch.tensor(value, dtype=torch.float64) if tensor else value
        for p, g in zip(params, grads):
            p.grad = g
        optimizer.step()
        theirs, state = rule(theirs, [sign * g for g in grads], state, **now, **options)
        torch.testing.assert_close(flat(params), flat(theirs), rtol=1e-12, atol=1e-12)


@backends
@pytest.mark.parametrize("options", [dict(), dict(dampening=0.3), dict(nesterov=True)])
def test_no_decay_is_torch_sgd(backend, options):
    ours, theirs = weights(), weights()
    hyper = HYPER | options | dict(weight_decay=0.0)
    agree(
        run(SGDS(ours, **(HYPER | BACKENDS[backend] | options | dict(weight_decay=0.0))), ours),
        run(torch.optim.SGD(theirs, **hyper), theirs),
    )


def test_sgds_is_l2_sgd_with_a_mapped_momentum():
    """SGDS with λ is torch's SGD with the same λ and momentum μ (1 - ηλ/(1 - μ)); only the first
    buffer, which then holds κθ_0, differs."""
    lr, mu, lam = 0.05, 0.9, 0.2
    kappa = lam / (1 - mu)
    ours, theirs = weights(), weights()
    torch_sgd = torch.optim.SGD(theirs, lr=lr, momentum=mu * (1 - lr * kappa), weight_decay=kappa)
    sgds = SGDS(ours, **HYPER)
    for t, grads in enumerate(gradients(ours, 300)):
        for p, q, g in zip(ours, theirs, grads):
            p.grad, q.grad = g.clone(), g.clone()
        sgds.step(), torch_sgd.step()
        torch_sgd.param_groups[0]["weight_decay"] = lam
        torch.testing.assert_close(flat(ours), flat(theirs), rtol=1e-11, atol=1e-11, msg=str(t))


def test_stationary_points():
    """On a quadratic SGDS and L2-SGD settle at H/(H + λ) θ*, SGDW at H/(H + λ(1 - μ)) θ*."""
    h, star, lam, mu = torch.tensor([1.0, 0.1]).double(), torch.ones(2).double(), 0.3, 0.9
    expected = {SGDS: h / (h + lam), torch.optim.SGD: h / (h + lam), SGDW: h / (h + lam * (1 - mu))}
    for cls, stationary in expected.items():
        w = Parameter(torch.zeros(2).double())
        optimizer = cls([w], lr=0.02, momentum=mu, weight_decay=lam)
        for _ in range(4000):
            w.grad = h * (w.detach() - star)
            optimizer.step()
        torch.testing.assert_close(w.detach(), stationary * star, rtol=1e-9, atol=1e-9)


@backends
@classes
def test_saved_buffers_are_the_paper_s(backend, cls):
    """state_dict holds b, not the fused path's B, and saving does not disturb the run."""
    params, theirs = weights(), weights()
    ours, loop = cls(params, **HYPER | BACKENDS[backend]), cls(theirs, **HYPER, foreach=False)
    for _ in range(3):
        agree(run(ours, params, 4), run(loop, theirs, 4))
        saved, plain = ours.state_dict()["state"], loop.state_dict()["state"]
        for index, state in plain.items():
            torch.testing.assert_close(
                saved[index]["momentum_buffer"], state["momentum_buffer"], rtol=1e-11, atol=1e-11
            )


@backends
@classes
@pytest.mark.parametrize("copy_", ["state_dict", "deepcopy"])
def test_resumed_equals_straight(backend, cls, copy_):
    params = weights()
    optimizer = cls(params, **HYPER | BACKENDS[backend])
    list(run(optimizer, params, 5))
    if copy_ == "state_dict":
        resumed = [Parameter(p.detach().clone()) for p in params]
        second = cls(resumed, lr=1.0)
        second.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    else:
        second = copy.deepcopy(optimizer)
        resumed = [p for group in second.param_groups for p in group["params"]]
    for ours, theirs in zip(run(optimizer, params, 5, seed=2), run(second, resumed, 5, seed=2)):
        assert torch.equal(ours, theirs)


@classes
def test_missing_gradients(cls):
    """Tensors that sit a step out keep their buffer; the fused path maps each with its own past."""
    ours, theirs = weights(), weights()
    fused, loop = cls(ours, **HYPER), cls(theirs, **HYPER, foreach=False)
    for t, grads in enumerate(gradients(ours, 60)):
        for index, (p, q, g) in enumerate(zip(ours, theirs, grads)):
            present = (t * 7 + index * 3) % 4 > 0
            p.grad, q.grad = (g.clone(), g.clone()) if present else (None, None)
        fused.step(), loop.step()
        torch.testing.assert_close(flat(ours), flat(theirs), rtol=1e-12, atol=1e-12)


@classes
def test_weights_on_a_sphere(cls):
    """A hook that moves the weights after each step breaks the mapping, so it is not used."""
    ours, theirs = weights(), weights()
    fused, loop = cls(ours, **HYPER), cls(theirs, **HYPER, foreach=False)
    keep_on_sphere(fused, ours), keep_on_sphere(loop, theirs)
    agree(run(fused, ours), run(loop, theirs))


def test_foreign_writes_are_noticed():
    """Weights written between steps: from then on decay takes a pass of its own."""
    ours, theirs = weights(), weights()
    fused, loop = SGDS(ours, **HYPER), SGDS(theirs, **HYPER, foreach=False)
    for params, optimizer in ((ours, fused), (theirs, loop)):
        list(run(optimizer, params, 5))
        optimizer.state_dict()  # B is turned back here, so the write is harmless
        with torch.no_grad():
            for p in params:
                p.mul_(0.5)
    agree(run(fused, ours), run(loop, theirs))
    with torch.no_grad():
        ours[0].mul_(1.0)
    fused.step()
    assert fused._shared_weights


def test_loads_a_state_of_torch_sgd():
    """torch counts no steps, so a buffer from there counts as old."""
    theirs = weights()
    torch_sgd = torch.optim.SGD(theirs, **HYPER)
    list(run(torch_sgd, theirs, 3))
    for options in (dict(), dict(bias_corrected=True)):
        ours = [Parameter(p.detach().clone()) for p in theirs]
        optimizer = SGDS(ours, **HYPER, **options)
        optimizer.load_state_dict(copy.deepcopy(torch_sgd.state_dict()))
        start = flat(ours)
        buffers = flat([s["momentum_buffer"] for s in optimizer.state.values()])
        g = flat(next(gradients(ours, 1)))
        next(run(optimizer, ours, 1))
        expected = (1 - 0.05 * 0.2 / (1 - 0.9)) * start - 0.05 * (0.9 * buffers + g)
        torch.testing.assert_close(flat(ours), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("bad", "error", "message"),
    [
        (dict(lr=-1), ValueError, "Invalid learning rate: -1"),
        (dict(momentum=-0.5), ValueError, "Invalid momentum value: -0.5"),
        (dict(momentum=1.0), ValueError, "SGDS needs momentum below 1"),
        (dict(weight_decay=-1), ValueError, "Invalid weight_decay value: -1"),
        (dict(nesterov=True), ValueError, "Nesterov momentum requires"),
        (dict(capturable=True), ValueError, "capturable=True got no counter"),
        (dict(speed=3), TypeError, "SGDS got an unexpected argument 'speed'"),
    ],
)
def test_error_names_the_argument_and_its_value(bad, error, message):
    with pytest.raises(error, match=message):
        SGDS([Parameter(torch.ones(1))], **bad)
