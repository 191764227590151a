"""The single pass of AdamS: its kernels on a GPU, or on the CPU in Triton's interpreter."""

from copy import deepcopy

import pytest
import torch
from torch.nn import Parameter

from etalambda.optim import AdamS, _adams_single_pass
from tests.optim._cuda import close, drive, last
from tests.optim._drive import flat, flat_gradients, gradients, weights
from tests.reference import optimizers as reference

SHAPES = ((3, 4), (), (0,), (2500,))
HYPER = dict(lr=1e-3, weight_decay=0.05)
OPTIONS = [{}, dict(max_norm=1.0), dict(amsgrad=True)]
options = pytest.mark.parametrize("hyper", OPTIONS, ids=str)


def took_one_pass(optimizer):
    return "_plan" in vars(optimizer)


@options
def test_float64_follows_the_paper(chip, hyper):
    """60 steps on 24 elements; the norm of AdamS(max_norm) is clipped for the paper."""
    start = weights()
    params = chip.put(start)
    optimizer = AdamS(params, lr=0.01, weight_decay=0.05, **hyper)
    rule = reference.amsgrads if hyper.get("amsgrad") else reference.adams
    limit = hyper.get("max_norm", float("inf"))

    def clipped(gradient):
        return lambda theta: gradient(theta) * min(1.0, limit / (gradient(theta).norm() + 1e-6))

    grads = map(clipped, flat_gradients(start, 60))
    theirs = rule(flat(start), grads, 0.01, 0.9, 0.999, 1e-8, 0.05, 0.5)
    for a, b in zip(drive(optimizer, params, steps=60), theirs, strict=True):
        close(a, b, 1e-12)
    assert took_one_pass(optimizer)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@options
def test_three_implementations_have_one_result(chip, dtype, hyper):
    """Up to the rounding of the weights; the interpreter cuts bfloat16 off, 2^-7 a step."""
    tolerance = {torch.float32: 2e-5, torch.bfloat16: 3e-2, torch.float16: 5e-3}[dtype]
    if dtype is torch.bfloat16 and not chip.real:
        tolerance = 6 * 2**-7
    results = []
    for flags in ({}, dict(foreach=True), dict(foreach=False)):
        params = chip.put(weights(dtype=dtype, shapes=SHAPES))
        optimizer = AdamS(params, **HYPER, **hyper, **flags)
        results.append(last(optimizer, params, steps=6).double())
        assert took_one_pass(optimizer) == (not flags)
    for other in results[1:]:
        torch.testing.assert_close(results[0], other, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("large", [False, True])
def test_tails_views_and_groups(chip, large, monkeypatch):
    """Tensors of any length at any address, in groups with hyperparameters of their own."""
    if large:
        cuts = _adams_single_pass.CUTS
        monkeypatch.setattr(_adams_single_pass, "CUTS", {0: cuts[max(cuts)]})
    lengths = (1, 7, 4095, 4096, 4097) + (32768, 70001) * chip.real
    start = [torch.randn(n) for n in lengths]
    results = []
    for device, flags in ((chip.device, {}), ("cpu", dict(foreach=False))):
        buffer = torch.zeros(sum(lengths) + 1, device=device)
        ends = torch.tensor(lengths).cumsum(0).tolist()
        params = [Parameter(buffer[1 + e - n : 1 + e]) for n, e in zip(lengths, ends)]
        for p, s in zip(params, start):
            p.data.copy_(s)
        groups = [dict(params=params[:3]), dict(params=params[3:], lr=2e-3, betas=(0.8, 0.95))]
        optimizer = AdamS(groups, lr=1e-3, weight_decay=0.1, **flags)
        results.append(last(optimizer, params, steps=4, missing=True))
        assert took_one_pass(optimizer) == (not flags)
    close(*results, 1e-5)


def test_channels_last_and_transposed_gradients(chip):
    results = []
    for device in (chip.device, "cpu"):
        torch.manual_seed(0)
        weight = torch.randn(8, 4, 3, 3).to(device).to(memory_format=torch.channels_last)
        p = Parameter(weight)
        flags = {} if device == chip.device and not results else dict(foreach=False)
        optimizer = AdamS([p], lr=1e-3, weight_decay=0.1, **flags)
        for step in range(4):
            g = torch.randn(8, 4, 3, 3).to(device)
            p.grad = g if step % 2 else g.to(memory_format=torch.channels_last)
            optimizer.step()
        results.append(p.detach().cpu())
    close(*results, 1e-5)


def test_lag_stays_below_what_float32_holds(chip):
    """In float64, where the lag is off by default and all that it leaves out can be seen."""
    count, steps = (5000, 300) if chip.real else (2000, 60)
    results = []
    for tolerance in (0.0, _adams_single_pass.LAG):
        torch.manual_seed(0)
        (p,) = chip.put([torch.randn(count, dtype=torch.float64)])
        optimizer = AdamS([p], lr=1e-3, weight_decay=1e-2)
        lagged = 0.0
        for _ in range(steps):
            p.grad = torch.randn(count, dtype=torch.float64).to(p.device)
            optimizer.step()
            optimizer._plan.dial[4].fill_(tolerance)
            lagged += 1 - optimizer._plan.dial[0].item()
        results.append(p.detach().cpu())
        assert (lagged > steps / 3) == (tolerance > 0)
    deviation = (results[0] - results[1]).norm() / results[0].norm()
    assert 0 < deviation < 1e-7


def test_eager_steps_between_replays(chip):
    """A graph keeps its own table of gradients, and shares the rest."""
    results = []
    for captured in (False, True):
        (p,) = chip.put([torch.randn(300, generator=torch.Generator().manual_seed(0))])
        draw = torch.Generator().manual_seed(1)
        p.grad = torch.randn(300, generator=draw).to(p.device)
        optimizer = AdamS([p], lr=torch.tensor(1e-2, device=p.device), capturable=True)
        step = optimizer.step
        replay = chip.graphed(step).replay if captured else step
        if not captured:
            for _ in range(3):
                step()
        first = p.grad
        for t in range(6):
            p.grad = first  # the graph reads it in any case; the control, what p.grad is
            first.copy_(torch.randn(300, generator=draw))
            replay()
            p.grad = torch.randn(300, generator=draw).to(p.device)
            optimizer.step()
            if t == 3:
                optimizer.state_dict()
        assert optimizer.state[p]["step"].item() == 15
        results.append(p.detach().cpu())
    close(*results, 1e-6)


@options
def test_overflow_leaves_everything_and_scaled_gradients_are_unscaled(chip, hyper):
    """As GradScaler sets it: steps 1 and 3 overflow."""
    plain, scaled = (chip.put(weights(dtype=torch.float32, shapes=SHAPES)) for _ in range(2))
    control = AdamS(plain, **HYPER, **hyper, foreach=False)
    optimizer = AdamS(scaled, **HYPER, **hyper, fused=True)
    for t, grads in enumerate(gradients([p.detach().cpu() for p in plain], 5)):
        bad = t in (1, 3)
        for p, q, g in zip(plain, scaled, grads):
            p.grad, q.grad = g.to(p.device), g.to(p.device) * 1024
        if bad:
            scaled[0].grad[0, 0] = torch.inf
        home = scaled[0].device
        optimizer.grad_scale = torch.full((), 1024.0, device=home)
        optimizer.found_inf = torch.full((), float(bad), device=home)
        optimizer.step()
        if not bad:
            control.step()
        torch.testing.assert_close(flat(scaled), flat(plain), rtol=1e-5, atol=1e-5)
    assert took_one_pass(optimizer)
    assert optimizer.state[scaled[0]]["step"].item() == 3


@options
def test_resumed_run_is_the_straight_run_to_the_last_bit(chip, hyper):
    straight = chip.put(weights(dtype=torch.float32, shapes=SHAPES))
    optimizer = AdamS(straight, **HYPER, **hyper)
    last(optimizer, straight, steps=4)
    resumed = chip.put(straight)
    other = AdamS(resumed, **HYPER, **hyper)
    other.load_state_dict(deepcopy(optimizer.state_dict()))
    ends = [last(o, p, steps=4, seed=2) for o, p in ((optimizer, straight), (other, resumed))]
    assert torch.equal(*ends)


def test_host_takes_its_short_way(chip):
    """From the second step on: the lists of the step before, and kernels by their handles."""
    params = chip.put(weights(shapes=SHAPES))
    optimizer = AdamS(params)
    last(optimizer, params, steps=3)
    plan = optimizer._plan
    assert plan.last is not None
    assert all((launch.handle is not None) == chip.real for launch in plan.launches[False])


def test_zero_gradients_are_a_no_op(chip):
    (p,) = chip.put([torch.ones(10)])
    optimizer = AdamS([p], lr=0.1, weight_decay=0.5)
    for _ in range(3):
        p.grad = torch.zeros_like(p)
        optimizer.step()
    assert torch.equal(p.detach(), torch.ones_like(p))
    p.grad = torch.ones_like(p)
    optimizer.step()
    assert torch.isfinite(p).all()
