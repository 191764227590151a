"""On a CUDA device: the same numbers as on the CPU, no wait, live in a graph, one pass."""

from copy import deepcopy

import pytest
import torch
from torch.nn import Parameter

from etalambda.optim import SGDS, SGDW, Adai, AdaiS, AdamS, _adams_single_pass, keep_on_sphere
from tests.optim._drive import flat, flat_gradients, gradients, run, weights
from tests.reference import optimizers as reference

pytestmark = [
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


def has_triton():
    return pytest.importorskip("triton") is not None


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


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("hyper", [{}, dict(max_norm=1.0), dict(amsgrad=True)], ids=str)
def test_single_pass_is_the_stock_path(dtype, hyper):
    """Three implementations, one result, up to the rounding of the weights."""
    assert has_triton()
    tolerance = {torch.float32: 2e-5, torch.bfloat16: 3e-2, torch.float16: 5e-3}[dtype]
    results = []
    for flags in ({}, dict(foreach=True), dict(foreach=False)):
        params = on_cuda(weights(dtype=dtype, shapes=SHAPES))
        optimizer = AdamS(params, lr=1e-3, weight_decay=0.05, **hyper, **flags)
        results.append(last(optimizer, params, steps=10).double())
        assert ("_plan" in vars(optimizer)) == (not flags)
    for other in results[1:]:
        torch.testing.assert_close(results[0], other, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("large", [False, True])
def test_single_pass_over_tails_views_and_groups(large, monkeypatch):
    """Tensors of any length at any address, in groups with hyperparameters of their own."""
    if large:
        cuts = _adams_single_pass.CUTS
        monkeypatch.setattr(_adams_single_pass, "CUTS", {0: cuts[max(cuts)]})
    lengths = (1, 7, 4095, 4096, 4097, 32768, 70001)
    start = [torch.randn(n) for n in lengths]
    results = []
    for device, flags in (("cuda", {}), ("cpu", dict(foreach=False))):
        buffer = torch.zeros(sum(lengths) + 1, device=device)
        ends = torch.tensor(lengths).cumsum(0).tolist()
        params = [Parameter(buffer[1 + e - n : 1 + e]) for n, e in zip(lengths, ends)]
        for p, s in zip(params, start):
            p.data.copy_(s)
        groups = [dict(params=params[:3]), dict(params=params[3:], lr=2e-3, betas=(0.8, 0.95))]
        optimizer = AdamS(groups, lr=1e-3, weight_decay=0.1, **flags)
        results.append(last(optimizer, params, steps=6))
        assert ("_plan" in vars(optimizer)) == (device == "cuda")
    close(*results, 1e-5)


def test_channels_last_and_transposed_gradients():
    results = []
    for device in ("cuda", "cpu"):
        torch.manual_seed(0)
        weight = torch.randn(8, 4, 3, 3).to(device).to(memory_format=torch.channels_last)
        p = Parameter(weight)
        optimizer = AdamS([p], lr=1e-3, weight_decay=0.1)
        for step in range(4):
            g = torch.randn(8, 4, 3, 3).to(device)
            p.grad = g if step % 2 else g.to(memory_format=torch.channels_last)
            optimizer.step()
        results.append(p.detach().cpu())
    close(*results, 1e-5)


def test_lag_stays_below_what_float32_holds():
    """In float64, where the lag is off by default and all that it leaves out can be seen."""
    assert has_triton()
    results = []
    for tolerance in (0.0, _adams_single_pass.LAG):
        torch.manual_seed(0)
        p = Parameter(torch.randn(5000, dtype=torch.float64, device="cuda"))
        optimizer = AdamS([p], lr=1e-3, weight_decay=1e-2)
        lagged = 0.0
        for _ in range(300):
            p.grad = torch.randn(5000, dtype=torch.float64, device="cuda")
            optimizer.step()
            optimizer._plan.dial[4].fill_(tolerance)
            lagged += 1 - optimizer._plan.dial[0].item()
        results.append(p.detach().cpu())
        assert (lagged > 200) == (tolerance > 0)
    deviation = (results[0] - results[1]).norm() / results[0].norm()
    assert 0 < deviation < 1e-7


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


def test_eager_steps_between_replays():
    """A graph keeps its own table of gradients, and shares the rest."""
    results = []
    for captured in (False, True):
        torch.manual_seed(0)
        p = Parameter(torch.randn(300, device="cuda"))
        p.grad = torch.randn(300, device="cuda")
        optimizer = AdamS([p], lr=torch.tensor(1e-2, device="cuda"), capturable=True)
        step = optimizer.step
        replay = graphed(step).replay if captured else step
        if not captured:
            for _ in range(3):
                step()
        first, draw = p.grad, torch.Generator().manual_seed(1)
        for t in range(6):
            p.grad = first  # the graph reads it in any case; the control, what p.grad is
            first.copy_(torch.randn(300, generator=draw))
            replay()
            p.grad = torch.randn(300, generator=draw).cuda()
            optimizer.step()
            if t == 3:
                optimizer.state_dict()
        results.append(p.detach().cpu())
    close(*results, 1e-6)


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


def test_host_takes_its_short_way():
    """From the second step on: kernels by their handles, and the lists of the step before."""
    assert has_triton()
    params = on_cuda(weights(shapes=SHAPES))
    optimizer = AdamS(params)
    last(optimizer, params, steps=3)
    plan = optimizer._plan
    assert plan.last is not None
    assert all(launch.handle is not None for launch in plan.launches[False])


def test_zero_gradients_are_a_no_op():
    p = Parameter(torch.ones(10, device="cuda"))
    optimizer = AdamS([p], lr=0.1, weight_decay=0.5)
    for _ in range(3):
        p.grad = torch.zeros_like(p)
        optimizer.step()
    assert torch.equal(p.detach(), torch.ones_like(p))
    p.grad = torch.ones_like(p)
    optimizer.step()
    assert torch.isfinite(p).all()


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
