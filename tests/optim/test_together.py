"""With the rest of torch: compile, GradScaler, accumulation, averaging, parametrizations, vmap."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import Parameter

from etalambda.optim import SGDS, Adai, AdaiS, AdamS
from etalambda.optim import functional as F
from tests.optim._drive import flat, gradients, run, weights

MAKE = {
    "AdamS": lambda ps, **o: AdamS(ps, lr=0.01, weight_decay=0.1, **o),
    "AMSGradS": lambda ps, **o: AdamS(ps, lr=0.01, weight_decay=0.1, amsgrad=True, **o),
    "SGDS": lambda ps, **o: SGDS(ps, lr=0.01, momentum=0.9, weight_decay=0.1, **o),
    "Adai": lambda ps, **o: Adai(ps, lr=0.01, weight_decay=0.1, **o),
    "AdaiS": lambda ps, **o: AdaiS(ps, lr=0.01, weight_decay=0.1, **o),
}
every = pytest.mark.parametrize("name", MAKE)


@every
@pytest.mark.filterwarnings("ignore")
def test_compiled_step_equals_eager(name):
    """The step as one graph; counters that eager steps shared are told apart first."""
    ours, theirs = weights(), weights()
    compiled, eager = MAKE[name](ours), MAKE[name](theirs)
    list(run(compiled, ours, 2)), list(run(eager, theirs, 2))
    if name == "SGDS":
        compiled.state_dict()  # gives the buffers the form of the paper
    torch._dynamo.reset()
    step = torch.compile(compiled.step, backend="eager")
    for grads in gradients(ours, 5, seed=3):
        for p, q, g in zip(ours, theirs, grads):
            p.grad, q.grad = g.clone(), g.clone()
        step(), eager.step()
        torch.testing.assert_close(flat(ours), flat(theirs), rtol=1e-9, atol=1e-9)
    for p, q in zip(ours, theirs):
        assert compiled.state[p]["step"].item() == eager.state[q]["step"].item() == 7


@pytest.mark.filterwarnings("ignore")
def test_a_compiled_step_follows_schedules_without_a_new_graph():
    """lr and λ as 0-d tensors that are filled in place, as schedulers do."""
    ours, theirs = weights(), weights()
    live = lambda: {
        name: torch.tensor(value, dtype=torch.float64)
        for name, value in dict(lr=0.02, weight_decay=0.1).items()
    }
    compiled, eager = AdamS(ours, **live()), AdamS(theirs, lr=0.02, weight_decay=0.1, foreach=False)
    torch._dynamo.reset()
    counter = torch._dynamo.testing.CompileCounter()
    step = torch.compile(compiled.step, backend=counter)
    schedules = [torch.optim.lr_scheduler.ExponentialLR(o, 0.9) for o in (compiled, eager)]
    for index, grads in enumerate(gradients(ours, 8)):
        for p, q, g in zip(ours, theirs, grads):
            p.grad, q.grad = g.clone(), g.clone()
        step(), eager.step()
        for schedule in schedules:
            schedule.step()
        compiled.param_groups[0]["weight_decay"].fill_(0.1 / (index + 2))
        eager.param_groups[0]["weight_decay"] = 0.1 / (index + 2)
        torch.testing.assert_close(flat(ours), flat(theirs), rtol=1e-12, atol=1e-12)
        if index == 1:
            graphs = counter.frame_count
    assert counter.frame_count == graphs


@every
def test_a_step_that_is_traced_sets_no_attribute(name, monkeypatch):
    """torch 2.11 refuses to trace it; what runs is the branch that a compiler would see."""
    params = weights()
    optimizer = MAKE[name](params)
    list(run(optimizer, params, 2))
    optimizer.state_dict()

    def refuse(self, key, value):
        raise AssertionError(f"{key} = {value}")

    monkeypatch.setattr(type(optimizer), "__setattr__", refuse, raising=False)
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    before = dict(vars(optimizer))
    list(run(optimizer, params, 2))
    after = vars(optimizer)
    assert after.keys() == before.keys()
    assert all(after[key] is before[key] for key in before)


@every
def test_an_ensemble_of_torch_func_trains_as_its_members(name):
    """Stacked parameters are parameters; with AdamS and Adai v̄ spans the ensemble."""
    nets = [nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 1)).double() for _ in range(3)]
    stacked, buffers = torch.func.stack_module_state(nets)
    members = [p for net in nets for p in net.parameters()]
    ours, theirs = MAKE[name](stacked.values()), MAKE[name](members)
    x = torch.randn(3, 8, 4).double()
    for _ in range(5):
        ours.zero_grad(), theirs.zero_grad()
        call = lambda p, b, x: torch.func.functional_call(nets[0], (p, b), x).square().mean()
        torch.func.vmap(call)(stacked, buffers, x).sum().backward()
        sum(net(part).square().mean() for net, part in zip(nets, x)).backward()
        ours.step(), theirs.step()
    for k, net in enumerate(nets):
        for key, p in net.named_parameters():
            torch.testing.assert_close(stacked[key][k], p, rtol=1e-10, atol=1e-10)


@every
@pytest.mark.parametrize("fused", [None, True])
def test_grad_scaler_skips_overflows(name, fused):
    """Scaled gradients give the same steps; a step with an overflow changes nothing."""
    if fused and name.startswith("Adai"):
        pytest.skip("no fused kernel exists")
    shapes = ((4, 3), (5,))
    ours, theirs = (weights(dtype=torch.float32, shapes=shapes) for _ in range(2))
    scaled, plain = MAKE[name](ours, fused=fused), MAKE[name](theirs)
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    for step, grads in enumerate(gradients(ours, 12)):
        for p, q, g in zip(ours, theirs, grads):
            p.grad, q.grad = g * scaler.get_scale(), g.clone()
        scaler.scale(torch.ones(()))
        overflow = step in (3, 7)
        if overflow:
            ours[0].grad[0, 0] = torch.inf
            before = flat(ours).clone()
        scaler.step(scaled)
        scaler.update()
        if overflow:
            assert torch.equal(before, flat(ours))
        else:
            plain.step()
        torch.testing.assert_close(flat(ours), flat(theirs))


@every
def test_accumulated_gradients_are_one_step(name):
    net, twin = nn.Linear(6, 1).double(), nn.Linear(6, 1).double()
    twin.load_state_dict(net.state_dict())
    pair = MAKE[name](net.parameters()), MAKE[name](twin.parameters())
    for _ in range(5):
        x = torch.randn(8, 6).double()
        pair[0].zero_grad(), pair[1].zero_grad()
        for part in x.chunk(4):
            (net(part).square().mean() / 4).backward()
        twin(x).square().mean().backward()
        pair[0].step(), pair[1].step()
    for p, q in zip(net.parameters(), twin.parameters()):
        torch.testing.assert_close(p, q, rtol=1e-12, atol=1e-12)


@every
def test_averaging_reads_without_disturbing(name):
    """EMA and SWA wrappers copy the weights; swapping them in and out is noticed and harmless."""
    net = nn.Linear(6, 1).double()
    twin = copy.deepcopy(net)
    pair = MAKE[name](net.parameters()), MAKE[name](twin.parameters(), foreach=False)
    ema = torch.optim.swa_utils.AveragedModel(
        net, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.9)
    )
    for _ in range(6):
        x = torch.randn(8, 6).double()
        for model, optimizer in zip((net, twin), pair):
            optimizer.zero_grad()
            model(x).square().mean().backward()
            optimizer.step()
        ema.update_parameters(net)
        kept = [p.detach().clone() for p in net.parameters()]
        with torch.no_grad():
            for p, average in zip(net.parameters(), ema.module.parameters()):
                p.copy_(average)
            for p, value in zip(net.parameters(), kept):
                p.copy_(value)
    for p, q in zip(net.parameters(), twin.parameters()):
        torch.testing.assert_close(p, q, rtol=1e-12, atol=1e-12)


@every
def test_parametrized_weights(name):
    layer = nn.utils.parametrizations.weight_norm(nn.Linear(5, 3).double())
    optimizer = MAKE[name](layer.parameters())
    x, first = torch.randn(16, 5).double(), None
    for _ in range(20):
        optimizer.zero_grad()
        loss = layer(x).square().mean()
        first = loss.item() if first is None else first
        loss.backward()
        optimizer.step()
    assert loss.item() < first


@every
def test_odd_tensors(name):
    """Tensors of no elements, non-contiguous and channels_last ones, a view of a larger one."""
    base = torch.randn(4, 6, dtype=torch.float64)
    image = torch.randn(2, 3, 4, 4, dtype=torch.float64)
    tensors = [
        torch.empty(0, 3, dtype=torch.float64),
        base.clone().t(),
        base.clone()[:, ::2],
        image.clone(memory_format=torch.channels_last),
    ]
    ours = [Parameter(t) for t in tensors]
    theirs = [Parameter(t.detach().clone().contiguous()) for t in ours]
    pair = MAKE[name](ours), MAKE[name](theirs, foreach=False)
    for grads in gradients(ours, 5):
        for p, q, g in zip(ours, theirs, grads):
            p.grad, q.grad = g.clone(), g.clone()
        pair[0].step(), pair[1].step()
        torch.testing.assert_close(flat(ours), flat(theirs), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("rule", F.RULES)
def test_rules_run_under_vmap(rule):
    """Three trials with an lr and a λ each equal three runs: the many-trials engine."""
    trials, shapes = 3, ((2, 3), (4,))
    params = [torch.randn(trials, *s, dtype=torch.float64) for s in shapes]
    lr, decay = torch.tensor([0.1, 0.01, 0.3]).double(), torch.tensor([0.0, 0.1, 0.5]).double()
    grads = [[torch.randn_like(p) for p in params] for _ in range(4)]
    update = F.RULES[rule]

    def one(params, state, grads, lr, decay):
        return update(params, grads, state, lr=lr, weight_decay=decay)

    state = torch.func.vmap(lambda p: F.init(rule, p))(params)
    together = params
    for g in grads:
        together, state = torch.func.vmap(one)(together, state, g, lr, decay)
    for k in range(trials):
        alone = [p[k] for p in params]
        own = F.init(rule, alone)
        for g in grads:
            alone, own = one(alone, own, [x[k] for x in g], lr[k], decay[k])
        for a, b in zip(alone, together):
            torch.testing.assert_close(a, b[k], rtol=1e-12, atol=1e-12)


def test_unknown_rule_and_wrong_number_of_values():
    with pytest.raises(ValueError, match="unknown rule 'adamz'; did you mean 'adam"):
        F.init("adamz", [])
    one = [torch.ones(1)]
    state = F.init("sgd", one)
    with pytest.raises(ValueError, match="got 2 values for 1 tensors"):
        F.sgd(one, one, state, lr=[0.1, 0.2])
