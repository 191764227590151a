"""On a CUDA device: live inside a graph, and no wait in a step."""

import pytest
import torch
from torch.nn import Parameter

from etalambda.optim import SGDS, Adai, AdaiS, AdamS, keep_on_sphere
from tests.optim._cuda import (
    MEMBERS,
    NEEDS_CUDA,
    SHAPES,
    close,
    drive,
    flags_of,
    graphed,
    members,
    on_cuda,
)
from tests.optim._drive import flat, weights

pytestmark = NEEDS_CUDA


@pytest.mark.parametrize("flags", [{}, dict(fused=True), dict(foreach=True)], ids=str)
@pytest.mark.parametrize(
    "cls",
    [AdamS, AdaiS, Adai, lambda p, **o: AdamS(p, amsgrad=True, **o)],
    ids=["AdamS", "AdaiS", "Adai", "AMSGradS"],
)
def test_graph_with_lr_and_decay_changed_between_replays(cls, flags):
    if flags.get("fused") and cls in (Adai, AdaiS):
        pytest.skip("no fused kernel exists")
    results = []
    for captured in (False, True):
        torch.manual_seed(0)
        params = [Parameter(torch.randn(s, dtype=torch.float64).cuda()) for s in ((30, 20), (7,))]
        lr, decay = (torch.full((), x, dtype=torch.float64, device="cuda") for x in (0.01, 0.1))
        made = cls(params, lr=lr, weight_decay=decay, capturable=True, **flags)
        x = torch.randn(16, 30, dtype=torch.float64).cuda()

        def step(params=params, x=x, made=made):
            loss = ((x @ params[0]).pow(2).mean() + params[1].sum()).pow(2)
            made.zero_grad(set_to_none=True)
            loss.backward()
            made.step()

        replay = graphed(step).replay if captured else step
        if not captured:
            for _ in range(3):
                step()
        for t in range(12):
            lr.fill_(0.01 / (1 + t)), decay.fill_(0.1 * (1 + t))
            replay()
        results.append(flat(params).cpu())
        assert made.state[params[0]]["step"].item() == 15
    close(*results, 1e-12)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_sgds_in_a_graph(momentum):
    results = []
    for captured in (False, True):
        torch.manual_seed(0)
        p = Parameter(torch.randn(300, dtype=torch.float64, device="cuda"))
        p.grad = torch.randn(300, dtype=torch.float64, device="cuda")
        optimizer = SGDS([p], lr=0.01, momentum=momentum, weight_decay=0.1)
        replay = graphed(optimizer.step).replay if captured else optimizer.step
        for _ in range(5 if captured else 8):
            replay()
        results.append(p.detach().cpu())
    close(*results, 1e-12)


@members
def test_no_wait_in_a_step(member):
    cls, hyper = MEMBERS[member]
    for flags in flags_of(cls):
        if flags == dict(foreach=False):
            continue  # torch's own loop waits too
        params = on_cuda(weights(shapes=SHAPES))
        optimizer = cls(params, **hyper, **flags)
        for _ in drive(optimizer, params, steps=3):
            pass
        torch.cuda.set_sync_debug_mode("error")
        try:
            optimizer.step()
            for group in optimizer.param_groups:  # what a scheduler does
                group["lr"] *= 0.5
            optimizer.step()
            for p in params:
                p.grad = p.grad.clone()
            optimizer.step()
        finally:
            torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("per", ["all", "tensor"])
def test_no_wait_in_a_step_on_a_sphere(per):
    params = on_cuda(weights(dtype=torch.float32))
    optimizer = torch.optim.AdamW(params, fused=True)
    keep_on_sphere(optimizer, params, "initial", per=per)
    for _ in drive(optimizer, params, steps=3):
        pass
    torch.cuda.set_sync_debug_mode("error")
    try:
        optimizer.step()
    finally:
        torch.cuda.set_sync_debug_mode("default")
