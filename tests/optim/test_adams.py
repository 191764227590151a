"""AdamS: every backend against the paper, line by line in float64."""

import copy
import math
import pickle

import pytest
import torch
from torch.nn import Parameter

from etalambda.optim import AdamS, functional
from tests.optim._backends import BACKENDS, HYPER, backends
from tests.optim._drive import agree, flat, flat_gradients, gradients, run, weights
from tests.reference import optimizers as paper


@backends
@pytest.mark.parametrize("amsgrad", [False, True])
@pytest.mark.parametrize("power", [0.0, 0.25, 0.5])
def test_follows_the_paper(backend, amsgrad, power):
    params = weights()
    options = HYPER | dict(power=power, amsgrad=amsgrad) | BACKENDS[backend]
    optimizer = AdamS(params, **options)
    rule = paper.amsgrads if amsgrad else paper.adams
    theirs = rule(flat(params), flat_gradients(params, 60), 0.02, 0.9, 0.99, 1e-8, 0.1, power)
    agree(run(optimizer, params), theirs)


@backends
def test_state_is_the_same_in_every_backend(backend):
    params, plain = weights(), weights()
    ours, forloop = AdamS(params, **HYPER | BACKENDS[backend]), AdamS(plain, **HYPER, foreach=False)
    agree(run(ours, params, 9), run(forloop, plain, 9))
    for p, q in zip(params, plain):
        for key, value in forloop.state[q].items():
            torch.testing.assert_close(ours.state[p][key].double(), value.double())


@backends
@pytest.mark.parametrize("amsgrad", [False, True])
def test_max_norm_is_clip_grad_norm(backend, amsgrad):
    params, theirs = weights(), weights()
    options = HYPER | BACKENDS[backend] | dict(amsgrad=amsgrad)
    ours, clipped = AdamS(params, **options, max_norm=2.0), AdamS(theirs, **HYPER, amsgrad=amsgrad)
    for grads in gradients(params, 60, scale=0.2):  # some below the limit, most above
        for p, q, g in zip(params, theirs, grads):
            p.grad, q.grad = g.clone(), g.clone()
        torch.nn.utils.clip_grad_norm_(theirs, 2.0)
        ours.step(), clipped.step()
        torch.testing.assert_close(flat(params), flat(theirs), rtol=1e-12, atol=1e-12)


def test_pure_rule_is_the_class():
    params, theirs = weights(), [p.detach() for p in weights()]
    optimizer, state = AdamS(params, **HYPER), functional.init("adams", theirs)
    for grads, ours in zip(gradients(params, 60), run(optimizer, params)):
        theirs, state = functional.adams(theirs, grads, state, **HYPER)
        torch.testing.assert_close(ours, flat(theirs), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("backend", ["default", "foreach", "device"])
def test_amsgrad_is_a_matter_of_the_group(backend):
    """v̄ is the mean over v̂ of one group and v̂_max of the other."""
    results = []
    for flags in (BACKENDS[backend], BACKENDS["forloop"]):
        params = weights()
        groups = [dict(params=params[:2], amsgrad=True), dict(params=params[2:])]
        results.append(AdamS(groups, **HYPER | flags))
    both = [[p for g in o.param_groups for p in g["params"]] for o in results]
    agree(*(run(o, ps) for o, ps in zip(results, both)))
    assert "max_exp_avg_sq" in results[0].state[both[0][0]]
    assert "max_exp_avg_sq" not in results[0].state[both[0][2]]


def test_groups_share_one_max_norm():
    a, b = weights(shapes=((2,), (3,)))
    optimizer = AdamS([dict(params=[a], max_norm=1.0), dict(params=[b], max_norm=2.0)])
    a.grad, b.grad = torch.ones_like(a), torch.ones_like(b)
    with pytest.raises(ValueError, match="max_norm must be the same in all groups, got"):
        optimizer.step()


@backends
def test_groups_share_v_mean_and_zero_decay_stays_zero(backend):
    big, small = (Parameter(torch.ones(1, dtype=torch.float64)) for _ in range(2))
    groups = [dict(params=[big]), dict(params=[small], weight_decay=0)]
    optimizer = AdamS(groups, **(HYPER | BACKENDS[backend] | dict(eps=0.0)))
    big.grad, small.grad = torch.tensor([3.0]).double(), torch.tensor([1.0]).double()
    optimizer.step()
    v_mean = (9 + 1) / 2
    assert math.isclose(big.item(), 1 - 0.02 * 0.1 / math.sqrt(v_mean) - 0.02, rel_tol=1e-12)
    assert math.isclose(small.item(), 1 - 0.02, rel_tol=1e-12)


@backends
def test_missing_gradients_count_neither_in_sum_nor_in_number(backend):
    a, b = (Parameter(torch.ones(2, dtype=torch.float64)) for _ in range(2))
    optimizer = AdamS([a, b], **(HYPER | BACKENDS[backend] | dict(eps=0.0)))
    a.grad = torch.tensor([3.0, 1.0]).double()
    optimizer.step()
    kept = 1 - 0.02 * 0.1 / math.sqrt((9 + 1) / 2)
    torch.testing.assert_close(a.detach(), torch.full((2,), kept - 0.02).double())
    assert torch.equal(b.detach(), torch.ones(2).double())
    assert b not in optimizer.state


@pytest.mark.parametrize("beta2", [0.9, 0.999])
def test_recursion_follows_the_sum(beta2):
    """The scalar recursion and Σ exp_avg_sq after 10k float32 steps."""
    params = weights(dtype=torch.float32, shapes=((300,), (20, 10)))
    optimizer = AdamS(params, lr=1e-3, betas=(0.9, beta2))
    for grads in gradients(params, 10_000):
        for p, g in zip(params, grads):
            p.grad = g
        optimizer.step()
    ours = next(iter(optimizer._sums.values())).sum
    true = sum(optimizer.state[p]["exp_avg_sq"].double().sum().item() for p in params)
    assert abs(ours / true - 1) < 1e-6


def test_recursion_notices_foreign_writes():
    """Moments that someone else changes are summed again, not trusted."""
    params, theirs = weights(), weights()
    fused, loop = AdamS(params, **HYPER), AdamS(theirs, **HYPER, foreach=False)
    agree(run(fused, params, 5), run(loop, theirs, 5))
    for optimizer in (fused, loop):
        for state in optimizer.state.values():
            state["exp_avg_sq"].mul_(3.0)
    agree(run(fused, params, 5, seed=2), run(loop, theirs, 5, seed=2))


@backends
@pytest.mark.parametrize("copy_", ["state_dict", "deepcopy", "pickle"])
def test_resumed_equals_straight(backend, copy_):
    params = weights()
    optimizer = AdamS(params, **HYPER | BACKENDS[backend])
    list(run(optimizer, params, 5))
    if copy_ == "state_dict":
        resumed = [Parameter(p.detach().clone()) for p in params]
        second = AdamS(resumed, lr=1.0)
        second.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    else:
        second = (
            copy.deepcopy(optimizer)
            if copy_ == "deepcopy"
            else pickle.loads(pickle.dumps(optimizer))
        )
        resumed = [p for group in second.param_groups for p in group["params"]]
    for ours, theirs in zip(run(optimizer, params, 5, seed=2), run(second, resumed, 5, seed=2)):
        assert torch.equal(ours, theirs)


def test_counters_are_not_shared_in_saved_state():
    """In memory tensors of one age share a counter; torch's optimizers would count it twice."""
    params = weights()
    optimizer = AdamS(params, **HYPER)
    list(run(optimizer, params, 3))
    steps = [s["step"] for s in optimizer.state_dict()["state"].values()]
    assert len({s.data_ptr() for s in steps}) == len(steps)
    theirs = [Parameter(p.detach().clone()) for p in params]
    adamw = torch.optim.AdamW(theirs)
    adamw.load_state_dict(optimizer.state_dict())
    list(run(adamw, theirs, 2))
    assert {s["step"].item() for s in adamw.state.values()} == {5.0}


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (dict(lr=-1), "Invalid learning rate: -1; lr must be"),
        (dict(lr=math.nan), "Invalid learning rate: nan"),
        (dict(lr=torch.ones(2)), "Tensor lr must be 1-element"),
        (dict(lr=torch.tensor(0.1), foreach=True), "lr as a Tensor is not supported"),
        (dict(weight_decay=-1), "Invalid weight_decay value: -1"),
        (dict(weight_decay=torch.ones(3)), "Tensor weight_decay must be 1-element"),
        (dict(eps=-1), "Invalid epsilon value: -1"),
        (dict(betas=(1.0, 0.0)), "Invalid beta parameter at index 0: 1.0"),
        (dict(betas=(0.0, 1.0)), "Invalid beta parameter at index 1: 1.0"),
        (dict(betas=(0.9, torch.tensor(0.9))), "betas must be either both floats or both Tensors"),
        (dict(power=-1), "Invalid power: -1"),
        (dict(max_norm=0.0), "Invalid max_norm: 0.0"),
    ],
)
def test_error_names_the_argument_and_its_value(bad, message):
    with pytest.raises(ValueError, match=message):
        AdamS([Parameter(torch.ones(1))], **bad)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (dict(fused=True, foreach=True), "`fused` and `foreach` cannot be `True` together"),
        (dict(fused=True, differentiable=True), "`fused` does not support `differentiable`"),
        (dict(foreach=True, differentiable=True), "`foreach` does not support `differentiable`"),
    ],
)
def test_flags_that_exclude_each_other(bad, message):
    with pytest.raises(RuntimeError, match=message):
        AdamS([Parameter(torch.ones(1))], **bad)


def test_sparse_gradients_are_refused_before_anything_moves():
    dense, sparse = Parameter(torch.ones(3)), Parameter(torch.ones(3))
    optimizer = AdamS([dense, sparse])
    dense.grad, sparse.grad = torch.ones(3), torch.ones(3).to_sparse()
    with pytest.raises(RuntimeError, match="AdamS does not support sparse gradients; build"):
        optimizer.step()
    assert torch.equal(dense.detach(), torch.ones(3))


def test_recursion_in_changing_company():
    """Tensors that step now alone, now together: the fused kernel leaves no trace on versions."""
    params, theirs = weights(), weights()
    fused, loop = AdamS(params, **HYPER), AdamS(theirs, **HYPER, foreach=False)
    for mask, grads in zip((4, 8, 12, 9, 15, 5, 12, 15), gradients(params, 8)):
        for index, (p, q, g) in enumerate(zip(params, theirs, grads)):
            p.grad, q.grad = (g.clone(), g.clone()) if mask >> index & 1 else (None, None)
        fused.step(), loop.step()
        torch.testing.assert_close(flat(params), flat(theirs), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize(
    "hyper", [{}, dict(max_norm=1.0), dict(amsgrad=True), dict(amsgrad=True, max_norm=1.0)], ids=str
)
@pytest.mark.parametrize("scale", [1.0, 1e-3, 0.0])
def test_half_precision_is_computed_in_float32(dtype, hyper, scale):
    """float16 holds neither ε nor the second moment of a small gradient: m / √v̂ was 0 / 0."""
    shapes = ((3, 4), (), (0,), (500,))
    results = {}
    for backend in ("forloop", "foreach", "capturable foreach", "default", "device"):
        params = weights(dtype=dtype, shapes=shapes)
        optimizer = AdamS(params, lr=1e-3, weight_decay=0.05, **hyper, **BACKENDS[backend])
        results[backend] = list(run(optimizer, params, 10, scale=scale))[-1]
        assert results[backend].isfinite().all(), backend
    for backend in ("foreach", "capturable foreach"):  # the same operations in the same order
        tolerance = 4 * torch.finfo(dtype).eps
        torch.testing.assert_close(
            results[backend], results["forloop"], rtol=tolerance, atol=tolerance
        )
