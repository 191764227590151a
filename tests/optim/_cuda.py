"""What the tests on a CUDA device share: the members, their flags, and a driver."""

import pytest
import torch
from torch.nn import Parameter

from etalambda.optim import SGDS, SGDW, Adai, AdaiS, AdamS
from tests.optim._drive import flat, gradients

NEEDS_CUDA = [
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
    # torch's remarks on the debug mode itself, and on backward passes within a capture
    pytest.mark.filterwarnings("ignore:Synchronization debug mode"),
    pytest.mark.filterwarnings("ignore:The AccumulateGrad node"),
    # torch's remark on steps before a capture
    pytest.mark.filterwarnings("ignore:This instance was constructed with capturable=True"),
]

SHAPES = ((3, 4), (5,), (), (0,), (2, 1, 3), (5000,), (64, 70))
MEMBERS = {
    "AdamS": (AdamS, dict(lr=0.01, weight_decay=0.05)),
    "AdamS power 1": (AdamS, dict(lr=0.01, weight_decay=0.05, power=1.0, betas=(0.8, 0.9))),
    "AdamS clipped": (AdamS, dict(lr=0.01, weight_decay=0.05, max_norm=1.0)),
    "AMSGradS": (AdamS, dict(lr=0.01, weight_decay=0.05, amsgrad=True)),
    "AMSGradS clipped": (AdamS, dict(lr=0.01, weight_decay=0.05, amsgrad=True, max_norm=1.0)),
    "AdamS maximize": (AdamS, dict(lr=0.01, weight_decay=0.05, maximize=True)),
    "SGDS": (SGDS, dict(lr=0.01, momentum=0.9, weight_decay=0.05)),
    "SGDS nesterov": (SGDS, dict(lr=0.01, momentum=0.9, weight_decay=0.05, nesterov=True)),
    "SGDW": (SGDW, dict(lr=0.01, momentum=0.9, weight_decay=0.05)),
    "Adai": (Adai, dict(lr=0.01, weight_decay=0.05)),
    "AdaiS": (AdaiS, dict(lr=0.01, weight_decay=0.05)),
}
members = pytest.mark.parametrize("member", MEMBERS)
FLAGS = [
    {}, dict(capturable=True), dict(fused=True), dict(fused=True, capturable=True),
    dict(foreach=True), dict(foreach=True, capturable=True), dict(foreach=False),
]  # fmt: skip


def flags_of(cls):
    """The flags that a class takes."""
    refused = {"capturable"} if issubclass(cls, SGDW) else {"fused"} if cls is not AdamS else set()
    return [flags for flags in FLAGS if not refused & set(flags)]


def on_cuda(params):
    return [Parameter(p.detach().cuda().clone()) for p in params]


def drive(optimizer, params, steps=40, seed=1, scale=1.0, missing=False):
    """Every iterate on the CPU, from gradients that were drawn there."""
    like = [Parameter(p.detach().cpu()) for p in params]
    for t, grads in enumerate(gradients(like, steps, seed, scale)):
        for i, (p, g) in enumerate(zip(params, grads)):
            p.grad = None if missing and (t * t + i) % 5 == 0 else g.to(p.device)
        optimizer.step()
        yield flat([p.detach().cpu() for p in params]).clone()


def last(*args, **options):
    return list(drive(*args, **options))[-1]


def close(a, b, tolerance):
    torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


def graphed(step):
    """``step`` as a CUDA graph, after three steps that warm up."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph
