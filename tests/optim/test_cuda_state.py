"""On a CUDA device: skipped steps, saved runs, and memory."""

from copy import deepcopy

import pytest
import torch
from torch.nn import Parameter

from etalambda.optim import AdamS
from tests.optim._cuda import MEMBERS, NEEDS_CUDA, SHAPES, close, flags_of, last, members, on_cuda
from tests.optim._drive import weights

pytestmark = NEEDS_CUDA


@pytest.mark.parametrize(
    "flags", [{}, dict(fused=True), dict(fused=True, capturable=True)], ids=str
)
@pytest.mark.parametrize("hyper", [{}, dict(max_norm=0.5), dict(amsgrad=True)], ids=str)
def test_grad_scaler_with_overflow(flags, hyper):
    """Steps whose gradients overflow leave everything as it was, and the others are unscaled."""
    torch.manual_seed(0)
    start, x = torch.randn(40, 30), torch.randn(8, 40).cuda()
    plain = Parameter(start.cuda())
    scaled = Parameter(start.cuda())
    control = AdamS([plain], lr=1e-3, weight_decay=0.1, foreach=False, **hyper)
    optimizer = AdamS([scaled], lr=1e-3, weight_decay=0.1, **flags, **hyper)
    scaler = torch.amp.GradScaler("cuda", init_scale=2.0**10)
    for t in range(8):
        bad = t in (2, 5)
        if not bad:
            control.zero_grad()
            (x @ plain).square().mean().backward()
            control.step()
        optimizer.zero_grad()
        scaler.scale((x @ scaled).square().mean()).backward()
        if bad:
            scaled.grad[0, 0] = float("inf")
        scaler.step(optimizer)
        scaler.update()
    assert optimizer.state[scaled]["step"].item() == 6
    close(scaled.detach(), plain.detach(), 1e-5)


@members
def test_resumed_run_is_the_straight_run(member):
    cls, hyper = MEMBERS[member]
    for flags in flags_of(cls):
        straight = on_cuda(weights(dtype=torch.float32, shapes=SHAPES))
        optimizer = cls(straight, **hyper, **flags)
        last(optimizer, straight, steps=10)
        saved = deepcopy(optimizer.state_dict())
        resumed = on_cuda(straight)
        other = cls(resumed, **hyper, **flags)
        other.load_state_dict(saved)
        ends = [last(o, p, steps=10, seed=2) for o, p in ((optimizer, straight), (other, resumed))]
        torch.testing.assert_close(*ends, rtol=0, atol=0)


def test_state_on_the_cpu_goes_on_on_cuda():
    there, here = weights(), on_cuda(weights())
    first = AdamS(there, lr=0.01, weight_decay=0.05)
    last(first, there, steps=5)
    for p, q in zip(here, there):
        p.data.copy_(q)
    second = AdamS(here, lr=0.01, weight_decay=0.05)
    second.load_state_dict(deepcopy(first.state_dict()))
    close(last(second, here, steps=5, seed=2), last(first, there, steps=5, seed=2), 1e-12)


def test_memory_is_two_moments_and_a_percent():
    torch.cuda.synchronize()
    p = Parameter(torch.randn(1 << 22, device="cuda"))
    p.grad = torch.randn_like(p)
    before = torch.cuda.memory_allocated()
    optimizer = AdamS([p])
    torch.cuda.reset_peak_memory_stats()
    for _ in range(3):
        optimizer.step()
    assert torch.cuda.memory_allocated() - before < 8 * 1.02 * p.numel()
    if "_plan" in vars(optimizer):  # nothing of a tensor's size is made on the way
        assert torch.cuda.max_memory_allocated() - before < 8 * 1.05 * p.numel()
